import numpy as np
import pytest

from foveate.errors import FoveateError
from foveate.patients.stages import SLIDE_CLASSES
from foveate.patients.staging import SlidePrediction, SlideResult, stage_patients


def sure(predicted: str) -> SlidePrediction:
    probabilities = tuple(float(predicted == name) for name in SLIDE_CLASSES)
    return SlidePrediction(predicted, probabilities, probabilities, 1.0)


def slide(
    name: str, *, label: str = "", state: str = "ok", split: str = "test", learned: str = "negative"
) -> SlideResult:
    """A slide of the patient before the underscore, predicted as certain; at random always negative."""
    predictions = {policy: sure(predicted) for policy, predicted in (("learned", learned), ("random", "negative"))}
    return SlideResult(name, name.split("_")[0], split, label, state, predictions if state == "ok" else {})


def test_complete_patient() -> None:
    [patient] = stage_patients([slide("a_1", learned="macro"), slide("a_0", learned="itc")], {})
    assert patient.complete
    assert [member.slide for member in patient.slides] == ["a_0", "a_1"]
    assert (patient.stagings["learned"].stage, patient.stagings["learned"].rule_stage) == ("pN1", "pN1")
    assert patient.stagings["random"].stage == "pN0"
    np.testing.assert_array_equal(patient.stagings["learned"].posterior, [0, 0, 0, 1, 0])


def test_stage_and_rule_differ_when_unsure() -> None:
    unsure = SlidePrediction("negative", (0.55, 0.0, 0.0, 0.45), (0.55, 0.0, 0.0, 0.45), 1.0)
    result = SlideResult("a_0", "a", "test", "", "ok", {"learned": unsure, "random": unsure})
    [patient] = stage_patients([result], {})
    # mean stage index 0.45 * 3 = 1.35
    assert patient.stagings["learned"].stage == "pN0(i+)"
    assert patient.stagings["learned"].rule_stage == "pN0"


def test_a_failed_slide_leaves_the_patient_unstaged() -> None:
    slides = [slide("a_0"), slide("a_2", state="failed"), slide("a_1", state="failed"), slide("b_0")]
    incomplete, complete = stage_patients(slides, {"a": "pN1"})
    assert not incomplete.complete
    assert incomplete.stagings == {}
    assert incomplete.missing == ["a_1", "a_2"]
    assert incomplete.n_predicted == 1
    assert complete.complete


def test_an_agent_s_answer_is_of_complete_patients_alone() -> None:
    said = {"learned": np.eye(5)[4], "random": np.eye(5)[0]}
    slides = [slide("a_0"), slide("b_0"), slide("b_1", state="failed"), slide("c_0")]
    a, b, c = stage_patients(slides, {}, agents={"a": said, "b": said})
    assert (a.agent, b.agent, c.agent) == (said, {}, {})


def test_excluded_slides_are_left_out() -> None:
    slides = [slide("a_0", label="itc"), slide("a_1", state="excluded"), slide("b_0", state="excluded")]
    [patient] = stage_patients(slides, {})
    assert patient.complete
    assert patient.missing == []
    assert patient.true_stage == "pN0(i+)"


def test_training_patients_are_listed_only_with_a_failure() -> None:
    unused = [slide(f"a_{i}", state="unused", split="train") for i in range(2)]
    failed = [slide("b_0", state="unused", split="train"), slide("b_1", state="failed", split="train")]
    [patient] = stage_patients([*unused, *failed], {})
    assert (patient.patient, patient.missing, patient.n_predicted) == ("b", ["b_1"], 0)


@pytest.mark.parametrize(
    ("labels", "given", "expected"),
    [
        (("macro", "negative"), "", "pN1"),
        (("macro", "negative"), "pN2", "pN2"),
        (("macro", ""), "", ""),
        (("macro", ""), "pN1mi", "pN1mi"),
    ],
)
def test_true_stage(labels: tuple[str, str], given: str, expected: str) -> None:
    slides = [slide(f"a_{i}", label=label) for i, label in enumerate(labels)]
    [patient] = stage_patients(slides, {"a": given})
    assert patient.true_stage == expected


def test_patient_in_two_splits() -> None:
    with pytest.raises(FoveateError, match="patient a: split: slides are in more than one: test, val"):
        stage_patients([slide("a_0"), slide("a_1", split="val")], {})


def test_unknown_patient_label() -> None:
    with pytest.raises(FoveateError, match="patient a: patient_label: 'pN7' is not one of pN0"):
        stage_patients([slide("a_0")], {"a": "pN7"})


def test_the_posterior_heeds_how_nodes_go_together() -> None:
    unsure = SlidePrediction("negative", (0.5, 0.0, 0.0, 0.5), (0.5, 0.0, 0.0, 0.5), 1.0)
    asked = [SlideResult(f"a_{i}", "a", "test", "", "ok", {"learned": unsure, "random": unsure}) for i in range(2)]

    def probability(split: str) -> float:
        labels = {"b": "negative", "c": "macro"}
        known = [slide(f"{p}_{i}", label=c, state="unused", split=split) for p, c in labels.items() for i in range(2)]
        [patient] = stage_patients([*asked, *known], {})
        return float(patient.stagings["learned"].posterior[0])

    assert probability("test") == probability("val") == 0.25
    well, sick = 1.5 / (18 / 64 + 0.5), 1.5 / (78 / 64 + 0.5)  # see test_prior
    assert probability("train") == probability("cv") == pytest.approx(0.25 * well / (0.25 * well + 0.75 * sick))


def test_a_patient_of_one_node_depends_on_no_other() -> None:
    known = [slide(f"b_{i}", label="negative", state="unused", split="train") for i in range(2)]
    unsure = SlidePrediction("negative", (0.5, 0.0, 0.0, 0.5), (0.5, 0.0, 0.0, 0.5), 1.0)
    asked = SlideResult("a_0", "a", "test", "", "ok", {"learned": unsure, "random": unsure})
    [patient] = stage_patients([asked, *known], {})
    np.testing.assert_array_equal(patient.stagings["learned"].posterior, [0.5, 0, 0, 0.5, 0])


def test_the_truth_of_a_cross_validation_s_patient_is_for_others() -> None:
    def posterior(label: str) -> list[float]:
        tested = [slide(f"a_{i}", label=label, split="cv", learned="micro") for i in range(2)]
        others = [slide(f"b_{i}", label="negative", split="cv") for i in range(2)]
        return stage_patients([*tested, *others], {})[0].stagings["learned"].posterior.tolist()

    assert posterior("negative") == posterior("macro")
