import math

import numpy as np
import pytest
from keras import ops

from foveate.attention.policy import CellPolicy


@pytest.fixture
def policy() -> CellPolicy:
    """Cells of four numbers, a state of one: q(h) = (2 h, 0, 0, 0), inhibition softplus(h) high and a cell wide."""
    made = CellPolicy(features=4, spread=1.0)
    made.build((None, 1))
    made.query.set_weights([np.array([[2.0, 0, 0, 0]]), np.zeros(4)])
    made.height.set_weights([np.array([[1.0]]), np.zeros(1)])
    return made


def probabilities(policy: CellPolicy, state: float, allowed: list[bool]) -> np.ndarray:
    """Over the four cells of a 2 x 2 grid."""
    cells = np.random.default_rng(0).normal(size=(1, 4, 4))  # only the first number meets a query that is not 0
    cells[0, :, 0] = np.log([1, 2, 1, 2])
    log_p = policy(
        ops.array([[state]], "float32"),
        ops.array(cells, "float32"),
        ops.array(np.log([[1, 1, 3, 1]]), "float32"),
        ops.array(np.log([[1, 1, 1, 2]]), "float32"),
        ops.array([allowed]),
    )
    assert log_p.shape == (1, 4)
    return np.exp(np.asarray(log_p)[0])


@pytest.mark.parametrize(
    ("state", "allowed", "expected"),
    [
        # odds are salience x (cell's number) ^ state / inhibition; the query is divided by sqrt(4)
        (1, [True, True, True, True], np.array([1, 2, 3, 2 / 2]) / 7),
        (2, [True, True, True, True], np.array([1, 4, 3, 4 / 2]) / 10),
        (0, [True, True, True, True], np.array([1, 1, 3, 1 / 2]) / 5.5),
        (1, [True, True, False, True], np.array([1, 2, 0, 1]) / 4),
        (1, [False, False, False, True], [0, 0, 0, 1]),
    ],
)
def test_salience_query_and_inhibition(
    policy: CellPolicy, state: float, allowed: list[bool], expected: np.ndarray
) -> None:
    np.testing.assert_allclose(probabilities(policy, state, allowed), expected, rtol=1e-5)


def test_each_row_is_a_distribution_over_its_own_allowed_cells() -> None:
    rng = np.random.default_rng(0)
    policy = CellPolicy(features=5, spread=1.0)
    cells, states = rng.normal(size=(3, 12, 5)) * 10, rng.normal(size=(3, 6))
    salience, inhibition = rng.normal(size=(2, 3, 12)) * 10
    allowed = np.arange(12) % [[6], [2], [1]] == 0  # two, six and all cells
    given = [ops.array(v, "float32") for v in (states, cells, salience, inhibition)]
    log_p = np.asarray(policy(*given, ops.array(allowed)))
    np.testing.assert_allclose(np.exp(log_p).sum(1, where=allowed), 1, rtol=1e-5)
    assert (log_p[~allowed] < -1e8).all()
    assert (np.exp(log_p[~allowed]) == 0).all()
    assert np.isfinite(log_p).all()
    for row in range(3):  # rows have nothing to do with each other
        alone = np.asarray(policy(*(v[row : row + 1] for v in given), ops.array(allowed[row : row + 1])))
        np.testing.assert_allclose(alone[0], log_p[row], rtol=1e-5)


def test_inhibition_is_a_gaussian_around_the_visited_cell(policy: CellPolicy) -> None:
    found = np.asarray(policy.inhibit(ops.zeros((2, 1)), ops.array([3, 2]), columns=3, count=6))
    bump = [1, math.exp(-1 / 2), math.exp(-4 / 2)]  # by squared distance in cells: 0, 1, 4
    near, far = math.exp(-2 / 2), math.exp(-5 / 2)
    expected = [[bump[1], near, far, bump[0], bump[1], bump[2]], [bump[2], bump[1], bump[0], far, near, bump[1]]]
    np.testing.assert_allclose(found, math.log(2) * np.array(expected), rtol=1e-5)  # softplus(0) = log 2


def test_the_spread_of_the_inhibition_is_in_cells() -> None:
    policy = CellPolicy(features=4, spread=2.5)
    found = np.asarray(policy.inhibit(ops.zeros((1, 1)), ops.array([0]), columns=3, count=3))[0]
    np.testing.assert_allclose(found / found[0], np.exp(-np.array([0, 1, 4]) / (2 * 2.5**2)), rtol=1e-5)


def test_the_state_decides_how_strong_the_inhibition_is(policy: CellPolicy) -> None:
    states = ops.array([[-3.0], [0.0], [5.0]])
    at = np.asarray(policy.inhibit(states, ops.array([1, 1, 1]), columns=3, count=6))[:, 1]
    np.testing.assert_allclose(at, [math.log1p(math.exp(h)) for h in (-3, 0, 5)], rtol=1e-5)
