from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from foveate.errors import SlideError
from foveate.slides import view as view_module
from foveate.slides.geometry import Geometry
from foveate.slides.raster import Raster
from foveate.slides.reader import Reader, Region
from foveate.slides.view import View, raster_view, slide_view

BACKGROUND = (1, 2, 3)
# 0.5, 2 and 8 um/px
PYRAMID = Geometry((0.5, 0.5), ((800, 640), (200, 160), (50, 40)), (1.0, 4.0, 16.0), (0, 0, 800, 640))


def noise(rows: int, columns: int) -> NDArray[np.uint8]:
    return np.random.default_rng(rows).integers(0, 256, (rows, columns, 3)).astype(np.uint8)


def view(pixels: NDArray[np.uint8], pixel_um: tuple[float, float], side_um: float, px: int) -> View:
    raster = Raster(pixels, pixel_um, (0.0, 0.0))

    def read_many(regions: Sequence[Region]) -> dict[int, SlideError]:
        for x, y, out in regions:
            raster.read(x, y, out, BACKGROUND)
        return {}

    return View(read_many, pixel_um, (0.0, 0.0), side_um, px)


def filled(made: View, x_um: float, y_um: float, px: int) -> NDArray[np.uint8]:
    out = np.zeros((px, px, 3), np.uint8)
    assert made.fill([(x_um, y_um)], [out]) == {}
    return out


class Levels(Reader):
    """A reader over arrays, one a level, that notes what it was asked for. It cannot read left of x = 0."""

    kind = "arrays"

    def __init__(self) -> None:
        self.pixels = [noise(height, width) for width, height in PYRAMID.sizes_lv]
        self.asked: list[tuple[int, int, int, tuple[int, ...]]] = []

    def read_many(self, level: int, regions: Sequence[Region]) -> dict[int, SlideError]:
        errors = {}
        for number, (x, y, out) in enumerate(regions):
            self.asked.append((x, y, level, out.shape))
            if x < 0:
                errors[number] = SlideError("a", f"at {x}")
            else:
                Raster(self.pixels[level], PYRAMID.pixel_um(level), (0.0, 0.0)).read(x, y, out, BACKGROUND)
        return errors


@pytest.mark.parametrize("pixel", [2.0, 1.92, 2.09])
def test_a_grid_within_5_percent_of_the_scale_serves_its_own_pixels(pixel: float) -> None:
    pixels = noise(60, 80)
    seen = filled(view(pixels, (pixel, pixel), 16 * 2.0, 16), 40 * pixel, 30 * pixel, 16)
    np.testing.assert_array_equal(seen, pixels[22:38, 32:48])


def test_a_finer_grid_gives_the_mean_over_each_area() -> None:
    pixels = noise(60, 80)
    seen = filled(view(pixels, (0.5, 0.5), 8 * 2.0, 8), 20, 15, 8)
    expected = pixels[14:46, 24:56].reshape(8, 4, 8, 4, 3).mean((1, 3))
    np.testing.assert_allclose(seen, expected, atol=1)


def test_a_pixel_between_two_areas_counts_for_both() -> None:
    row = np.zeros((3, 3, 3), np.uint8)
    row[:, 1] = 200
    seen = filled(view(row, (2.0, 2.0), 6.0, 2), 3, 3, 2)  # areas of 3 um: one and a half of these pixels
    assert seen[..., 0].tolist() == [[67, 67], [67, 67]]


def test_many_places_are_averaged_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = noise(60, 80)
    asked = []

    def read_many(regions: Any) -> dict[int, SlideError]:
        asked.append(len(regions))
        for x, y, out in regions:
            Raster(pixels, (0.5, 0.5), (0.0, 0.0)).read(x, y, out, BACKGROUND)
        return {len(regions) - 1: SlideError("a", f"the last of call {len(asked)}", "")}

    monkeypatch.setattr(view_module, "CROP_BYTES", 3 * 32 * 32 * 2)  # two crops of 32 x 32 px
    outs = [np.zeros((8, 8, 3), np.uint8) for _ in range(5)]
    errors = View(read_many, (0.5, 0.5), (0.0, 0.0), 16.0, 8).fill([(20, 15)] * 5, outs)
    assert asked == [2, 2, 1]
    assert {number: error.reason for number, error in errors.items()} == {
        1: "the last of call 1", 3: "the last of call 2", 4: "the last of call 3",
    }  # fmt: skip
    expected = pixels[14:46, 24:56].reshape(8, 4, 8, 4, 3).mean((1, 3))
    np.testing.assert_allclose(outs[2], expected, atol=1)
    assert not outs[1].any()


def test_oblong_pixels_are_averaged_along_one_axis_only() -> None:
    pixels = noise(64, 32)
    seen = filled(view(pixels, (1.0, 0.5), 16.0, 16), 16, 16, 16)
    np.testing.assert_allclose(seen, pixels[16:48, 8:24].reshape(16, 2, 16, 3).mean(1), atol=1)


def test_a_coarser_grid_is_enlarged() -> None:
    pixels = noise(20, 30)
    seen = filled(view(pixels, (1.0, 1.0), 8.0, 16), 10, 10, 16)
    np.testing.assert_array_equal(seen, pixels[6:14, 6:14].repeat(2, 0).repeat(2, 1))


def test_at_a_border_the_part_outside_is_background() -> None:
    pixels = noise(60, 80)
    seen = filled(view(pixels, (0.5, 0.5), 16.0, 16), 0, 30, 16)  # the middle of the left border, and its last row
    assert (seen[:, :8] == BACKGROUND).all()
    assert (seen[8:] == BACKGROUND).all()
    np.testing.assert_allclose(seen[:8, 8:], pixels[44:, :16].reshape(8, 2, 8, 2, 3).mean((1, 3)), atol=1)


@pytest.mark.parametrize(
    ("scale", "level", "side"), [(0.5, 0, 16), (0.52, 0, 16), (1.0, 0, 32), (2.0, 1, 16), (4.0, 1, 32), (7.7, 2, 16)]
)
def test_a_slide_is_read_once_at_the_coarsest_level_that_is_fine_enough(scale: float, level: int, side: int) -> None:
    reader = Levels()
    filled(slide_view(reader, PYRAMID, "a", scale, 16), 200, 160, 16)
    ((x, y, read, shape),) = reader.asked
    assert (read, shape) == (level, (side, side, 3))
    pixel = PYRAMID.level_mpp(level)
    assert ((x + side / 2) * pixel, (y + side / 2) * pixel) == (200, 160)


@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_many_places_are_filled_at_once_and_those_that_cannot_be_read_are_named(scale: float) -> None:
    made = slide_view(Levels(), PYRAMID, "a", scale, 16)
    places = [(100.0, 90.0), (0.0, 50.0), (200.0, 160.0), (1.0, 300.0)]
    outs = list(np.full((4, 16, 16, 3), 77, np.uint8))
    errors = made.fill(places, outs)
    assert {number: error.reason for number, error in errors.items()} == {
        1: f"at {-8 * round(scale / 0.5)}",
        3: f"at {2 - 8 * round(scale / 0.5)}",
    }
    for number in (0, 2):
        np.testing.assert_array_equal(outs[number], filled(made, *places[number], 16))
    assert (outs[1] == 77).all()
    assert (outs[3] == 77).all()
    assert made.fill([], []) == {}


def test_a_scale_of_half_of_level_0_is_enlarged_and_one_below_is_refused() -> None:
    reader = Levels()
    seen = filled(slide_view(reader, PYRAMID, "a", 0.25, 16), 200, 160, 16)
    np.testing.assert_array_equal(seen, reader.pixels[0][316:324, 396:404].repeat(2, 0).repeat(2, 1))
    with pytest.raises(SlideError, match=r"^a: level 0 has 0\.5 um/px"):
        slide_view(reader, PYRAMID, "a", 0.24, 16)


def test_stored_images_serve_the_scales_that_they_are_fine_enough_for() -> None:
    coarse, thumbnail = Raster(noise(80, 100), (8.0, 8.0), (0.0, 0.0)), Raster(noise(40, 50), (16.0, 16.0), (0.0, 0.0))
    rasters = (thumbnail, coarse)
    assert raster_view(rasters, BACKGROUND, 7.5, 8) is None
    for scale, pixels, corner in ((8.0, coarse.pixels, (36, 46)), (16.0, thumbnail.pixels, (16, 21))):
        made = raster_view(rasters, BACKGROUND, scale, 8)
        assert made is not None
        top, left = corner
        np.testing.assert_array_equal(filled(made, 400, 320, 8), pixels[top : top + 8, left : left + 8])


def test_a_stored_image_begins_at_its_own_corner() -> None:
    raster = Raster(noise(80, 100), (8.0, 8.0), (1000.0, 2000.0))
    made = raster_view((raster,), BACKGROUND, 8.0, 8)
    assert made is not None
    seen = filled(made, 1000, 2000, 8)
    np.testing.assert_array_equal(seen[4:, 4:], raster.pixels[:4, :4])
    assert (seen[:4] == BACKGROUND).all()
    assert (seen[:, :4] == BACKGROUND).all()
