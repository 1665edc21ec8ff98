import numpy as np
import pytest

from foveate.stages.comparison.pooling import plain, pool

P = np.array([[0.5, 0.2, 0.2, 0.1], [0.1, 0.1, 0.1, 0.7]])  # two cells
SALIENCE = np.log([0.25, 0.75])


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ("mean", [0.3, 0.15, 0.15, 0.4]),
        ("max", [0.5, 0.2, 0.2, 0.7]),
        ("policy", [0.2, 0.125, 0.125, 0.55]),
        ("mean+max", [0.3, 0.15, 0.15, 0.4, 0.5, 0.2, 0.2, 0.7]),
    ],
)
def test_pooling(pooling: str, expected: list[float]) -> None:
    np.testing.assert_allclose(np.exp(pool(np.log(P), SALIENCE, pooling)), expected)


def test_the_order_of_cells_does_not_matter() -> None:
    for pooling in ("mean", "max", "policy"):
        both = [pool(np.log(P[order]), SALIENCE[order], pooling) for order in ([0, 1], [1, 0])]
        np.testing.assert_allclose(*both)


def test_very_small_probabilities() -> None:
    evidence = np.array([[0.0, -1000.0], [0.0, -1001.0]])
    np.testing.assert_allclose(pool(evidence, SALIENCE, "mean"), [0, -1000 + np.log((1 + np.exp(-1)) / 2)])


def test_an_unknown_pooling() -> None:
    with pytest.raises(ValueError, match="Received: median"):
        pool(np.log(P), SALIENCE, "median")


def test_plain_probabilities_sum_to_one() -> None:
    np.testing.assert_allclose(plain(np.log([0.5, 0.2, 0.2, 0.7])), np.array([0.5, 0.2, 0.2, 0.7]) / 1.6)
