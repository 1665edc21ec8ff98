from collections.abc import Callable

import numpy as np
import pytest
from keras import ops
from scipy.stats import norm

from foveate.attention.locations import LEAST_STD, GaussianLocation

MEAN, STD = np.array([[0.1, -0.2]], "float32"), np.array([[0.1, 0.5]], "float32")
FAR = np.array([[1.3, 0.1]], "float32")  # outside [-1, 1]


@pytest.mark.parametrize("learned", [False, True])
def test_the_spread_begins_where_it_was_set(learned: bool) -> None:
    location = GaussianLocation(8, std=0.3, learned=learned)
    location.build((None, 4))
    mean, std = location(np.random.default_rng(0).random((5, 4), np.float32))
    assert tuple(mean.shape) == (5, 2)
    assert np.abs(np.asarray(mean)).max() < 1
    np.testing.assert_allclose(np.asarray(std), np.full((5, 2), 0.3), rtol=1e-5)
    assert ("spread" in {v.path.split("/")[-2] for v in location.trainable_variables}) == learned


def test_the_state_decides_the_learned_spread() -> None:
    location = GaussianLocation(1, learned=True)
    location.build((None, 1))
    location.inner.set_weights([np.ones((1, 1)), np.zeros(1)])
    location.spread.set_weights([np.array([[1.0, -100.0]]), np.zeros(2)])
    _, std = location(np.ones((1, 1), "float32"))
    np.testing.assert_allclose(np.asarray(std), [[np.log1p(np.e) + LEAST_STD, LEAST_STD]], rtol=1e-5)


def test_the_mean_is_that_of_two_layers() -> None:
    location = GaussianLocation(1)
    location.build((None, 2))
    location.inner.set_weights([np.array([[1.0], [-1.0]]), np.array([0.5])])
    location.mean.set_weights([np.array([[1.0, -0.5]]), np.array([0.0, 0.25])])
    mean, _ = location(np.array([[1.0, 0.5], [0.0, 3.0]], "float32"))
    np.testing.assert_allclose(np.asarray(mean), np.tanh([[1, -0.25], [0, 0.25]]), rtol=1e-5)


def test_log_prob_is_that_of_two_normals() -> None:
    distribution = ops.convert_to_tensor(MEAN), ops.convert_to_tensor(STD)
    found = GaussianLocation().log_prob(distribution, ops.convert_to_tensor(FAR))
    expected = norm.logpdf(1.3, 0.1, 0.1) + norm.logpdf(0.1, -0.2, 0.5)
    np.testing.assert_allclose(np.asarray(found), [expected], rtol=1e-5)


def test_entropy_is_that_of_two_normals() -> None:
    found = GaussianLocation().entropy((ops.convert_to_tensor(MEAN), ops.convert_to_tensor(STD)))
    np.testing.assert_allclose(np.asarray(found), [norm.entropy(0, 0.1) + norm.entropy(0, 0.5)], rtol=1e-5)


def test_log_prob_has_the_gradient_of_the_mean_and_of_the_spread(
    gradients_of: Callable[..., list[np.ndarray]],
) -> None:
    into_mean, into_std = gradients_of(lambda m, s: GaussianLocation().log_prob((m, s), ops.array(FAR)), MEAN, STD)
    z = (FAR - MEAN) / STD
    np.testing.assert_allclose(into_mean, z / STD, rtol=1e-5)
    np.testing.assert_allclose(into_std, (z**2 - 1) / STD, rtol=1e-5)


def test_no_gradient_flows_through_a_choice(gradients_of: Callable[..., list[np.ndarray]]) -> None:
    location, noise = GaussianLocation(), np.ones((1, 2), "float32")
    for of in (lambda m, s: location.sample((m, s), noise), lambda m, s: location.mode((m, s)) + 0 * s):
        assert not np.any(gradients_of(of, MEAN, STD))


def test_a_choice_is_the_mean_and_noise_and_the_mode_the_mean() -> None:
    location, distribution = GaussianLocation(), (ops.convert_to_tensor(MEAN), ops.convert_to_tensor(STD))
    chosen = location.sample(distribution, ops.convert_to_tensor([[2.0, -4.0]]))
    np.testing.assert_allclose(np.asarray(chosen), [[0.3, -2.2]], rtol=1e-5)
    np.testing.assert_allclose(np.asarray(location.place(chosen)), [[0.3, -1]], rtol=1e-5)
    np.testing.assert_array_equal(np.asarray(location.mode(distribution)), MEAN)


def test_noise_is_standard_normal_and_follows_the_seed() -> None:
    location = GaussianLocation()
    noise = np.asarray(location.noise(4000, 3))
    np.testing.assert_array_equal(noise, np.asarray(location.noise(4000, 3)))
    np.testing.assert_allclose([noise.mean(0), noise.std(0)], [[0, 0], [1, 1]], atol=0.05)
    assert abs(np.corrcoef(noise.T)[0, 1]) < 0.05


def test_anywhere_is_uniform() -> None:
    places = np.asarray(GaussianLocation().anywhere(4000, None, 3))
    assert np.abs(places).max() <= 1
    counts, *_ = np.histogram2d(*places.T, bins=2, range=[[-1, 1], [-1, 1]])
    np.testing.assert_allclose(counts, np.full((2, 2), 1000), atol=120)
