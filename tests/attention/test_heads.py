from collections.abc import Callable

import numpy as np

from foveate.attention.registry import make

SIGHT = np.array([[[1.0, 2.0], [3.0, -1.0]]], "float32")


def test_the_action_network_is_one_layer() -> None:
    action = make("action", "dense", classes=3)
    action.build((None, None, 2))
    action.set_weights([np.array([[1.0, 0.0, 2.0], [0.0, 1.0, -1.0]]), np.array([0.0, 0.5, 0.0])])
    np.testing.assert_allclose(np.asarray(action(SIGHT)), [[[1, 2.5, 0], [3, -0.5, 7]]])


def test_the_baseline_is_one_number_of_the_sight() -> None:
    baseline = make("baseline", "dense")
    baseline.build((None, None, 2))
    baseline.set_weights([np.array([[1.0], [2.0]]), np.array([0.25])])
    np.testing.assert_allclose(np.asarray(baseline(SIGHT)), [[[5.25], [1.25]]])


def test_the_constant_baseline_is_one_number_for_any_sight(gradients_of: Callable[..., list[np.ndarray]]) -> None:
    baseline = make("baseline", "constant")
    baseline.build((None, None, 2))
    np.testing.assert_array_equal(np.asarray(baseline(SIGHT)), [[[0], [0]]])
    baseline.set_weights([np.array([0.75])])
    np.testing.assert_allclose(np.asarray(baseline(SIGHT)), [[[0.75], [0.75]]])
    (into_sight,) = gradients_of(baseline, SIGHT)
    assert not into_sight.any()
