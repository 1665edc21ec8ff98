import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from foveate.patients.posterior import kappa_stage, stage_posterior
from foveate.patients.stages import PN_STAGES, SLIDE_CLASSES, pn_stage


def by_enumeration(probabilities: np.ndarray) -> np.ndarray:
    """Add up the probability of each of the 4**n labelings at the stage that the rule gives it."""
    posterior = np.zeros(len(PN_STAGES))
    for labeling in itertools.product(range(4), repeat=len(probabilities)):
        stage = pn_stage([SLIDE_CLASSES[k] for k in labeling])
        posterior[PN_STAGES.index(stage)] += np.prod([row[k] for row, k in zip(probabilities, labeling, strict=True)])
    return posterior


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    st.integers(1, 5).flatmap(lambda n: arrays(np.float64, (n, 4), elements=st.integers(0, 9).map(float))),
)
def test_equals_enumeration_of_all_labelings(weights: np.ndarray) -> None:
    weights[weights.sum(axis=1) == 0] = 1.0
    probabilities = weights / weights.sum(axis=1, keepdims=True)
    posterior = stage_posterior(probabilities)
    np.testing.assert_allclose(posterior, by_enumeration(probabilities), atol=1e-12)
    assert posterior.sum() == pytest.approx(1.0, abs=1e-12)


def test_two_nodes_by_hand() -> None:
    posterior = stage_posterior([[0.5, 0.5, 0.0, 0.0], [0.5, 0.0, 0.25, 0.25]])
    # the first node decides while the second is negative; else its micro or macro does
    np.testing.assert_allclose(posterior, [0.25, 0.25, 0.25, 0.25, 0.0])


@pytest.mark.parametrize("labels", [["itc"], ["micro"] * 9, ["macro"] * 3, ["macro"] * 4, ["macro"] + ["micro"] * 11])
def test_certain_slides_give_the_rule(labels: list[str]) -> None:
    certain = np.eye(4)[[SLIDE_CLASSES.index(label) for label in labels]]
    expected = [float(stage == pn_stage(labels)) for stage in PN_STAGES]
    assert stage_posterior(certain).tolist() == expected


def test_many_nodes_need_no_enumeration() -> None:
    n = 200
    posterior = stage_posterior(np.tile([0.9, 0.1, 0.0, 0.0], (n, 1)))
    assert posterior[0] == pytest.approx(0.9**n, rel=1e-9)
    assert posterior.sum() == pytest.approx(1.0)


def test_rounded_rows_are_rescaled() -> None:
    assert stage_posterior([[0.3333, 0.3333, 0.3333, 0.0]]).sum() == pytest.approx(1.0, abs=1e-15)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((0, 4)),
        [0.25] * 4,
        [[0.5, 0.5, 0.0]],
        [[0.5, 0.5, 0.5, -0.5]],
        [[0.5, 0.2, 0.1, 0.1]],
        [[np.nan, 0.5, 0.25, 0.25]],
    ],
)
def test_what_is_no_distribution_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="Received"):
        stage_posterior(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("posterior", "stage"),
    [
        ([1, 0, 0, 0, 0], "pN0"),
        ([0, 0, 0, 0, 1], "pN2"),
        ([0.6, 0, 0, 0, 0.4], "pN1mi"),  # mean 1.6, though pN1mi itself is impossible
        ([0.6, 0.4, 0, 0, 0], "pN0"),
        ([0.5, 0.5, 0, 0, 0], "pN0(i+)"),  # a tie: the higher one
        ([0, 0, 0.5, 0.5, 0], "pN1"),
        ([0.1, 0.2, 0.4, 0.2, 0.1], "pN1mi"),
    ],
)
def test_stage_nearest_to_the_mean(posterior: list[float], stage: str) -> None:
    assert kappa_stage(posterior) == stage


@settings(max_examples=50, deadline=None, derandomize=True)
@given(arrays(np.float64, 5, elements=st.integers(0, 100).map(float)).filter(lambda weights: weights.sum() > 0))
def test_no_other_stage_has_less_expected_squared_error(weights: np.ndarray) -> None:
    posterior = weights / weights.sum()
    index = np.arange(5)
    losses = ((index[:, None] - index) ** 2) @ posterior
    assert losses[PN_STAGES.index(kappa_stage(posterior))] == pytest.approx(losses.min(), abs=1e-9)


def test_calibrated_slides_have_less_squared_error_than_the_rule() -> None:
    # scores are normal around the true class with a known prior, so Bayes' rule gives true probabilities
    rng, prior, separation = np.random.default_rng(0), np.array([0.6, 0.1, 0.15, 0.15]), 2.0
    true = rng.choice(4, p=prior, size=(2000, 5))
    scores = rng.normal(size=(2000, 5, 4)) + separation * np.eye(4)[true]
    joint = prior * np.exp(separation * scores)
    posteriors = [stage_posterior(nodes) for nodes in joint / joint.sum(axis=2, keepdims=True)]

    def stage_index(classes: np.ndarray) -> np.ndarray:
        return np.array([PN_STAGES.index(pn_stage([SLIDE_CLASSES[k] for k in row])) for row in classes])

    truth = stage_index(true)
    reported = np.array([PN_STAGES.index(kappa_stage(posterior)) for posterior in posteriors])
    error = ((reported - truth) ** 2).mean()
    error_of_rule = ((stage_index(joint.argmax(axis=2)) - truth) ** 2).mean()
    foretold = np.mean(((np.arange(5) - reported[:, None]) ** 2 * posteriors).sum(axis=1))
    assert error == pytest.approx(foretold, abs=0.08)  # about 0.46; its standard error is 0.025
    assert error < error_of_rule - 0.05


@pytest.mark.parametrize("wrong", [[1.0], [0.5, 0, 0, 0, 0], [np.nan] * 5])
def test_kappa_stage_refuses_what_is_no_posterior(wrong: list[float]) -> None:
    with pytest.raises(ValueError, match="Received"):
        kappa_stage(wrong)
