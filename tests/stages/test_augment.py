import numpy as np

from foveate.stages.augment import STRENGTH, TINT, stain, stain_exponents, turn, variety


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


def test_each_glimpse_is_turned_as_a_whole_into_one_of_eight_ways() -> None:
    glimpse = np.arange(2 * 3 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3, 3)
    ways = []
    for picture in (glimpse, glimpse[:, :, ::-1]):
        ways += [np.rot90(picture, k, axes=(1, 2)) for k in range(4)]
    made = turn(np.stack([glimpse] * 400), np.random.default_rng(0))
    counts = [sum(np.array_equal(one, way) for one in made) for way in ways]
    assert sum(counts) == 400
    assert min(counts) > 25


def test_the_variety_of_a_rollout() -> None:
    made, again = (variety(2000, np.random.default_rng(4)) for _ in range(2))
    np.testing.assert_array_equal(made.exponents, again.exponents)
    np.testing.assert_array_equal(made.mirror, again.mirror)
    assert made.exponents.shape == (2000, 3)
    ways, counts = np.unique(made.mirror, axis=0, return_counts=True)
    assert ways.tolist() == [[-1, -1], [-1, 1], [1, -1], [1, 1]]
    np.testing.assert_allclose(counts / 2000, 0.25, atol=0.04)
