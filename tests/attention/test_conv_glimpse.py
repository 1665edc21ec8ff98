import numpy as np
import pytest
from keras import ops

from foveate.attention.registry import make
from foveate.errors import FoveateError


def test_what_is_multiplied_by_where() -> None:
    glimpse = make("glimpse", {"name": "convolutional", "filters": [1, 1], "features": 2})
    glimpse.build((None, 2, 2, 2, 2), (None, 2))
    # the first convolution takes the coarse scale's second channel, 2 * 1 + 1, of the pixel at the left
    left, centre = np.zeros((3, 3, 4, 1)), np.zeros((3, 3, 1, 1))
    left[1, 0, 3] = centre[1, 1] = 1
    glimpse.inner.set_weights([left, np.array([0.5])])
    glimpse.outer.set_weights([centre, np.array([-1.0])])
    glimpse.what.set_weights([np.array([[1.0, 2.0]]), np.array([0.0, -4.0])])
    glimpse.where.set_weights([np.array([[1.0, 0.0], [0.0, -1.0]]), np.array([1.0, 1.0])])
    pixels = np.zeros((1, 2, 2, 2, 2), "float32")
    pixels[0, 1, :, :, 1] = [[2.0, 9.0], [3.0, 9.0]]  # left of the first column there is nothing
    pixels[0, 0], pixels[0, 1, :, :, 0] = 50, 50
    # inner: 0.5 2.5 / 0.5 3.5; outer: 0 1.5 / 0 2.5; its maximum is 2.5, what relu(2.5), relu(5 - 4)
    found = np.asarray(glimpse(pixels, np.array([[0.5, -1.0]], "float32")))
    np.testing.assert_allclose(found, [[2.5 * 1.5, 1 * 2]])


def test_where_begins_as_1_in_the_middle_so_that_what_is_seen_counts() -> None:
    glimpse = make("glimpse", {"name": "convolutional", "filters": [2, 2], "features": 4})
    glimpse.build((None, 1, 4, 4, 1), (None, 2))
    np.testing.assert_array_equal(np.asarray(glimpse.where(ops.zeros((1, 2)))), np.ones((1, 4)))


def test_a_square_of_one_pixel_is_too_small() -> None:
    with pytest.raises(FoveateError, match=r"^px: 1; expected at least 2, for the maxima"):
        make("glimpse", "convolutional").build((None, 2, 1, 1, 1), (None, 2))
