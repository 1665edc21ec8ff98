import dataclasses

import numpy as np
import pytest

from foveate.slides.overview_file import StoredOverview
from foveate.stages.batch import tissue_cells
from foveate.stages.training.bags import (
    LOOKALIKE_SHARE,
    LOOKALIKES,
    REST_SHARE,
    BagSampler,
    Places,
    bears_tumor,
    ranked,
)
from foveate.stages.training.patches import NORMAL_SHARE

NEGATIVE, ITC, MICRO, MACRO = range(4)
CELL_SHARE = 0.3


@pytest.fixture
def bags(wide: StoredOverview) -> BagSampler:
    """Two negative slides, and one of each other class, all with the same cells."""
    named = [dataclasses.replace(wide, slide=f"s{k}") for k in range(5)]
    return BagSampler(named, [NEGATIVE, MACRO, ITC, MICRO, NEGATIVE], CELL_SHARE)


def of_slides(slide: list[int]) -> Places:
    """Places whose x is their number."""
    rows = np.arange(len(slide))
    return Places(np.array(slide), np.zeros((len(slide), 2), np.int64), np.stack([rows, rows], 1).astype(float))


def test_what_is_too_small_to_be_hit_bears_no_tumor() -> None:
    assert [bears_tumor(k) for k in range(4)] == [False, False, True, True]


def test_at_first_slides_of_the_largest_class_are_blamed_for_all_that_they_show(bags: BagSampler) -> None:
    drawn = bags.blame(2000, np.random.default_rng(0))
    assert set(zip(drawn.slide.tolist(), drawn.label.tolist(), strict=True)) == {(0, 0), (4, 0), (1, MACRO)}
    assert np.mean(drawn.label == 0) == pytest.approx(NORMAL_SHARE, abs=0.04)
    # 400 to 1200, 200 to 700 um are tissue, and the cells at their edge
    assert (drawn.location_um >= (384, 128)).all()
    assert (drawn.location_um <= (1280, 768)).all()
    without = BagSampler(bags.overviews[2:], [ITC, MICRO, NEGATIVE], CELL_SHARE).blame(50, np.random.default_rng(0))
    assert set(without.label.tolist()) == {NEGATIVE, MICRO}


def test_a_survey_takes_each_cell_once(bags: BagSampler) -> None:
    places = bags.survey({MACRO: 9, MICRO: 9, NEGATIVE: 4}, np.random.default_rng(0))
    assert places.slide.tolist() == [0] * 4 + [1] * 9 + [3] * 9 + [4] * 4
    for slide in (1, 3):
        assert len(np.unique(places.cell[places.slide == slide], axis=0)) == 9
    for k, overview in enumerate(bags.overviews):
        own = places.slide == k
        np.testing.assert_array_equal(overview.grid.cell_at(places.location_um[own]), places.cell[own])
    every = bags.survey({bags.largest: 1000}, np.random.default_rng(0))
    np.testing.assert_array_equal(
        np.unique(every.cell[every.slide == 1], axis=0), np.argwhere(tissue_cells(bags.overviews[1], CELL_SHARE))
    )
    assert set(every.slide.tolist()) == {1}
    assert len(every.slide) == np.sum(tissue_cells(bags.overviews[1], CELL_SHARE))


def test_found_are_the_likeliest_of_each_slide(bags: BagSampler) -> None:
    slide = [0] * 10 + [1] * 36 + [2] * 5 + [3] * 20
    places, tumor = of_slides(slide), np.random.default_rng(0).permutation(len(slide)).astype(float)
    macro, micro = bags.found(places, tumor)
    assert macro.tolist() == (10 + np.argsort(-tumor[10:46])[:3]).tolist()  # a twelfth of 36
    assert micro.tolist() == [51 + int(tumor[51:].argmax())]  # one at least


def test_what_is_not_known_is_not_found(bags: BagSampler) -> None:
    places = of_slides([1, 1, 3, 3])
    assert ranked(places, np.array([0.1, 0.2, np.nan, np.nan]), 1).tolist() == [1, 0]
    assert [rows.tolist() for rows in bags.found(places, np.array([0.1, 0.2, np.nan, np.nan]))] == [[1]]


def test_what_places_are_held_for(bags: BagSampler) -> None:
    slide = [0] * 40 + [1] * 24 + [3] * 10 + [4] * 40
    places, tumor = of_slides(slide), np.arange(len(slide), dtype=float)
    drawn = bags.relabel(places, tumor, 6000, np.random.default_rng(0))
    row = drawn.location_um[:, 0].astype(int)
    np.testing.assert_array_equal(places.slide[row], drawn.slide)
    # the two likeliest of 24; of the macrometastasis' slide the less likely half is normal, of the other nothing counts
    assert {
        label: set(row[(drawn.label == label) & (drawn.slide != 0) & (drawn.slide != 4)]) for label in range(4)
    } == {
        NEGATIVE: set(range(40, 52)),
        ITC: set(),
        MICRO: set(),
        MACRO: {62, 63},
    }
    share = [np.mean(drawn.label == k) for k in range(4)]
    assert share == pytest.approx([NORMAL_SHARE, 0, 0, 1 - NORMAL_SHARE], abs=0.03)
    normal = row[drawn.label == 0]
    assert np.mean((normal >= 40) & (normal < 52)) == pytest.approx(REST_SHARE, abs=0.03)
    # 4 of 80 negative places look most like tumor, and are drawn with the others as well
    alike = round(80 * LOOKALIKES)
    expected = LOOKALIKE_SHARE + (1 - LOOKALIKE_SHARE - REST_SHARE) * alike / 80
    assert np.mean(normal >= len(slide) - alike) == pytest.approx(expected, abs=0.03)


def test_slides_that_could_not_be_read_are_not_drawn(bags: BagSampler) -> None:
    places = of_slides([0, 0, 1, 1, 3, 4])
    drawn = bags.relabel(places, np.array([1.0, 2.0, np.nan, np.nan, 3.0, np.nan]), 200, np.random.default_rng(0))
    assert set(zip(drawn.slide.tolist(), drawn.label.tolist(), strict=True)) == {(0, NEGATIVE)}
    drawn = bags.relabel(places, np.array([np.nan, np.nan, 4.0, 5.0, 3.0, 1.0]), 200, np.random.default_rng(0))
    assert set(zip(drawn.slide.tolist(), drawn.label.tolist(), strict=True)) == {
        (1, MACRO),
        (1, NEGATIVE),
        (4, NEGATIVE),
    }
