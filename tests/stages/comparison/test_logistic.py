import numpy as np

from foveate.stages.comparison.logistic import STRENGTHS, USUAL, fit, fit_chosen

NONE = (np.zeros((0, 1)), np.zeros(0, np.int64))


def test_with_features_that_say_nothing_it_gives_the_classes_shares() -> None:
    x, y = np.ones((10, 1)), np.array([0] * 7 + [2] * 3)
    np.testing.assert_allclose(fit(x, y, 4, 0.1).probabilities(x)[0], [0.7, 0, 0.3, 0], atol=2e-3)


def test_the_gradient_vanishes_at_the_fit() -> None:
    """Two classes, one feature of mean 0 and deviation 1: mean (p - y) x + strength w = 0, and mean (p - y) = 0."""
    x, y = np.array([[-1.0], [1.0], [-1.0], [1.0]]), np.array([0, 1, 0, 0])
    found = fit(x, y, 2, 0.05)
    error = found.probabilities(x)[:, 1] - y
    np.testing.assert_allclose(error.mean(), 0, atol=1e-4)
    np.testing.assert_allclose((error * x[:, 0]).mean() + 0.05 * found.weights[0, 1], 0, atol=1e-4)


def test_a_feature_s_unit_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 2)), np.arange(40) % 3
    plain, scaled = fit(x, y, 3, 0.1), fit(1000 * x + 5, y, 3, 0.1)
    np.testing.assert_allclose(plain.probabilities(x), scaled.probabilities(1000 * x + 5), atol=1e-3)


def test_other_slides_choose_how_strongly_it_believes() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    right, noise = y[:, None] * 2.0 - 1 + 0.1 * rng.normal(size=(40, 1)), rng.normal(size=(40, 1))
    sure, doubtful = (fit_chosen(x, y, 2, (x, truth)) for x, truth in ((right, y), (noise, rng.permutation(y))))
    np.testing.assert_array_equal(sure.weights, fit(right, y, 2, STRENGTHS[0]).weights)
    assert np.abs(doubtful.weights[0]).max() < 0.2 < np.abs(sure.weights[0]).max()
    np.testing.assert_array_equal(fit_chosen(right, y, 2, NONE).weights, fit(right, y, 2, USUAL).weights)
