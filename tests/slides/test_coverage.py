import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from foveate.slides.coverage import tissue_seen
from foveate.slides.overview_file import StoredOverview


@pytest.fixture(scope="module")
def overview(overview_of: Callable[..., StoredOverview], tiny_slide: Any) -> StoredOverview:
    """16 um a pixel; the tissue is a square of 10 x 10 pixels from (x, y) = (160, 320) um on."""
    stored = overview_of(tiny_slide, slide="coverage")
    mask = np.zeros_like(stored.tissue)
    mask[20:30, 10:20] = True
    return dataclasses.replace(stored, tissue=mask, origin_um=(0.0, 0.0))


@pytest.mark.parametrize(
    ("places", "side", "share"),
    [
        ([(176, 336)], 32, 4 / 100),  # 2 x 2 pixels
        ([(176, 336), (208, 336)], 32, 8 / 100),  # side by side
        ([(176, 336), (176, 336)], 32, 4 / 100),  # the same twice
        ([(176, 336), (192, 336)], 32, 6 / 100),  # one pixel on
        ([(160, 320)], 32, 1 / 100),  # a quarter of it on tissue
        ([(168, 328)], 8, 0.25 / 100),  # within a pixel
        ([(176, 336)], 24, 2.25 / 100),  # 1.5 x 1.5 pixels
        ([(240, 400)], 160, 1.0),
        ([(240, 400)], 1e5, 1.0),  # beyond the overview's edges
        ([(-500, -500)], 32, 0.0),
        ([], 32, 0.0),
    ],
)
def test_the_area_of_tissue_in_the_union(
    overview: StoredOverview, places: list[tuple[float, float]], side: float, share: float
) -> None:
    at = np.array(places).reshape(-1, 2)
    np.testing.assert_allclose(tissue_seen(overview, at, side, [len(places)]), [share], atol=1e-7)


def test_the_share_after_each_number_of_squares(overview: StoredOverview) -> None:
    places = np.array([(176, 336), (1000, 1000), (176, 336), (208, 368)])
    np.testing.assert_allclose(
        tissue_seen(overview, places, 32, [0, 1, 2, 3, 4, 1]), [0, 0.04, 0.04, 0.04, 0.08, 0.04], atol=1e-7
    )


def test_places_are_on_the_slide_and_the_mask_on_the_overview(overview: StoredOverview) -> None:
    moved = dataclasses.replace(overview, origin_um=(1000.0, 2000.0))
    np.testing.assert_allclose(tissue_seen(moved, np.array([(1176, 2336)]), 32, [1]), [0.04], atol=1e-7)


def test_no_tissue(overview: StoredOverview) -> None:
    none = dataclasses.replace(overview, tissue=np.zeros_like(overview.tissue))
    assert tissue_seen(none, np.array([(176, 336)]), 32, [1]).tolist() == [0.0]
