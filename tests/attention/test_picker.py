from collections.abc import Callable

import numpy as np
import pytest
from keras import ops

from foveate.attention.picker import Picker


@pytest.fixture(scope="module")
def picker() -> Picker:
    made = Picker(8)
    made.build((None, 3), (None, None, 2))
    return made


def test_images_that_are_not_there_are_never_picked(picker: Picker) -> None:
    present = np.array([[True, False, True], [False, True, False]])
    log_p = picker(np.ones((2, 3), "float32"), np.ones((2, 3, 2), "float32"), present)
    np.testing.assert_allclose(np.exp(np.asarray(log_p)), [[0.5, 0, 0.5], [0, 1, 0]], atol=1e-6)
    many = ops.repeat(log_p, 500, axis=0)
    picked = np.asarray(picker.sample(many, picker.noise(1000, 3, 1)))
    assert set(picked[:500]) == {0, 2}
    assert set(picked[500:]) == {1}


def test_the_order_of_images_does_not_matter(picker: Picker) -> None:
    rng = np.random.default_rng(0)
    state, notes = rng.random((1, 3), np.float32), rng.random((1, 4, 2), np.float32)
    order = [2, 0, 3, 1]
    first = np.asarray(picker(state, notes))
    np.testing.assert_allclose(np.asarray(picker(state, notes[:, order])), first[:, order], rtol=1e-5)
    assert np.ptp(first) > 1e-3


def test_all_are_there_if_nothing_is_said(picker: Picker) -> None:
    rng = np.random.default_rng(1)
    state, notes = rng.random((2, 3), np.float32), rng.random((2, 4, 2), np.float32)
    found = np.asarray(picker(state, notes))
    np.testing.assert_allclose(found, np.asarray(picker(state, notes, np.ones((2, 4), bool))), rtol=1e-6)
    np.testing.assert_allclose(np.exp(found).sum(1), 1, rtol=1e-5)


def test_an_image_s_score_is_that_of_a_small_network() -> None:
    made = Picker(1)
    made.build((None, 1), (None, None, 1))
    made.inner.set_weights([np.array([[1.0], [2.0]]), np.array([-1.0])])  # relu(state + 2 note - 1)
    made.score.set_weights([np.array([[np.log(2)]])])
    found = made(np.array([[1.0]], "float32"), np.array([[[0.5], [-3.0], [1.0]]], "float32"))
    np.testing.assert_allclose(np.exp(np.asarray(found)), [[2 / 7, 1 / 7, 4 / 7]], rtol=1e-5)


def test_samples_are_as_frequent_as_they_are_likely(picker: Picker) -> None:
    p = np.array([0.1, 0.6, 0.3])
    many = ops.convert_to_tensor(np.repeat(np.log(p)[None], 6000, 0).astype("float32"))
    picked = np.asarray(picker.sample(many, picker.noise(6000, 3, 1)))
    np.testing.assert_allclose(np.bincount(picked, minlength=3) / 6000, p, atol=0.02)


def test_log_prob_and_entropy() -> None:
    log_p = ops.convert_to_tensor(np.log([[0.25, 0.75], [0.5, 0.5]]).astype("float32"))
    found = Picker().log_prob(log_p, ops.convert_to_tensor([1, 0], "int32"))
    np.testing.assert_allclose(np.exp(np.asarray(found)), [0.75, 0.5], rtol=1e-5)
    expected = [-0.25 * np.log(0.25) - 0.75 * np.log(0.75), np.log(2)]
    np.testing.assert_allclose(np.asarray(Picker().entropy(log_p)), expected, rtol=1e-5)


def test_log_prob_has_the_gradient_of_the_logits(gradients_of: Callable[..., list[np.ndarray]]) -> None:
    picked = ops.convert_to_tensor([1], "int32")
    (found,) = gradients_of(lambda x: Picker().log_prob(ops.log_softmax(x), picked), np.log([[1.0, 2.0, 5.0]]))
    np.testing.assert_allclose(found, [[-1 / 8, 1 - 2 / 8, -5 / 8]], rtol=1e-5)
