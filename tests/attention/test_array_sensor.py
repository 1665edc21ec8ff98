import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

from foveate.attention.array_sensor import ArraySensor


def see(image: np.ndarray, location: tuple[float, float], px: int, scales: int) -> np.ndarray:
    """(S, g, g) of one grey image at one place."""
    seen = ArraySensor(px, scales)(image[None, ..., None].astype("float32"), np.array([[location]], "float32"))
    return ops.convert_to_numpy(seen)[0, 0, ..., 0]


def expected(image: np.ndarray, location: tuple[float, float], px: int, factor: int) -> np.ndarray:
    """The same by hand: cut from an image with a wide black border, and averaged."""
    height, width = image.shape
    side, border = px * factor, 4 * (px * factor + height + width)
    wide = np.pad(image.astype(float), border)
    left = int(np.round((np.float32(location[0]) + 1) / 2 * width - side / 2)) + border
    top = int(np.round((np.float32(location[1]) + 1) / 2 * height - side / 2)) + border
    return wide[top : top + side, left : left + side].reshape(px, factor, px, factor).mean((1, 3))


IMAGE = np.arange(70.0).reshape(7, 10)  # 10 wide, 7 high: x and y cannot be mixed up unnoticed


def test_x_runs_along_columns_and_y_along_rows() -> None:
    image = np.zeros((8, 16))
    image[1, 13] = 1  # centre at x 13.5 of 16, y 1.5 of 8
    assert see(image, (13.5 / 8 - 1, 1.5 / 4 - 1), 1, 1).tolist() == [[[1.0]]]
    assert see(image, (1.5 / 4 - 1, 13.5 / 8 - 1), 1, 1).tolist() == [[[0.0]]]


def test_the_middle_of_an_image_and_its_double() -> None:
    fine, coarse = see(np.arange(64.0).reshape(8, 8), (0, 0), 4, 2)
    np.testing.assert_array_equal(fine, np.arange(64).reshape(8, 8)[2:6, 2:6])
    np.testing.assert_array_equal(coarse, np.arange(64).reshape(4, 2, 4, 2).mean((1, 3)))


@pytest.mark.parametrize("corner", [(-1, -1), (1, -1), (-1, 1), (1, 1)])
def test_beyond_a_corner_all_is_black(corner: tuple[float, float]) -> None:
    seen = see(np.ones((6, 6)), corner, 4, 1)[0]
    assert seen.sum() == 4
    rows, columns = np.nonzero(seen)
    assert (rows.min() == 2) == (corner[1] < 0)
    assert (columns.min() == 2) == (corner[0] < 0)


@given(st.floats(-1.5, 1.5, width=32), st.floats(-1.5, 1.5, width=32), st.integers(1, 5))
def test_anywhere_it_is_the_mean_of_what_lies_there(x: float, y: float, px: int) -> None:
    found = see(IMAGE, (x, y), px, 3)
    for scale in range(3):
        np.testing.assert_allclose(found[scale], expected(IMAGE, (x, y), px, 2**scale), atol=1e-4)


def test_many_images_and_places_and_colours() -> None:
    rng = np.random.default_rng(0)
    images, places = rng.random((3, 7, 10, 2), np.float32), rng.uniform(-1, 1, (3, 5, 2)).astype("float32")
    sensor = ArraySensor(4, 2)
    found = ops.convert_to_numpy(sensor(images, places))
    assert found.shape == (3, 5, 2, 4, 4, 2)
    for b, place, channel in ((0, 4, 1), (2, 1, 0)):
        one = see(images[b, ..., channel], tuple(places[b, place]), 4, 2)
        np.testing.assert_allclose(found[b, place, ..., channel], one, atol=1e-6)
    assert ArraySensor.from_config(sensor.get_config()).get_config() == sensor.get_config()
