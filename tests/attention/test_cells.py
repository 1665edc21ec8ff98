from collections.abc import Callable

import numpy as np
import pytest
from keras import ops

from foveate.attention.cells import CellLocation, gumbel


@pytest.fixture(scope="module")
def location() -> CellLocation:
    """2 x 3 cells; of a state of 1 the odds are 1 to 6, and every visit divides them by 2."""
    made = CellLocation(rows=2, columns=3, hidden=1)
    made.build((None, 1))
    made.inner.set_weights([np.ones((1, 1)), np.zeros(1)])
    made.score.set_weights([np.log(np.arange(1, 7))[None], np.zeros(6)])
    made.height.set_weights([np.zeros((1, 1)), np.log(np.expm1(np.log([2.0])))])  # softplus of it is log 2
    return made


def log_p(location: CellLocation, visits: list[float], allowed: list[bool] | None = None) -> np.ndarray:
    given = None if allowed is None else ops.convert_to_tensor([allowed])
    return np.asarray(location(ops.ones((1, 1)), ops.convert_to_tensor([visits], "float32"), given))[0]


ODD = [True, False, True, False, True, False]


@pytest.mark.parametrize(
    ("visits", "allowed", "odds"),
    [
        ([0] * 6, None, [1, 2, 3, 4, 5, 6]),
        ([0, 1, 0, 2, 0, 0], None, [1, 1, 3, 1, 5, 6]),
        ([0] * 6, ODD, [1, 0, 3, 0, 5, 0]),
        ([0, 0, 1, 5, 0, 0], ODD, [1, 0, 1.5, 0, 5, 0]),
        ([9] * 6, [False] * 3 + [True] + [False] * 2, [0, 0, 0, 1, 0, 0]),
    ],
)
def test_scores_visits_and_masks(
    location: CellLocation, visits: list[float], allowed: list[bool] | None, odds: list[float]
) -> None:
    np.testing.assert_allclose(np.exp(log_p(location, visits, allowed)), np.array(odds) / np.sum(odds), rtol=1e-5)


def test_a_visited_cell_is_much_less_likely_before_training() -> None:
    location = CellLocation(rows=2, columns=2, hidden=4)
    location.build((None, 3))
    state = np.random.default_rng(0).random((1, 3), np.float32)
    fresh, seen = (np.asarray(location(state, np.array([v], "float32")))[0] for v in ([0, 0, 0, 0], [0, 1, 0, 0]))
    odds = np.exp((seen - fresh)[1] - (seen - fresh)[0])
    assert odds < np.exp(-2)


def test_places_are_the_middles_of_cells_row_by_row(location: CellLocation) -> None:
    found = np.asarray(location.place(ops.arange(6, dtype="int32")))
    expected = [[x, y] for y in (-1 / 2, 1 / 2) for x in (-2 / 3, 0, 2 / 3)]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_visit_counts(location: CellLocation) -> None:
    memory = np.arange(12.0).reshape(2, 6).astype("float32")
    found = np.asarray(location.visit(memory, ops.convert_to_tensor([4, 0], "int32")))
    np.testing.assert_array_equal(found - memory, [[0, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, 0]])
    assert location.memory_size() == 6


def test_samples_are_as_frequent_as_they_are_likely(location: CellLocation) -> None:
    p = np.array([1, 2, 3, 4, 5, 6]) / 21
    many = ops.convert_to_tensor(np.repeat(np.log(p)[None], 6000, 0).astype("float32"))
    noise = location.noise(6000, 1)
    drawn = np.asarray(location.sample(many, noise))
    np.testing.assert_array_equal(drawn, np.asarray(location.sample(many, location.noise(6000, 1))))
    np.testing.assert_allclose(np.bincount(drawn, minlength=6) / 6000, p, atol=0.02)
    assert (np.asarray(location.mode(many)) == 5).all()


def test_a_cell_that_is_not_allowed_is_never_chosen(location: CellLocation) -> None:
    allowed = [False, True, False, True, False, False]
    many = ops.convert_to_tensor(np.repeat(log_p(location, [0, 8, 0, 0, 0, 0], allowed)[None], 3000, 0))
    assert set(np.asarray(location.sample(many, location.noise(3000, 2)))) == {1, 3}
    assert set(np.asarray(location.mode(many))) == {3}
    drawn = np.asarray(location.anywhere(3000, ops.convert_to_tensor([allowed] * 3000), 3))
    np.testing.assert_allclose(np.bincount(drawn, minlength=6) / 3000, [0, 0.5, 0, 0.5, 0, 0], atol=0.05)
    free = np.asarray(location.anywhere(3000, None, 3))
    np.testing.assert_allclose(np.bincount(free, minlength=6) / 3000, np.full(6, 1 / 6), atol=0.03)


def test_log_prob_and_entropy(location: CellLocation) -> None:
    p = np.array([[0.5, 0.25, 0.25, 0, 0, 0], [1 / 6] * 6])
    with np.errstate(divide="ignore"):
        given = ops.convert_to_tensor(np.maximum(np.log(p), -1e9).astype("float32"))
    found = location.log_prob(given, ops.convert_to_tensor([1, 5], "int32"))
    np.testing.assert_allclose(np.asarray(found), np.log([0.25, 1 / 6]), rtol=1e-5)
    np.testing.assert_allclose(np.asarray(location.entropy(given)), [1.5 * np.log(2), np.log(6)], rtol=1e-5)


def test_log_prob_has_the_gradient_of_the_logits(gradients_of: Callable[..., list[np.ndarray]]) -> None:
    chosen = ops.convert_to_tensor([2], "int32")
    of = lambda logits: CellLocation(2, 3).log_prob(ops.log_softmax(logits), chosen)  # noqa: E731
    (found,) = gradients_of(of, np.log([[1.0, 2, 3, 4, 5, 6]]))
    np.testing.assert_allclose(found, [np.eye(6)[2] - np.arange(1, 7) / 21], rtol=1e-5)


def test_gumbel_noise_is_finite_and_has_euler_s_mean() -> None:
    noise = np.asarray(gumbel((200, 500), "float32", 0))
    assert np.isfinite(noise).all()
    np.testing.assert_allclose([noise.mean(), noise.var()], [np.euler_gamma, np.pi**2 / 6], rtol=0.02)
