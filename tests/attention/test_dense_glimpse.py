import numpy as np

from foveate.attention.registry import make


def test_what_and_where_are_added_before_the_last_relu() -> None:
    glimpse = make("glimpse", {"name": "dense", "hidden": 1, "features": 2})
    glimpse.build((None, 1, 1, 2, 1), (None, 2))
    # what = relu(2 * 0.5 + 1 * 0.25 - 0.25) = 1; where = relu(1 * 0.5 - 1 * (-1) + 0.5) = 2
    glimpse.what.set_weights([np.array([[2.0], [1.0]]), np.array([-0.25])])
    glimpse.where.set_weights([np.array([[1.0], [-1.0]]), np.array([0.5])])
    glimpse.from_what.set_weights([np.array([[1.0, -5.0]]), np.array([0.5, 0.0])])
    glimpse.from_where.set_weights([np.array([[2.0, 1.0]])])
    pixels, where = np.array([0.5, 0.25]).reshape(1, 1, 1, 2, 1), np.array([[0.5, -1.0]])
    found = np.asarray(glimpse(pixels.astype("float32"), where.astype("float32")))
    np.testing.assert_allclose(found, [[1 + 0.5 + 4, 0]])  # -5 + 2 is below 0


def test_each_pixel_of_each_scale_has_a_weight_of_its_own() -> None:
    glimpse = make("glimpse", {"name": "dense", "hidden": 3, "features": 2})
    glimpse.build((None, 2, 4, 4, 3), (None, 2))
    assert tuple(glimpse.what.kernel.shape) == (2 * 4 * 4 * 3, 3)


def test_the_paper_s_sizes() -> None:
    glimpse = make("glimpse", "dense")
    assert (glimpse.hidden, glimpse.features) == (128, 256)
