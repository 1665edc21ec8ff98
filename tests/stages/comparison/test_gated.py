from functools import partial

import numpy as np
import pytest

from foveate.stages.comparison.gated import HIDDEN, Bag, Parameters, fit, loss

NONE: tuple[list[Bag], list[int]] = ([], [])


@pytest.fixture
def parameters() -> Parameters:
    rng = np.random.default_rng(0)
    shapes = {"v": (3, HIDDEN), "u": (3, HIDDEN), "w": (HIDDEN,), "out": (3, 4), "bias": (4,)}
    return {name: rng.normal(size=shape).astype(np.float64) for name, shape in shapes.items()}  # type: ignore[misc]


def test_the_gradient_is_that_of_the_loss(parameters: Parameters) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(5, 3))
    value, gradients = loss(parameters, x, 2)
    for name, values in parameters.items():
        direction = rng.normal(size=values.shape)
        ends = [loss(parameters | {name: values + step * direction}, x, 2)[0] for step in (1e-2, -1e-2)]
        assert (ends[0] - ends[1]) / 2e-2 == pytest.approx((gradients[name] * direction).sum(), rel=0.02), name
    assert value > 0


def test_without_a_preference_it_is_the_mean(parameters: Parameters) -> None:
    x = np.array([[1.0, 0, 0], [0, 1.0, 0]])
    flat = parameters | {"w": np.zeros(HIDDEN), "out": np.eye(3, 4), "bias": np.zeros(4)}
    powers = np.exp([0.5, 0.5, 0, 0])
    assert loss(flat, x, 0)[0] == pytest.approx(-np.log(powers[0] / powers.sum()), rel=1e-5)  # type: ignore[arg-type]


def bags(count: int, seed: int) -> tuple[list[Bag], list[int]]:
    """Bags of 30 to 59 cells; in every other bag two of them point another way."""
    rng = np.random.default_rng(seed)
    made, labels = [], []
    for k in range(count):
        x = rng.normal(size=(30 + k % 30, 6)).astype(np.float32)
        if k % 2:
            x[:2] += np.array([5, -5, 0, 0, 0, 0], np.float32)
        made.append(partial(np.array, x))
        labels.append(3 * (k % 2))
    return made, labels


def test_it_finds_two_cells_of_many() -> None:
    train, labels = bags(60, 0)
    model = fit(train, labels, 4, bags(20, 1), seed=0)
    test, truth = bags(40, 2)
    found = [int(model.probabilities(bag()).argmax()) for bag in test]
    assert np.mean(np.array(found) == truth) > 0.9


def test_the_same_seed_gives_the_same_model() -> None:
    train, labels = bags(6, 0)
    one, same, other = (fit(train, labels, 4, NONE, seed=s).probabilities(train[1]()) for s in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0
    np.testing.assert_allclose(one.sum(), 1, rtol=1e-6)
