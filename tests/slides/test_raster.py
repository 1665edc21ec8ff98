import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveate.slides.raster import Raster

PIXELS = np.random.default_rng(0).integers(0, 256, (30, 40, 3)).astype(np.uint8)
RASTER = Raster(PIXELS, (8.0, 7.5), (100.0, 200.0))
BACKGROUND = (1, 2, 3)


def region(x: int, y: int, width: int, height: int) -> np.ndarray:
    out = np.full((height, width, 3), 99, np.uint8)
    RASTER.read(x, y, out, BACKGROUND)
    return out


def test_mpp_is_the_mean_of_both_axes() -> None:
    assert RASTER.mpp == 7.75


def test_a_region_within_is_the_pixels_themselves() -> None:
    np.testing.assert_array_equal(region(5, 7, 20, 10), PIXELS[7:17, 5:25])
    np.testing.assert_array_equal(region(0, 0, 40, 30), PIXELS)


@pytest.mark.parametrize(
    ("place", "part", "source"),
    [
        ((-3, 5), np.s_[:, 3:], np.s_[5:13, :5]),
        ((36, 5), np.s_[:, :4], np.s_[5:13, 36:]),
        ((5, -2), np.s_[2:, :], np.s_[:6, 5:13]),
        ((5, 29), np.s_[:1, :], np.s_[29:, 5:13]),
        ((-7, -7), np.s_[7:, 7:], np.s_[:1, :1]),
        ((39, 29), np.s_[:1, :1], np.s_[29:, 39:]),
    ],
    ids=["left", "right", "above", "below", "first corner", "last corner"],
)
def test_at_a_border_the_part_outside_is_background(
    place: tuple[int, int], part: tuple[slice, slice], source: tuple[slice, slice]
) -> None:
    seen = region(*place, 8, 8)
    np.testing.assert_array_equal(seen[part], PIXELS[source])
    outside = np.ones((8, 8), bool)
    outside[part] = False
    assert (seen[outside] == BACKGROUND).all()


@pytest.mark.parametrize("place", [(-8, 0), (40, 0), (0, -8), (0, 30), (-500, 900)])
def test_just_beside_and_far_away_all_is_background(place: tuple[int, int]) -> None:
    assert (region(*place, 8, 8) == BACKGROUND).all()


def test_a_region_larger_than_the_raster_holds_it_all() -> None:
    seen = region(-10, -20, 60, 70)
    np.testing.assert_array_equal(seen[20:50, 10:50], PIXELS)
    seen[20:50, 10:50] = BACKGROUND
    assert (seen == BACKGROUND).all()


@given(st.integers(-60, 60), st.integers(-60, 60), st.integers(1, 50), st.integers(1, 50))
def test_every_pixel_is_where_it_belongs(x: int, y: int, width: int, height: int) -> None:
    padded = np.full((30 + 240, 40 + 240, 3), BACKGROUND, np.uint8)
    padded[120:150, 120:160] = PIXELS
    expected = padded[120 + y :, 120 + x :][:height, :width]
    np.testing.assert_array_equal(region(x, y, width, height), expected)
