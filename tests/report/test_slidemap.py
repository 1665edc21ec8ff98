import dataclasses
import re

import numpy as np
import pytest

from foveate.report.palette import tumor_colour
from foveate.report.slidemap import LABEL_RISE, arrows, contour_path, lesion_path, ranges, scale_bar, slide_map, stops
from foveate.report.sources import Fixations
from foveate.slides.overview_file import Lesions, StoredOverview


@pytest.fixture
def make_overview(grey_overview):
    def make(shape=(100, 200), origin_um=(0.0, 0.0), lesions=None) -> StoredOverview:
        tissue = np.zeros(shape, bool)
        tissue[20:80, 20:180] = True
        return grey_overview(tissue, 16.0, np.ones((1, 1), np.float32), origin_um, lesions)

    return make


def make_fixations(um) -> Fixations:
    count = len(um)
    running = np.tile(np.array([0.5, 0.2, 0.2, 0.1], np.float32), (count, 1))
    return Fixations(
        running=running,
        location_um=np.array(um, np.float32),
        location_l0=np.array(um, np.float64),
        policy_probability=np.full(count, 0.1, np.float32),
        glimpses=np.zeros((count, 2, 8, 8, 3), np.uint8),
        scales_mpp=(1.0, 20.0),
        fold="0",
        budget=count,
    )


def test_micrometres_become_thumbnail_pixels(make_overview):
    view = slide_map(make_overview(origin_um=(1600.0, 800.0)), make_fixations([(1760, 960), (3200, 1600)]))
    assert (view.width, view.height) == (200, 100)
    assert view.track == "10.0,10.0 100.0,50.0"
    assert [(s.label, s.first, s.last) for s in view.stops] == [("1", True, False), ("2", False, True)]


def test_what_the_scout_went_over_is_shaded(make_overview):
    plain = make_fixations([(1600, 800)])
    assert slide_map(make_overview(), plain).scouted == ()
    scouted = dataclasses.replace(plain, scouted_um=np.array([(1600, 800), (320, 160)]), scouted_side_um=320.0)
    squares = [(s.x, s.y, s.width, s.height) for s in slide_map(make_overview(), scouted).scouted]
    assert squares == [(90, 40, 20, 20), (10, 0, 20, 20)]


def test_the_footprint_is_the_coarsest_glimpse_around_the_fixation(make_overview):
    (print_,) = slide_map(make_overview(), make_fixations([(1600, 800), (1600, 800)])).footprints
    assert (print_.x, print_.y, print_.width, print_.height) == (95.0, 45.0, 10.0, 10.0)  # 8 px of 20 um, 160 um


def test_positions_follow_a_thumbnail_that_is_made_smaller(make_overview):
    view = slide_map(make_overview(shape=(520, 1040)), make_fixations([(8320, 4160)]))
    assert (view.width, view.height) == (520, 260)
    assert view.track == "260.0,130.0"
    assert view.footprints[0].width == 5.0


def test_without_predictions_only_the_slide_is_drawn(make_overview):
    view = slide_map(make_overview(), None)
    assert (view.track, view.stops, view.footprints, view.arrows, view.lesions) == ("", (), (), (), "")
    assert view.tissue.startswith("M")


def test_annotated_lesions_are_outlined(make_overview):
    index = np.zeros((100, 200), np.uint16)
    index[40:60, 100:120] = 1
    view = slide_map(make_overview(lesions=Lesions(index, np.array([320.0], np.float32))), None)
    assert view.lesions.count("M") == 1


def test_a_contour_surrounds_its_pixels():
    mask = np.zeros((40, 40), bool)
    mask[10:20, 5:30] = True
    numbers = np.array(re.findall(r"[\d.]+", contour_path(mask, (2.0, 1.0))), float).reshape(-1, 2)
    assert numbers.min(axis=0).tolist() == [10.0, 10.0]
    assert numbers.max(axis=0).tolist() == [60.0, 20.0]


def test_specks_of_tissue_are_left_out():
    mask = np.zeros((40, 40), bool)
    mask[30, 30] = True
    mask[5:20, 5:20] = True
    assert contour_path(mask, (1.0, 1.0)).count("M") == 1
    assert contour_path(np.zeros((4, 4), bool), (1.0, 1.0)) == ""


def test_a_tiny_lesion_gets_a_circle_around_it():
    mask = np.zeros((60, 60), bool)
    mask[30, 40] = True
    mask[2:22, 2:22] = True
    outline, circle = lesion_path(mask, (1.0, 1.0)).split("Z")[:2]
    assert "a" not in outline
    assert circle == "M30.5 30.5a10.0 10.0 0 1 0 20.0 0a10.0 10.0 0 1 0 -20.0 0"


def test_fixations_near_each_other_share_a_label_above_them():
    points = np.array([[50.0, 100.0], [200.0, 100.0], [202.0, 104.0], [198.0, 96.0]])
    first, shared = stops(points, np.array([0.1, 0.2, 0.3, 0.9]))
    assert (first.x, first.y, first.label, first.spots) == (50.0, 100.0, "1", ())
    assert (shared.x, shared.y, shared.label) == (200.0, 96.0 - LABEL_RISE, "2\N{EN DASH}4")
    assert len(shared.spots) == 3
    assert shared.colour == tumor_colour(0.9)
    assert (shared.first, shared.last) == (False, True)


def test_a_shared_label_at_the_upper_edge_goes_below():
    (shared,) = stops(np.array([[50.0, 5.0], [52.0, 9.0]]), np.array([0.1, 0.2]))
    assert shared.y == 9.0 + LABEL_RISE


def test_labels_never_overlap():
    points = np.random.default_rng(3).uniform(0, 150, (24, 2))
    made = stops(points, np.linspace(0, 1, 24))
    for i, a in enumerate(made):
        for b in made[:i]:
            assert abs(a.y - b.y) >= 17 or abs(a.x - b.x) >= (a.width + b.width) / 2
    assert sum(max(1, len(stop.spots)) for stop in made) == 24


@pytest.mark.parametrize(
    ("numbers", "text"),
    [([3], "3"), ([1, 2], "1–2"), ([1, 3], "1,3"), ([1, 2, 3, 5, 7, 8], "1–3,5,7–8")],  # noqa: RUF001
)
def test_numbers_in_short(numbers, text):
    assert ranges(numbers) == text


def test_arrows_point_along_long_steps_only():
    assert arrows(np.array([[0.0, 0.0], [0.0, 100.0], [5.0, 100.0]])) == ((0.0, 50.0, 90.0),)


@pytest.mark.parametrize(
    ("um_per_px", "width", "label", "length"),
    [(16, 500, "2 mm", 125.0), (1, 400, "100 µm", 100.0), (60, 90, "1 mm", 16.7)],
)
def test_the_scale_bar_is_a_round_length(um_per_px, width, label, length):
    bar = scale_bar(um_per_px, width)
    assert (bar.label, round(bar.width, 1)) == (label, length)
