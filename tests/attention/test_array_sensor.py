from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

from foveate.attention import array_sensor
from foveate.attention.array_sensor import ArraySensor

AVERAGED, FINE = 10**9, 0  # WHOLE: every image is averaged at once, or none is


class Look(keras.Model):
    """A sensor as a model, so that JAX compiles it once."""

    def __init__(self, px: int, scales: int) -> None:
        super().__init__()
        self.sensor = ArraySensor(px, scales)
        self.built = True

    def call(self, inputs: dict[str, Any]) -> Any:
        return self.sensor(self.sensor.focus(inputs["images"]), inputs["which"], inputs["location"])


@pytest.fixture(scope="module")
def see(run: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """Glimpses (R, S, g, g, C) in 0 to 255 of images (I, H, W, C) at places (R, 2)."""
    made: dict[tuple[int, ...], Look] = {}

    def look(
        images: np.ndarray, which: Any, location: Any, px: int, scales: int, whole: int = array_sensor.WHOLE
    ) -> np.ndarray:
        with pytest.MonkeyPatch.context() as patch:  # it is read when the graph is made
            patch.setattr(array_sensor, "WHOLE", whole)
            model = made.setdefault((px, scales, whole), Look(px, scales))
            inputs = {"images": images, "which": np.array(which, "int32"), "location": np.array(location, "float32")}
            return 255 * run(model, inputs)

    return look


def at(pixels: np.ndarray, side: int) -> np.ndarray:
    """Pixels from an edge as a coordinate of a location."""
    return 2 * pixels / side - 1


def cut(image: np.ndarray, x: float, y: float, px: int, factor: int) -> np.ndarray:
    """By hand: the square around pixel x, y, cut from an image (H, W, C) with a wide black border, and averaged."""
    side, border = px * factor, 4 * px * factor + max(image.shape)
    wide = np.pad(image.astype(float), ((border, border), (border, border), (0, 0)))
    left, top = (int(np.floor(middle - side / 2 + 0.5)) + border for middle in (x, y))
    square = wide[top : top + side, left : left + side]
    return square.reshape(px, factor, px, factor, -1).mean((1, 3))


def test_the_middle_of_a_4_x_4_image(see: Callable[..., np.ndarray]) -> None:
    image = np.arange(16, dtype="uint8").reshape(1, 4, 4, 1)
    fine, coarse = see(image, [0], [[0, 0]], 2, 2)[0, ..., 0]
    np.testing.assert_allclose(fine, [[5, 6], [9, 10]], rtol=1e-6)
    np.testing.assert_allclose(coarse, [[2.5, 4.5], [10.5, 12.5]], rtol=1e-6)  # (0 + 1 + 4 + 5) / 4, ...


def test_the_corner_of_a_4_x_4_image_is_black_beyond_the_edges(see: Callable[..., np.ndarray]) -> None:
    image = np.arange(1, 17, dtype="uint8").reshape(1, 4, 4, 1)
    upper_right, lower_left = see(image, [0, 0], [[1, -1], [-1, 1]], 2, 2)[..., 0]
    np.testing.assert_allclose(upper_right[0], [[0, 0], [4, 0]], rtol=1e-6)
    np.testing.assert_allclose(upper_right[1], [[0, 0], [(3 + 4 + 7 + 8) / 4, 0]], rtol=1e-6)
    np.testing.assert_allclose(lower_left[0], [[0, 13], [0, 0]], rtol=1e-6)


def test_x_runs_along_columns_and_y_along_rows(see: Callable[..., np.ndarray]) -> None:
    image = np.zeros((1, 8, 16, 1), "uint8")
    image[0, 1, 13] = 200  # its middle is at x 13.5 of 16, y 1.5 of 8
    found = see(image, [0, 0], [(13.5 / 8 - 1, 1.5 / 4 - 1), (1.5 / 4 - 1, 13.5 / 8 - 1)], 1, 1)
    np.testing.assert_allclose(found[:, 0, 0, 0, 0], [200, 0], rtol=1e-6)


IMAGES = np.random.default_rng(0).integers(0, 256, (3, 7, 10, 2)).astype("uint8")
# pixels that are not half-way between two: how those are rounded is up to the backend
MIDDLES = st.integers(-8, 60).map(lambda quarter: quarter / 4 + 0.125)
PLACES = st.lists(st.tuples(st.integers(0, 2), MIDDLES, MIDDLES), min_size=8, max_size=8)


@pytest.mark.parametrize("whole", [AVERAGED, FINE])
@pytest.mark.parametrize("px", [1, 4])
@given(places=PLACES)
def test_anywhere_it_is_the_mean_of_what_lies_there(
    see: Callable[..., np.ndarray], px: int, whole: int, places: list[tuple[int, float, float]]
) -> None:
    which, x, y = (np.array(column) for column in zip(*places, strict=True))
    found = see(IMAGES, which, np.stack([at(x, 10), at(y, 7)], 1), px, 3, whole)
    assert found.shape == (8, 3, px, px, 2)
    for row, (image, across, down) in enumerate(places):
        for scale in range(3):
            expected = cut(IMAGES[image], across, down, px, 2**scale)
            np.testing.assert_allclose(found[row, scale], expected, atol=1e-3)


def test_a_large_image_is_averaged_for_the_widest_squares_alone(see: Callable[..., np.ndarray]) -> None:
    images = np.random.default_rng(1).integers(0, 256, (2, 90, 110, 1)).astype("uint8")
    # 9900 px, more than 100 of a square's while its side is below 10: 1, 2, 4 and 8, but not 16
    layers = ArraySensor(1, 5).focus(images)
    assert [tuple(layer.shape[1:3]) for layer in layers] == [(90, 110)] * 4 + [(105, 125)]
    places = np.array([[20.125, 70.375], [109.625, 0.125], [55.375, 45.125], [1.125, 88.625]])
    location = np.stack([at(places[:, 0], 110), at(places[:, 1], 90)], 1)
    found, averaged, fine = (see(images, [0, 1, 1, 0], location, 1, 5, n) for n in (array_sensor.WHOLE, AVERAGED, FINE))
    np.testing.assert_allclose(found, averaged, atol=1e-3)
    np.testing.assert_allclose(found, fine, atol=1e-3)
    for row, image in enumerate((0, 1, 1, 0)):
        for scale in range(5):
            np.testing.assert_allclose(found[row, scale], cut(images[image], *places[row], 1, 2**scale), atol=1e-3)


def test_glimpses_are_numbers_from_0_to_1() -> None:
    sensor = ArraySensor(2, 2)
    found = sensor(sensor.focus(np.full((1, 8, 8, 1), 255, "uint8")), np.zeros(1, "int32"), ops.zeros((1, 2)))
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    np.testing.assert_array_equal(np.asarray(found), np.ones((1, 2, 2, 2, 1)))


def test_configuration_round_trip() -> None:
    sensor = ArraySensor(4, 2)
    assert ArraySensor.from_config(sensor.get_config()).get_config() == sensor.get_config()
