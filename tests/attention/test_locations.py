import numpy as np
import pytest
from keras import ops
from scipy.stats import norm

from foveate.attention.locations import GaussianLocation


@pytest.mark.parametrize("learned", [False, True])
def test_the_spread_begins_where_it_was_set(learned: bool) -> None:
    policy = GaussianLocation(8, std=0.3, learned=learned)
    policy.build((None, 4))
    mean, std = policy(np.random.default_rng(0).random((5, 4), np.float32))
    assert mean.shape == std.shape == (5, 2)
    assert np.abs(ops.convert_to_numpy(mean)).max() < 1
    np.testing.assert_allclose(ops.convert_to_numpy(std), 0.3, rtol=1e-5)


def test_log_prob_is_that_of_two_normals() -> None:
    policy = GaussianLocation()
    mean, std = np.array([[0.1, -0.2]], "float32"), np.array([[0.1, 0.5]], "float32")
    sample = np.array([[1.3, 0.1]], "float32")  # far outside [-1, 1], and not clipped
    expected = norm.logpdf(1.3, 0.1, 0.1) + norm.logpdf(0.1, -0.2, 0.5)
    found = policy.log_prob((ops.convert_to_tensor(mean), ops.convert_to_tensor(std)), ops.convert_to_tensor(sample))
    np.testing.assert_allclose(ops.convert_to_numpy(found), [expected], rtol=1e-4)


def test_samples_have_the_mean_and_spread_and_follow_the_seed() -> None:
    policy = GaussianLocation()
    distribution = (ops.full((4000, 2), 0.5), ops.full((4000, 2), 0.2))
    first = ops.convert_to_numpy(policy.sample(distribution, seed=3))
    np.testing.assert_array_equal(first, ops.convert_to_numpy(policy.sample(distribution, seed=3)))
    np.testing.assert_allclose(first.mean(0), 0.5, atol=0.02)
    np.testing.assert_allclose(first.std(0), 0.2, atol=0.02)


def test_configuration_round_trip() -> None:
    policy = GaussianLocation(16, 0.2, True)
    assert GaussianLocation.from_config(policy.get_config()).get_config() == policy.get_config()
