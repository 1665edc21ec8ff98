import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveate.errors import SlideError
from foveate.slides.geometry import Geometry, Window, window

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


def test_window_around_a_place() -> None:
    assert window((100, 50), 64, 64, (1.0, 1.0)) == Window(68, 18, 64, 64)
    assert window((100, 50), 64, 64, (1.0, 1.0), origin_um=(10, 20)) == Window(58, -2, 64, 64)
    # a grid of 0.5 x 0.25 um holds 128 x 256 of its pixels in 64 um
    assert window((100, 50), 64, 64, (0.5, 0.25)) == Window(136, 72, 128, 256)


def test_window_on_a_grid_of_nearly_its_scale_has_just_the_glimpse_pixels() -> None:
    assert window((0, 0), 64, 64, (1.04, 0.96)) == Window(-32, -32, 64, 64)
    view = window((0, 0), 64, 64, (1.06, 0.94))
    assert (view.width_lv, view.height_lv) == pytest.approx((64 / 1.06, 64 / 0.94))


@given(coordinates, coordinates, st.floats(0.25, 32), resolutions, resolutions, coordinates)
def test_the_middle_of_a_window_is_within_half_a_pixel(
    x: float, y: float, scale: float, pixel_x: float, pixel_y: float, origin: float
) -> None:
    view = window((x, y), 64 * scale, 64, (pixel_x, pixel_y), (origin, -origin))
    middle_x = (view.x_lv + view.width_lv / 2) * pixel_x + origin
    middle_y = (view.y_lv + view.height_lv / 2) * pixel_y - origin
    assert abs(middle_x - x) <= 0.5 * pixel_x + 1e-6
    assert abs(middle_y - y) <= 0.5 * pixel_y + 1e-6
    assert view.width_lv * pixel_x == pytest.approx(64 * scale, rel=0.051)
