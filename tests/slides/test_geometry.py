import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveate.errors import SlideError
from foveate.slides.geometry import Geometry, Grid, sides_px, window

# 0.25, 1, 4 and 16 um/px
PYRAMID = Geometry(
    mpp=(0.25, 0.25),
    sizes_lv=((64_000, 32_000), (16_000, 8_000), (4_000, 2_000), (1_000, 500)),
    downsamples=(1.0, 4.0, 16.0, 64.0),
    bounds_l0=(0, 0, 64_000, 32_000),
)
OBLONG = Geometry(mpp=(0.5, 0.25), sizes_lv=((100, 200),), downsamples=(1.0,), bounds_l0=(0, 0, 100, 200))

coordinates = st.floats(-1e6, 1e6)
resolutions = st.floats(0.05, 100)


def test_frames_scale_each_axis_by_its_own_resolution() -> None:
    np.testing.assert_array_equal(OBLONG.l0_to_um(np.array([[10.0, 20.0], [1.0, 0.0]])), [[5, 5], [0.5, 0]])
    np.testing.assert_array_equal(OBLONG.um_to_l0(np.array([5.0, 5.0])), [10, 20])


@given(resolutions, resolutions, coordinates, coordinates)
def test_frames_round_trip(mpp_x: float, mpp_y: float, x: float, y: float) -> None:
    geometry = Geometry((mpp_x, mpp_y), ((1, 1),), (1.0,), (0, 0, 1, 1))
    there = geometry.l0_to_um(np.array([x, y]))
    np.testing.assert_allclose(geometry.um_to_l0(there), [x, y], rtol=1e-12, atol=1e-12)


def test_level_mpp_is_the_mean_of_both_axes() -> None:
    assert OBLONG.level_mpp(0) == 0.375
    assert [PYRAMID.level_mpp(k) for k in range(4)] == [0.25, 1, 4, 16]


@pytest.mark.parametrize(
    ("scale", "level"),
    [
        (1.0, 1),
        (0.96, 1),  # 1 um/px is less than 5 % coarser
        (0.95, 0),  # and here more
        (3.9, 2),
        (3.8, 1),
        (8.0, 2),
        (100.0, 3),
        (0.25, 0),
        (0.125, 0),  # upsampled, just allowed
    ],
)
def test_level_for_takes_the_coarsest_level_that_is_fine_enough(scale: float, level: int) -> None:
    assert PYRAMID.level_for(scale, "a") == level


def test_level_for_does_not_rely_on_the_order_of_levels() -> None:
    twisted = Geometry((1.0, 1.0), ((8, 8), (2, 2), (4, 4)), (1.0, 4.0, 2.0), (0, 0, 8, 8))
    assert twisted.level_for(2.0, "a") == 2


def test_level_for_refuses_what_would_be_invented_and_names_both_resolutions() -> None:
    with pytest.raises(SlideError, match=r"^far: level 0 has 0\.25 um/px.* 0\.12 um/px") as caught:
        PYRAMID.level_for(0.12, "far")
    assert "glimpse.scales_mpp" in caught.value.remedy


@given(coordinates, coordinates, st.integers(0, 3))
def test_a_place_survives_every_frame(x: float, y: float, level: int) -> None:
    place = np.array([x, y])
    there = PYRAMID.um_to_lv(PYRAMID.l0_to_um(PYRAMID.um_to_l0(place)), level)
    np.testing.assert_allclose(PYRAMID.lv_to_um(there, level), place, rtol=1e-12, atol=1e-9)
    np.testing.assert_allclose(there * PYRAMID.downsamples[level], PYRAMID.um_to_l0(place), rtol=1e-12, atol=1e-9)


def test_a_level_of_oblong_pixels_keeps_both_axes() -> None:
    two = Geometry((0.5, 0.25), ((100, 200), (50, 100)), (1.0, 2.0), (0, 0, 100, 200))
    assert two.pixel_um(1) == (1.0, 0.5)
    np.testing.assert_array_equal(two.um_to_lv(np.array([10.0, 10.0]), 1), [10, 20])


def test_cells_are_rows_and_columns_and_places_are_x_and_y() -> None:
    grid = Grid(64.0, (1000.0, 2000.0))
    np.testing.assert_array_equal(grid.centre_um(np.array([[0, 0], [3, 10]])), [[1032, 2032], [1672, 2224]])
    np.testing.assert_array_equal(grid.centre_um(np.array([0.25, -0.5])), [1000, 2048])
    np.testing.assert_array_equal(grid.cell_at(np.array([[1000.0, 2063.9], [999.0, 2064.0]])), [[0, 0], [1, -1]])


@given(st.integers(-500, 500), st.integers(-500, 500), st.floats(8, 512), coordinates, coordinates)
def test_the_centre_of_a_cell_lies_in_it(row: int, column: int, cell_um: float, x: float, y: float) -> None:
    grid = Grid(cell_um, (x, y))
    assert grid.cell_at(grid.centre_um(np.array([row, column]))).tolist() == [row, column]


def test_upsampled_names_the_scales_that_are_finer_than_the_slide() -> None:
    assert PYRAMID.upsampled((0.25, 0.24, 1.0), "a") == []
    assert PYRAMID.upsampled((0.125, 8.0), "a") == ["the glimpse scale of 0.125 um/px is upsampled from 0.25 um/px"]
    with pytest.raises(SlideError, match=r"^a: level 0 has 0\.25 um/px"):
        PYRAMID.upsampled((0.1,), "a")


def test_sides_of_a_square_on_a_grid_of_nearly_its_scale_are_just_the_glimpse_pixels() -> None:
    assert sides_px(64, 64, (1.0, 1.0)) == (64, 64)
    assert sides_px(64, 64, (1.04, 0.96)) == (64, 64)
    assert sides_px(64, 64, (0.5, 0.25)) == (128, 256)
    assert sides_px(64, 64, (1.06, 0.94)) == pytest.approx((64 / 1.06, 64 / 0.94))
    assert sides_px(64, 64, (0.49, 0.34)) == (128, 192)  # 2.04 and 2.94 of these pixels in one
    assert sides_px(64, 64, (0.4, 2.0)) == pytest.approx((160, 32))


def test_window_around_a_place() -> None:
    assert window((100, 50), (64, 64), (1.0, 1.0)) == (68, 18)
    assert window((100, 50), (64, 64), (1.0, 1.0), origin_um=(10, 20)) == (58, -2)
    assert window((100, 50), (128, 256), (0.5, 0.25)) == (136, 72)


@given(coordinates, coordinates, st.floats(0.25, 32), resolutions, resolutions, coordinates)
def test_the_middle_of_a_window_is_within_half_a_pixel(
    x: float, y: float, scale: float, pixel_x: float, pixel_y: float, origin: float
) -> None:
    sides = sides_px(64 * scale, 64, (pixel_x, pixel_y))
    left, top = window((x, y), sides, (pixel_x, pixel_y), (origin, -origin))
    assert abs((left + sides[0] / 2) * pixel_x + origin - x) <= 0.5 * pixel_x + 1e-6
    assert abs((top + sides[1] / 2) * pixel_y - origin - y) <= 0.5 * pixel_y + 1e-6
    assert sides[0] * pixel_x == pytest.approx(64 * scale, rel=0.051)
