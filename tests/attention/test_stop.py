import numpy as np
import pytest
from keras import ops

from foveate.attention.stop import StopNetwork

LOGIT = np.log([1 / 3, 1, 4]).astype("float32")  # p = 1/4, 1/2, 4/5


@pytest.mark.parametrize("start", [0.02, 0.3])
def test_it_begins_at_one_probability_in_any_state(start: float) -> None:
    stop = StopNetwork(hidden=4, start=start)
    stop.build((None, None, 3))
    logit = stop(10 * np.random.default_rng(0).normal(size=(5, 2, 3)).astype("float32"))
    np.testing.assert_allclose(np.asarray(ops.sigmoid(logit)), np.full((5, 2), start), rtol=1e-5)


def test_the_state_decides() -> None:
    stop = StopNetwork(hidden=1, start=0.5)
    stop.build((None, 2))
    stop.inner.set_weights([np.array([[1.0], [-1.0]]), np.array([1.0])])
    stop.logit.set_weights([np.array([[3.0]]), np.array([-2.0])])
    found = np.asarray(stop(np.array([[1.0, 0.5], [0.0, 4.0]], "float32")))
    np.testing.assert_allclose(found, [3 * 1.5 - 2, -2], rtol=1e-5)


def test_samples_are_as_frequent_as_they_are_likely_and_follow_the_seed() -> None:
    many, stop = ops.convert_to_tensor(np.repeat(LOGIT[None], 4000, 0)), StopNetwork()
    drawn = np.asarray(stop.sample(many, 5))
    np.testing.assert_array_equal(drawn, np.asarray(stop.sample(many, 5)))
    np.testing.assert_allclose(drawn.mean(0), [1 / 4, 1 / 2, 4 / 5], atol=0.03)


def test_the_likelier_of_both() -> None:
    assert np.asarray(StopNetwork().mode(ops.convert_to_tensor([-0.1, 0.1]))).tolist() == [False, True]
