from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveate.slides.area import AreaFilter


def line(values: list[int], width: int, px: int) -> list[int]:
    """A row of grey pixels, `width` / 4 of which become `px`."""
    image = np.repeat(np.array(values, np.uint8)[None, :, None], 3, 2).repeat(px, 0)
    found = AreaFilter((width / 4, px), px).apply(image)
    assert (found == found[:1, :, :1]).all()
    return found[0, :, 0].tolist()


def test_whole_pixels_are_averaged() -> None:
    assert line([10, 20, 0, 255], 16, 2) == [15, 128]


def test_shares_of_pixels_count() -> None:
    # one and a half pixels each: (2 x 90 + 30) / 3 and (30 + 2 x 60) / 3
    assert line([90, 30, 60], 12, 2) == [70, 50]
    # three quarters each: (90 + 2 x 30) / 3 and (2 x 30 + 60) / 3 after the first
    assert line([90, 30, 60], 9, 3) == [90, 50, 40]


def test_a_coarse_image_is_enlarged_without_new_colours() -> None:
    assert line([90, 30], 8, 4) == [90, 90, 30, 30]


def test_rows_and_columns_are_not_mixed_up() -> None:
    image = np.zeros((4, 6, 3), np.uint8)
    image[3, :, 1] = 100
    image[:, 5, 2] = 200
    found = AreaFilter((6.0, 4.0), 2).apply(image)
    assert found[..., 1].tolist() == [[0, 0], [50, 50]]
    assert found[..., 2].tolist() == [[0, 67], [0, 67]]


@pytest.mark.parametrize("sides", [(8.0, 8.0), (7.3, 9.9)])
def test_one_colour_stays(sides: tuple[float, float]) -> None:
    image = np.full((10, 10, 3), (7, 130, 255), np.uint8)
    assert (AreaFilter(sides, 4).apply(image) == (7, 130, 255)).all()


@given(st.lists(st.integers(0, 255), min_size=9, max_size=9), st.integers(5, 36))
def test_each_pixel_is_the_mean_of_its_area(values: list[int], quarters: int) -> None:
    found = line(values, quarters, 4)
    step = Fraction(quarters, 16)
    for k, value in enumerate(found):
        begin, end = k * step, (k + 1) * step
        area = sum(v * max(0, min(end, p + 1) - max(begin, Fraction(p))) for p, v in enumerate(values))
        assert abs(value - area / step) <= Fraction(501, 1000)
