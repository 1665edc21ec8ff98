import numpy as np
import pytest

from foveate.patients.staging import SlidePrediction, SlideResult
from foveate.stages.comparison.lead import Scored, lead, scored


def slide(name: str, label: str, state: str = "ok", **tumor: float) -> SlideResult:
    """A slide of the patient of the first letter; tumor: by policy, the probability of micro."""
    said = {policy: (1 - p, 0.0, p, 0.0) for policy, p in tumor.items()}
    predictions = {policy: SlidePrediction("micro", p, p, 1.0) for policy, p in said.items()}
    return SlideResult(name, name[0], "test", label, state, predictions)


SLIDES = [
    slide("a1", "negative", good=0.1, bad=0.9, even=0.5),
    slide("a2", "macro", good=0.9, bad=0.1, even=0.5),
    slide("b1", "negative", good=0.2, bad=0.8, even=0.5),
    slide("b2", "micro", good=0.8, bad=0.2, even=0.5),
]
OTHERS = [slide("a3", "itc", good=0.5, bad=0.5, even=0.5), slide("b3", "macro", "failed"), slide("b4", "")]


@pytest.fixture
def asked() -> Scored:
    return scored([*SLIDES, *OTHERS], 50)


def test_slides_that_have_a_score_and_a_side(asked: Scored) -> None:
    assert [s.slide for s in asked.slides] == ["a1", "a2", "b1", "b2"]
    assert asked.positive.tolist() == [False, True, False, True]
    assert asked.owner.tolist() == [0, 0, 1, 1]


def test_the_lead_is_of_means_over_rollouts(asked: Scored) -> None:
    assert lead(asked.auc(["good"]), asked.auc(["bad"])).value == 1
    found = lead(asked.auc(["good", "even"]), asked.auc(["bad", "even"]))  # 0.75 and 0.25
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)


def test_the_interval_is_of_the_difference() -> None:
    """Each way is right about another patient: the AUCs vary together with the patients drawn, their difference not."""
    slides = [
        slide("a1", "negative", one=0.1, two=0.1),
        slide("a2", "macro", one=0.9, two=0.9),
        slide("b1", "negative", one=0.95, two=0.95),
        slide("b2", "macro", one=0.05, two=0.05),
    ]
    asked = scored(slides, 200)
    assert np.ptp(asked.auc(["one"])[1]) == 1
    found = lead(asked.auc(["one"]), asked.auc(["two"]))
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_nothing_to_compare() -> None:
    nobody = scored(OTHERS, 5)
    assert np.isnan(lead(nobody.auc(["good"]), nobody.auc(["bad"])).value)
