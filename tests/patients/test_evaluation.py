import json

import numpy as np
import pytest

from foveate.patients.evaluation import evaluate
from foveate.patients.staging import PatientResult, SlidePrediction, SlideResult, stage_patients

SURE = {
    "negative": (0.9, 0.1, 0.0, 0.0),
    "itc": (0.2, 0.8, 0.0, 0.0),
    "micro": (0.1, 0.0, 0.8, 0.1),
    "macro": (0.0, 0.0, 0.1, 0.9),
}
FLAT = (0.4, 0.2, 0.2, 0.2)


def cohort(slides: dict[str, tuple[str, str]], failed: tuple[str, ...] = ()) -> list[PatientResult]:
    """Patients from {slide: (true label, predicted class)}; the random policy always says negative."""
    results = [
        SlideResult(
            name,
            name.split("_")[0],
            "test",
            label,
            "failed" if name in failed else "ok",
            {}
            if name in failed
            else {
                "learned": SlidePrediction(predicted, SURE[predicted], FLAT, 2.0),
                "random": SlidePrediction("negative", SURE["negative"], SURE["negative"], 2.0),
            },
        )
        for name, (label, predicted) in slides.items()
    ]
    return stage_patients(results, {})


SLIDES = {
    "a_0": ("negative", "negative"),
    "a_1": ("negative", "itc"),
    "b_0": ("macro", "macro"),
    "b_1": ("itc", "negative"),
    "c_0": ("micro", "micro"),
    "c_1": ("negative", "negative"),
}


def test_slide_metrics_by_hand() -> None:
    found = evaluate(cohort(SLIDES), 200, 0)["learned"]
    assert found["n_slides"] == 6
    assert found["slide_accuracy"]["value"] == pytest.approx(4 / 6)
    assert {name: one["value"] for name, one in found["sensitivity"].items()} == {
        "negative": pytest.approx(2 / 3),
        "itc": 0.0,
        "micro": 1.0,
        "macro": 1.0,
    }
    assert found["confusion_slides"] == [[2, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    assert found["auc_micro_macro_vs_negative"]["value"] == 1.0
    # against 0.1, 0.8, 0.1 of the negatives: macro 1.0 and micro 0.9 win 3 each; itc 0.1 ties 2, loses 1
    assert found["auc_any_vs_negative"]["value"] == pytest.approx((3 + 3 + 1) / 9)


def test_patient_metrics_by_hand() -> None:
    found = evaluate(cohort(SLIDES), 200, 0)["learned"]
    # truth: pN0, pN1, pN1mi; rule: pN0(i+), pN1, pN1mi; the mean gives the same stages here
    assert found["n_patients"] == 3
    assert found["patient_accuracy"]["value"] == pytest.approx(2 / 3)
    assert found["confusion_patients"][0] == [0, 1, 0, 0, 0]
    assert found["confusion_patients"][3] == [0, 0, 0, 1, 0]
    # squared errors: 1 observed; by chance, of truth 0, 2, 3 with stages 1, 2, 3, (1+4+9 + 1+0+1 + 4+1+0) / 3
    assert found["kappa"]["value"] == pytest.approx(1 - 1 / (21 / 3))
    assert found["kappa_rule"] == found["kappa"]


def test_the_patient_agent_stands_beside_where_it_looked() -> None:
    # truth: pN0, pN1, pN1mi; it says pN1 of b and pN0 of c, and nothing of a
    answers = {"b": np.eye(5)[3], "c": np.eye(5)[0]}
    agents = {patient: {"learned": said, "random": np.eye(5)[0]} for patient, said in answers.items()}
    slides = [slide for patient in cohort(SLIDES) for slide in patient.slides]
    found = evaluate(stage_patients(slides, {}, agents=agents), 50, 0)
    assert found["learned"]["n_patients_agent"] == 2
    # squared errors: 2^2 observed; by chance, of truth 3, 2 with stages 3, 0, (0 + 9 + 1 + 4) / 2
    assert found["learned"]["kappa_agent"]["value"] == pytest.approx(1 - 4 / 7)
    assert found["random"]["kappa_agent"]["value"] == 0.0
    without = evaluate(cohort(SLIDES), 50, 0)["learned"]
    assert (without["n_patients_agent"], without["kappa_agent"]["value"]) == (0, None)


def test_intervals_hold_the_value_and_undefined_resamples_are_counted() -> None:
    found = evaluate(cohort(SLIDES), 500, 0)["learned"]
    low, high = found["slide_accuracy"]["ci95"]
    assert (low, high) == (0.5, 1.0)  # from three patients with 1, 1 and 2 right of 2
    assert found["slide_accuracy"]["undefined_resamples"] == 0
    # no slide is macro when patient b is not drawn: (2 / 3)**3 of the resamples
    assert found["sensitivity"]["macro"]["undefined_resamples"] / 500 == pytest.approx(8 / 27, abs=0.06)


def test_calibration_by_hand() -> None:
    found = evaluate(cohort(SLIDES), 200, 0)["learned"]["calibration"]
    assert found["temperatures"] == [2.0]
    after, before = found["calibrated"], found["uncalibrated"]
    # true class: 0.9, 0.2, 0.9, 0.1, 0.8, 0.9; said with 0.9, 0.8, 0.9, 0.9, 0.8, 0.9
    expected = -np.log([0.9, 0.2, 0.9, 0.1, 0.8, 0.9]).mean()
    assert after["negative_log_likelihood"]["value"] == pytest.approx(expected)
    # 0.01 + 0.01 for 0.9; micro 0.01 + 0.04 + 0.01; wrong: 0.8^2 + 0.8^2 and 0.9^2 + 0.9^2
    assert after["brier"]["value"] == pytest.approx((3 * 0.02 + 0.06 + 1.28 + 1.62) / 6)
    assert [(one["count"], one["accuracy"]) for one in after["bins"]] == [(2, 0.5), (4, 0.75)]
    assert after["ece"] == pytest.approx(2 / 6 * 0.3 + 4 / 6 * 0.15)
    assert before["negative_log_likelihood"]["value"] == pytest.approx(-np.log([0.4, 0.4, 0.4, 0.2, 0.2, 0.2]).mean())
    assert before["ece"] == pytest.approx(0.1)  # said with 0.4, right 3 times of 6
    # patient c three times: 0.8 and 0.9, in 1 of 27 resamples; b, with 0.9 and 0.1, is the worst
    low, high = after["negative_log_likelihood"]["ci95"]
    assert low == pytest.approx(-np.log([0.8, 0.9]).mean())
    assert expected < high <= -np.log([0.9, 0.1]).mean()


def test_random_policy_stands_beside() -> None:
    found = evaluate(cohort(SLIDES), 50, 0)["random"]
    assert found["slide_accuracy"]["value"] == 0.5
    assert found["kappa"]["value"] == 0.0
    assert found["auc_any_vs_negative"]["value"] == 0.5


def test_incomplete_patients_count_for_slides_only() -> None:
    found = evaluate(cohort(SLIDES, failed=("b_1",)), 50, 0)["learned"]
    assert (found["n_patients"], found["n_slides"]) == (2, 5)
    assert sum(map(sum, found["confusion_patients"])) == 2


def test_unlabelled_slides_are_not_counted() -> None:
    found = evaluate(cohort(SLIDES | {"c_0": ("", "micro")}), 50, 0)["learned"]
    assert (found["n_patients"], found["n_slides"]) == (2, 5)


@pytest.mark.parametrize("patients", [[], cohort({"a_0": ("", "macro")})])
def test_no_ground_truth(patients: list[PatientResult]) -> None:
    found = evaluate(patients, 10, 0)
    for policy in ("learned", "random"):
        assert (found[policy]["n_patients"], found[policy]["n_slides"]) == (0, 0)
        assert found[policy]["kappa"] == {"value": None, "ci95": [None, None], "undefined_resamples": 10}
        assert found[policy]["auc_any_vs_negative"]["value"] is None
        assert found[policy]["calibration"]["temperatures"] == []
        figures = found[policy]["calibration"]["calibrated"]
        assert (figures["ece"], figures["brier"]["value"], figures["bins"]) == (None, None, [])


def test_same_seed_same_numbers() -> None:
    first, second = (json.dumps(evaluate(cohort(SLIDES), 100, 7)) for _ in range(2))
    assert first == second
    assert first != json.dumps(evaluate(cohort(SLIDES), 100, 8))
