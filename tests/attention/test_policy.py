import math
from typing import Any

import numpy as np
import pytest
from keras import ops

from foveate.attention.policy import NEVER, CellPolicy, pick, renormalised


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
    logits = policy(
        ops.array([[state]], "float32"),
        ops.array(cells, "float32"),
        ops.array(np.log([[1, 1, 3, 1]]), "float32"),
        ops.array(np.log([[1, 1, 1, 2]]), "float32"),
    )
    log_p = renormalised(logits, ops.array([allowed]))
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
    log_p = np.asarray(renormalised(policy(*given), ops.array(allowed)))
    np.testing.assert_allclose(np.exp(log_p).sum(1, where=allowed), 1, rtol=1e-5)
    assert (log_p[~allowed] < -1e8).all()
    assert (np.exp(log_p[~allowed]) == 0).all()
    assert np.isfinite(log_p).all()
    for row in range(3):  # rows have nothing to do with each other
        alone = np.asarray(renormalised(policy(*(v[row : row + 1] for v in given)), ops.array(allowed[row : row + 1])))
        np.testing.assert_allclose(alone[0], log_p[row], rtol=1e-5)


def places(rows: int, columns: int, slides: int) -> Any:
    """(slides, rows * columns, 2): every cell of a grid, row by row."""
    return ops.array(np.tile(np.indices((rows, columns)).reshape(2, -1).T, (slides, 1, 1)), "float32")


def test_inhibition_is_a_gaussian_around_the_visited_cell(policy: CellPolicy) -> None:
    found = np.asarray(policy.inhibit(ops.zeros((2, 1)), ops.array([3, 2]), places(2, 3, 2)))
    bump = [1, math.exp(-1 / 2), math.exp(-4 / 2)]  # by squared distance in cells: 0, 1, 4
    near, far = math.exp(-2 / 2), math.exp(-5 / 2)
    expected = [[bump[1], near, far, bump[0], bump[1], bump[2]], [bump[2], bump[1], bump[0], far, near, bump[1]]]
    np.testing.assert_allclose(found, math.log(2) * np.array(expected), rtol=1e-5)  # softplus(0) = log 2


def test_the_spread_of_the_inhibition_is_in_cells() -> None:
    policy = CellPolicy(features=4, spread=2.5)
    found = np.asarray(policy.inhibit(ops.zeros((1, 1)), ops.array([0]), places(1, 3, 1)))[0]
    np.testing.assert_allclose(found / found[0], np.exp(-np.array([0, 1, 4]) / (2 * 2.5**2)), rtol=1e-5)


def test_the_state_decides_how_strong_the_inhibition_is(policy: CellPolicy) -> None:
    states = ops.array([[-3.0], [0.0], [5.0]])
    at = np.asarray(policy.inhibit(states, ops.array([1, 1, 1]), places(2, 3, 3)))[:, 1]
    np.testing.assert_allclose(at, [math.log1p(math.exp(h)) for h in (-3, 0, 5)], rtol=1e-5)


def test_copies_of_a_slide_share_its_cells(policy: CellPolicy) -> None:
    """Two slides, three rollouts of each, against each rollout for itself."""
    rng = np.random.default_rng(0)
    cells, salience = rng.normal(size=(2, 6, 4)), rng.normal(size=(2, 6))
    states, inhibition, choice = rng.normal(size=(6, 1)), rng.normal(size=(6, 6)), rng.integers(0, 6, 6)
    open_ = np.ones((6, 6), bool)
    at = np.stack([np.indices((2, 3)).reshape(2, -1).T, np.indices((3, 2)).reshape(2, -1).T])

    def look(state: Any, cells: Any, salience: Any, inhibition: Any, at: Any, choice: Any) -> tuple[Any, Any]:
        given = [ops.array(v, "float32") for v in (state, cells, salience, inhibition)]
        more = policy.inhibit(given[0], ops.array(choice), ops.array(at, "float32"))
        return renormalised(policy(*given), ops.array(open_[: len(state)])), more

    together = look(states, cells, salience, inhibition, at, choice)
    for row in range(6):
        one, slide = slice(row, row + 1), slice(row // 3, row // 3 + 1)
        alone = look(states[one], cells[slide], salience[slide], inhibition[one], at[slide], choice[one])
        for a, b in zip(together, alone, strict=True):
            np.testing.assert_allclose(np.asarray(a)[row], np.asarray(b)[0], rtol=1e-4, atol=1e-6)


def picked(log_p: np.ndarray, allowed: np.ndarray, chance: list[float], explore: str) -> list[int]:
    given = ops.array(log_p, "float32"), ops.array(allowed), ops.array(chance, "float32")
    return np.asarray(pick(*given, explore)).tolist()


P = np.array([[0.0, 0.5, 0.0, 0.3, 0.2, 0.0]])


@pytest.mark.parametrize(
    ("chance", "expected"),
    [(0.0, 1), (0.499, 1), (0.501, 3), (0.799, 3), (0.801, 4), (0.9999999, 4)],
)
def test_a_sampled_pick_is_where_the_sum_passes_the_chance(chance: float, expected: int) -> None:
    log_p = np.where(P > 0, np.log(np.maximum(P, 0.1)), NEVER)
    assert picked(log_p, P > 0, [chance], "sampled") == [expected]


@pytest.mark.parametrize(("chance", "expected"), [(0.0, 1), (0.33, 1), (0.34, 3), (0.66, 3), (0.67, 4), (0.9999999, 4)])
def test_a_random_pick_ignores_the_policy(chance: float, expected: int) -> None:
    log_p = np.log(np.array([[0.9, 0.02, 0.02, 0.02, 0.02, 0.02]]))
    assert picked(log_p, P > 0, [chance], "random") == [expected]


def test_a_greedy_pick_is_the_likeliest() -> None:
    log_p = np.log(np.array([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]]))
    assert picked(log_p, np.ones((2, 3), bool), [0.99, 0.99], "greedy") == [1, 0]


def test_picks_follow_the_policy() -> None:
    p = np.array([0.5, 0.3, 0.2, 1e-12])
    log_p = np.tile(np.log(p), (4000, 1))
    drawn = picked(log_p, np.ones(log_p.shape, bool), np.random.default_rng(0).random(4000).tolist(), "sampled")
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / 4000, p, atol=0.025)
