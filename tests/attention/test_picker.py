import numpy as np
from keras import ops

from foveate.attention.picker import Picker


def test_images_that_are_not_there_are_never_picked() -> None:
    picker = Picker(8)
    picker.build((None, 3), (None, None, 2))
    present = np.array([[True, False, True], [False, True, False]])
    log_p = picker(np.ones((2, 3), "float32"), np.ones((2, 3, 2), "float32"), present)
    p = ops.convert_to_numpy(ops.exp(log_p))
    np.testing.assert_allclose(p, [[0.5, 0, 0.5], [0, 1, 0]], atol=1e-6)
    picked = ops.convert_to_numpy(picker.sample(ops.repeat(log_p, 50, axis=0), seed=1))
    assert set(picked[:50]) == {0, 2}
    assert set(picked[50:]) == {1}


def test_the_order_of_images_does_not_matter() -> None:
    picker = Picker(8)
    picker.build((None, 3), (None, None, 2))
    rng = np.random.default_rng(0)
    state, notes = rng.random((1, 3), np.float32), rng.random((1, 4, 2), np.float32)
    there = np.ones((1, 4), bool)
    order = [2, 0, 3, 1]
    first = ops.convert_to_numpy(picker(state, notes, there))
    np.testing.assert_allclose(ops.convert_to_numpy(picker(state, notes[:, order], there)), first[:, order], rtol=1e-5)
    assert np.ptp(first) > 1e-3


def test_log_prob_is_that_of_the_picked() -> None:
    log_p = ops.log(ops.convert_to_tensor(np.array([[0.2, 0.8], [0.5, 0.5]], "float32")))
    found = Picker().log_prob(log_p, ops.convert_to_tensor(np.array([1, 0], "int32")))
    np.testing.assert_allclose(ops.convert_to_numpy(ops.exp(found)), [0.8, 0.5], rtol=1e-5)


def test_configuration_round_trip() -> None:
    picker = Picker(5)
    assert Picker.from_config(picker.get_config()).get_config() == picker.get_config()
