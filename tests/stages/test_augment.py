import numpy as np
import pytest

from foveate.stages.augment import (
    STRENGTH,
    TINT,
    stain,
    stain_exponents,
    turned,
    turned_glimpses,
    turned_vectors,
    upright,
    variety,
)


def test_a_stain_is_a_factor_on_the_optical_density() -> None:
    pixels = np.array([[[255, 255, 255], [128, 64, 0]], [[255, 255, 255], [128, 64, 0]]], np.uint8)
    made = stain(pixels, np.array([[1, 1, 1], [2, 0.5, 3]]))
    np.testing.assert_array_equal(made[0], pixels[0])
    # glass stays glass; 255 (128 / 255)^2 = 64.3 and 255 (64 / 255)^(1 / 2) = 127.7
    np.testing.assert_array_equal(made[1], [[255, 255, 255], [64, 128, 0]])


def test_stains_of_glimpses_at_every_scale() -> None:
    rng = np.random.default_rng(0)
    pixels, exponents = rng.integers(0, 256, (3, 2, 4, 4, 3)).astype(np.uint8), rng.uniform(0.7, 1.4, (3, 3))
    expected = 255 * (pixels / 255) ** exponents[:, None, None, None]
    np.testing.assert_allclose(stain(pixels, exponents), expected, atol=0.51)


def test_stains_vary_around_the_slide_s_own() -> None:
    density = np.log(stain_exponents(4000, np.random.default_rng(0)))
    assert density.shape == (4000, 3)
    assert np.abs(density).max() <= STRENGTH + TINT
    np.testing.assert_allclose(density.mean(0), 0, atol=0.01)
    # channels go together, and each a little on its own: variances of uniform numbers
    covariance = np.full((3, 3), STRENGTH**2 / 3) + np.eye(3) * TINT**2 / 3
    np.testing.assert_allclose(np.cov(density.T), covariance, atol=1e-3)


GLIMPSE = np.arange(2 * 3 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3, 3)


def test_the_eight_orientations_of_a_square() -> None:
    square = np.array([[1, 2], [3, 4]])
    ways = [turned(square, k).tolist() for k in range(8)]
    assert ways[:4] == [[[1, 2], [3, 4]], [[2, 4], [1, 3]], [[4, 3], [2, 1]], [[3, 1], [4, 2]]]
    assert ways[4:] == [[[2, 1], [4, 3]], [[1, 3], [2, 4]], [[3, 4], [1, 2]], [[4, 2], [3, 1]]]


def test_each_glimpse_is_turned_at_every_scale() -> None:
    made = turned_glimpses(np.stack([GLIMPSE] * 8), np.arange(8))
    for one in range(8):
        for scale in range(2):
            np.testing.assert_array_equal(made[one, scale], turned(GLIMPSE[scale], one))


@pytest.mark.parametrize("orientation", range(8))
def test_places_of_a_turned_square_are_found_again(orientation: int) -> None:
    square = np.arange(25).reshape(5, 5)
    places = np.array([[0, 0], [1, 4], [3, 2], [4, 4]])
    before = upright(places, orientation, 5)
    found = turned(square, orientation)[tuple(places.T)]
    np.testing.assert_array_equal(square[tuple(before.T)], found)


@pytest.mark.parametrize("orientation", range(8))
def test_vectors_turn_with_their_square(orientation: int) -> None:
    square = np.zeros((7, 7))
    square[1, 5] = 1  # 2 px right of the middle and 2 up; then one that is not on a diagonal
    square[6, 4] = 2
    expected = [(turned(square, orientation) == k).nonzero() for k in (1, 2)]
    x_y = [[int(columns[0]) - 3, int(rows[0]) - 3] for rows, columns in expected]
    found = turned_vectors(np.array([[2, -2], [1, 3]]), np.full(2, orientation))
    np.testing.assert_array_equal(found, x_y)


def test_the_variety_of_a_rollout() -> None:
    made, again = (variety(4000, np.random.default_rng(4)) for _ in range(2))
    for name in ("exponents", "orientation", "shift"):
        np.testing.assert_array_equal(getattr(made, name), getattr(again, name))
    assert (made.exponents.shape, made.shift.shape) == ((4000, 3), (4000, 2))
    np.testing.assert_allclose(np.bincount(made.orientation) / 4000, 1 / 8, atol=0.02)
    assert np.abs(made.shift).max() <= 0.5
    np.testing.assert_allclose(np.histogram2d(*made.shift.T, bins=4)[0] / 4000, 1 / 16, atol=0.015)
