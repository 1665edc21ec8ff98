"""An overview of 100 x 50 pixels of 16 um, cells of 8 x 8 pixels, level 0 of 1 um: 1600 x 800 um."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from foveate.report.drawn import attention_marks, fixation_marks, heat_levels, lesion_marks, mass_above, tissue_marks
from foveate.report.palette import tumor_colour
from foveate.report.sources import Attention, Fixations
from foveate.slides.annotations import Annotation, rasterize
from foveate.slides.geometry import Geometry
from foveate.slides.marks import Mark
from foveate.slides.outlines import Polygon, fill
from foveate.slides.overview_file import StoredOverview

MakeOverview = Callable[..., StoredOverview]


@pytest.fixture
def overview(grey_overview: MakeOverview) -> StoredOverview:
    tissue = np.zeros((50, 100), bool)
    tissue[8:40, 16:80] = True
    tissue[16:24, 24:40] = False
    return grey_overview(tissue, 16.0, np.ones((7, 13), np.float32))


def with_pixels(
    overview: StoredOverview, mpp: tuple[float, float], bounds: tuple[int, int, int, int]
) -> StoredOverview:
    geometry = Geometry(mpp, (bounds[2:],), (1.0,), bounds)
    return dataclasses.replace(overview, geometry=geometry, origin_um=(bounds[0] * mpp[0], bounds[1] * mpp[1]))


def box(left: float, top: float, right: float, bottom: float) -> Polygon:
    return (np.array([(left, top), (right, top), (right, bottom), (left, bottom)], float),)


def drawn(mark: Mark, shape: tuple[int, int], l0_per_px: tuple[float, float]) -> np.ndarray:
    grid = np.zeros(shape, np.uint16)
    for outline, *holes in mark.parts:
        fill(grid, outline / l0_per_px, 1, [hole / l0_per_px for hole in holes])
    return grid > 0


def test_tissue_is_its_mask_with_its_hole_in_level_0_pixels(overview: StoredOverview) -> None:
    (mark,) = tissue_marks(overview)
    ((outline, hole),) = mark.parts
    assert {tuple(v) for v in outline.tolist()} == {(256, 128), (1280, 128), (1280, 640), (256, 640)}
    assert {tuple(v) for v in hole.tolist()} == {(384, 256), (640, 256), (640, 384), (384, 384)}
    assert mark.measurements == {"area_mm2": round((1024 * 512 - 256 * 128) / 1e6, 6)}
    assert (mark.group, mark.locked) == ("Tissue", True)
    half = with_pixels(overview, (0.5, 0.25), (0, 0, 3200, 3200))
    assert (drawn(tissue_marks(half)[0], (50, 100), (32, 64)) == overview.tissue).all()


def test_tissue_begins_at_the_overview_s_corner_and_ends_at_the_bounds(overview: StoredOverview) -> None:
    overview.tissue[:] = True
    cut = with_pixels(overview, (1.0, 1.0), (1000, 300, 1590, 795))  # the last pixels reach 10 and 5 um beyond
    ((outline,),) = tissue_marks(cut)[0].parts
    assert {tuple(v) for v in outline.tolist()} == {(1000, 300), (2590, 300), (2590, 1095), (1000, 1095)}


def test_lesions_are_measured_without_their_holes() -> None:
    annotation = Annotation([box(0, 0, 30, 40) + box(10, 10, 20, 20), box(100, 0, 103, 4)])
    first, second = lesion_marks(annotation, (0.5, 1.0))
    assert first.measurements == {"diameter_um": round((15**2 + 40**2) ** 0.5, 3), "area_um2": 600 - 50}
    assert second.measurements == {"diameter_um": round((1.5**2 + 4**2) ** 0.5, 3), "area_um2": 6}
    assert [len(mark.parts[0]) for mark in (first, second)] == [2, 1]
    assert {first.group, second.group} == {"Tumor"}
    assert not first.locked


@pytest.mark.parametrize(
    ("hole", "rings"),
    [
        (box(2, 2, 4, 4), [2, 1]),  # within the first, clear of the second
        (box(12, 2, 14, 4), [1, 2]),
        (box(8, 2, 12, 4), None),  # across both
        (box(-1, -1, 30, 30), None),  # around both
        (box(21, 1, 29, 9), None),  # around a part of nothing: clear of both
        (box(0, 2, 2, 4), None),  # along a side
    ],
)
def test_a_hole_for_all_is_one_of_the_lesion_that_it_lies_in_or_an_exclusion(
    hole: Polygon, rings: list[int] | None
) -> None:
    annotation = Annotation([box(0, 0, 9, 9), box(11, 0, 20, 9)], [hole])
    marks = lesion_marks(annotation, (1.0, 1.0))
    lesions = [mark for mark in marks if mark.group == "Tumor"]
    exclusions = [mark for mark in marks if mark.group == "Exclusion"]
    assert [len(mark.parts[0]) for mark in lesions] == (rings or [1, 1])
    assert len(exclusions) == (0 if rings else 1)


def test_a_hole_that_would_show_what_it_hides_stays_an_exclusion() -> None:
    # the lesion within the hole is cut out by it
    annotation = Annotation([box(0, 0, 20, 20), box(8, 8, 10, 10)], [box(5, 5, 15, 15)])
    marks = lesion_marks(annotation, (1.0, 1.0))
    assert [mark.group for mark in marks] == ["Tumor", "Tumor", "Exclusion"]
    assert rasterize(annotation, (20, 20), (0, 0), (1, 1))[9, 9] == 0


def test_holes_that_overlap_are_not_both_rings() -> None:
    # what is within two rings would be a lesion again
    lesion = box(0, 0, 20, 20)
    annotation = Annotation([lesion], [box(2, 2, 8, 8), box(5, 5, 12, 12), box(3, 3, 4, 4)])
    tumor, *exclusions = lesion_marks(annotation, (1.0, 1.0))
    assert [ring.tolist() for ring in tumor.parts[0]] == [ring.tolist() for ring in lesion + annotation.holes[0]]
    assert [mark.parts[0] for mark in exclusions] == annotation.holes[1:]


def test_an_exclusion_with_a_hole_stays_one() -> None:
    island = box(5, 5, 15, 15) + box(8, 8, 10, 10)
    annotation = Annotation([box(0, 0, 20, 20)], [island, box(16, 16, 18, 18)])
    tumor, exclusion = lesion_marks(annotation, (1.0, 1.0))
    assert tumor.parts == (annotation.lesions[0] + annotation.holes[1],)
    assert exclusion.parts == (island,)


def test_a_lesion_that_crosses_itself_has_the_area_that_it_is_drawn_with() -> None:
    bow_tie = np.array([(0, 0), (20, 20), (20, 0), (0, 20)], float)
    (mark,) = lesion_marks(Annotation([(bow_tie,)]), (0.5, 0.5))
    assert mark.measurements == {"diameter_um": round(200**0.5, 3), "area_um2": 50}
    assert mark.parts[0][0] is bow_tie  # as it was annotated
    (mark, _) = lesion_marks(Annotation([(bow_tie,)], [box(10, 1, 12, 2)]), (1.0, 1.0))  # between its halves
    assert len(mark.parts[0]) == 1


def test_exclusions_without_lesions() -> None:
    assert [mark.group for mark in lesion_marks(Annotation([], [box(0, 0, 1, 1)]), (1.0, 1.0))] == ["Exclusion"]


def fixations(count: int) -> Fixations:
    return Fixations(
        running=np.tile(np.array([0.5, 0.25, 0.25, 0.0], np.float32), (count, 1)),
        location_um=np.array([(64.0, 64.0), (192.0, 320.0)], np.float32)[:count],
        location_l0=np.zeros((count, 2)),
        policy_probability=np.full(count, 0.125, np.float32),
        glimpses=np.zeros((count, 2, 8, 8, 3), np.uint8),
        scales_mpp=(4.0, 20.0),
        fold="0",
        budget=2,
    )


def test_fixations_are_squares_of_the_finest_scale_with_running_probabilities(overview: StoredOverview) -> None:
    path, first, second = fixation_marks(with_pixels(overview, (0.5, 1.0), (0, 0, 3200, 800)), fixations(2))
    assert (path.group, path.kind, path.parts[0][0].tolist()) == ("Path", "line", [[128, 64], [384, 320]])
    assert first.parts[0][0].tolist() == [[96, 48], [160, 48], [160, 80], [96, 80]]  # 8 px of 4 um: 32 x 32 um
    assert first.name == "01 negative: negative 0.500, itc 0.250, micro 0.250, macro 0.000; policy 0.125"
    assert first.measurements == {
        "fixation": 1, "p_negative": 0.5, "p_itc": 0.25, "p_micro": 0.25, "p_macro": 0, "policy_probability": 0.125,
    }  # fmt: skip
    assert "#{:02x}{:02x}{:02x}".format(*(first.own_colour or ())) == tumor_colour(0.5)
    assert (second.group, second.measurements["fixation"], second.locked) == ("Fixation", 2, True)


def test_a_path_of_one_fixation_is_a_point(overview: StoredOverview) -> None:
    path, _ = fixation_marks(overview, fixations(1))
    assert (path.kind, path.parts[0][0].tolist()) == ("points", [[64, 64]])


PEAKS = Attention(
    np.array([(0, 0), (2, 3), (2, 4), (6, 12)], np.int32),
    np.array([0.125, 1, 0.625, 0.25], np.float32),  # they add up to 2
)


def test_mass_above() -> None:
    assert mass_above(PEAKS.peak).tolist() == [0.9375, 0, 0.5, 0.8125]


def test_attention_is_the_fewest_cells_that_hold_a_part_of_it(overview: StoredOverview) -> None:
    marks = attention_marks(overview, PEAKS)
    assert [mark.name for mark in marks] == ["Attention 95%", "Attention 80%", "Attention 50%"]
    assert [mark.measurements for mark in marks] == [
        {"attention": 0.95, "cells": 4},
        {"attention": 0.8, "cells": 2},
        {"attention": 0.5, "cells": 1},
    ]
    ((fifty,),) = marks[2].parts
    assert {tuple(v) for v in fifty.tolist()} == {(384, 256), (512, 256), (512, 384), (384, 384)}
    assert len(marks[0].parts) == 3  # two of the cells lie side by side
    corner = marks[0].parts[-1][0]
    assert corner.max(axis=0).tolist() == [1600, 800]  # the last cell reaches beyond the slide


@pytest.mark.parametrize(
    ("mpp", "bounds"),
    [((1.0, 1.0), (0, 0, 1600, 800)), ((0.5, 0.25), (3000, 100, 3190, 3180)), ((16.0, 16.0), (0, 0, 100, 50))],
)
def test_the_heat_map_covers_the_bounds_and_has_the_cells_values(
    overview: StoredOverview, mpp: tuple[float, float], bounds: tuple[int, int, int, int]
) -> None:
    overview = with_pixels(overview, mpp, bounds)
    levels, pixel_um = heat_levels(overview, PEAKS)
    height, width = levels[0].shape
    assert (width * pixel_um[0], height * pixel_um[1]) == pytest.approx((bounds[2] * mpp[0], bounds[3] * mpp[1]))
    assert pixel_um == pytest.approx((16, 16), rel=0.03)
    assert [level.shape for level in levels] == [(50, 100), (25, 50)]
    for (row, column), value in zip(PEAKS.cell.tolist(), (16, 255, 128, 48), strict=True):
        y, x = (row + 0.2) * 128 / pixel_um[1], (column + 0.2) * 128 / pixel_um[0]
        assert levels[0][int(y), int(x)] == value
    assert levels[0][30, 60] == 0
    assert np.count_nonzero(levels[0] == 255) == pytest.approx(64, abs=8)


def test_the_heat_map_of_a_large_slide_has_levels_until_one_is_small(overview: StoredOverview) -> None:
    large = with_pixels(overview, (1.0, 1.0), (0, 0, 20_000, 5000))
    levels, _ = heat_levels(large, PEAKS)
    assert [level.shape for level in levels] == [(312 // 8 * 8, 1248), (156, 624), (78, 312), (39, 156)]
