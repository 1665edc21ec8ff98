from collections.abc import Callable

import numpy as np
from keras import ops

from foveate.attention.array_memory import detached, recall, remember


def test_of_a_group_the_picked_image_is_recalled() -> None:
    held = {"h": np.arange(12.0).reshape(2, 3, 2), "n": np.arange(6.0).reshape(2, 3, 1)}
    known = recall({name: ops.convert_to_tensor(v) for name, v in held.items()}, ops.convert_to_tensor([2, 0]))
    np.testing.assert_array_equal(np.asarray(known["h"]), [[4, 5], [6, 7]])
    np.testing.assert_array_equal(np.asarray(known["n"]), [[2], [3]])


def test_of_a_group_the_picked_image_alone_is_changed() -> None:
    memory = {"h": ops.zeros((2, 3, 2)), "n": ops.ones((2, 3, 1))}
    after = remember(memory, ops.convert_to_tensor([2, 0]), {"h": ops.convert_to_tensor([[1.0, 2], [3, 4]])})
    np.testing.assert_array_equal(np.asarray(after["h"]), [[[0, 0], [0, 0], [1, 2]], [[3, 4], [0, 0], [0, 0]]])
    np.testing.assert_array_equal(np.asarray(after["n"]), np.ones((2, 3, 1)))


def test_a_single_image_has_one_memory() -> None:
    memory, picked = {"h": ops.zeros((2, 2)), "c": ops.ones((2, 3))}, ops.convert_to_tensor([0, 0])
    assert recall(memory, picked)["h"] is memory["h"]
    new = ops.convert_to_tensor([[1.0, 2], [3, 4]])
    after = remember(memory, picked, {"h": new})
    assert after["h"] is new
    assert after["c"] is memory["c"]


def test_gradients_flow_through_what_is_remembered_and_end_where_it_is_detached(
    gradients_of: Callable[..., list[np.ndarray]],
) -> None:
    picked = ops.convert_to_tensor([1])
    before, new = np.ones((1, 2, 1)), np.ones((1, 1))

    def kept(before: object, new: object) -> object:
        return remember({"h": before}, picked, {"h": new})["h"] * np.array([[[2.0], [3.0]]], "float32")

    into_before, into_new = gradients_of(kept, before, new)
    np.testing.assert_array_equal(into_before, [[[2], [0]]])  # of image 1 nothing is left
    np.testing.assert_array_equal(into_new, [[3]])
    (ended,) = gradients_of(lambda h: detached({"h": h})["h"], before)
    np.testing.assert_array_equal(ended, np.zeros((1, 2, 1)))
