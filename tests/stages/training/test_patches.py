from pathlib import Path

import numpy as np
import pytest

from foveate.patients.stages import SLIDE_CLASSES
from foveate.slides.geometry import Geometry
from foveate.slides.overview_file import Lesions, Mapped, StoredOverview
from foveate.slides.tissue import cell_shares
from foveate.stages.training.patches import NORMAL_SHARE, SALIENT_SHARE, PatchSampler, class_at, lesion_class

MPP, ORIGIN, CELL_SHARE = 16.0, (1000.0, 3000.0), 0.3
# cells of at least 0.3 tissue: rows 1 to 3, columns 2 to 5 (see `overview`)
CELLS = {(row, column) for row in (1, 2, 3) for column in (2, 3, 4, 5)}


def overview(slide: str, lesions: Lesions | None = None) -> StoredOverview:
    """40 x 60 pixels of 16 um in cells of 8 x 8, tissue in rows 10 to 29 and columns 20 to 49."""
    tissue = np.zeros((40, 60), bool)
    tissue[10:30, 20:50] = True
    return StoredOverview(
        slide=slide,
        path=Path(f"{slide}.tif"),
        geometry=Geometry((1.0, 1.0), ((2000, 4000),), (1.0,), (1000, 3000, 960, 640)),
        reader="openslide",
        images=(),
        file_bytes=0,
        mpp=MPP,
        origin_um=ORIGIN,
        background_rgb=(244, 242, 246),
        cell_um=128.0,
        thumbnail_at=Mapped(Path("never read"), 0, (40, 60, 3)),
        coarse_at=Mapped(Path("never read"), 0, (80, 120, 3)),
        coarse_um=(8.0, 8.0),
        tissue=tissue,
        cell_tissue=cell_shares(tissue, 8),
        lesions=lesions,
    )


def lesions(*boxes: tuple[int, int, int, int], diameters: list[float]) -> Lesions:
    """Rows and columns, from and to, of each lesion, in pixels."""
    index = np.zeros((40, 60), np.uint16)
    for k, (top, bottom, left, right) in enumerate(boxes):
        index[top:bottom, left:right] = k + 1
    return Lesions(index, np.array(diameters, np.float32))


def sampler(overviews: list[StoredOverview], labels: list[str], salience: np.ndarray | None = None) -> PatchSampler:
    """Every cell is equally salient unless said otherwise; the grid is larger than the overview's, as in a batch."""
    even = np.ones((16, 16)) if salience is None else salience
    return PatchSampler(overviews, labels, [even] * len(overviews), CELL_SHARE)


def cells(location_um: np.ndarray) -> list[tuple[int, int]]:
    """(row, column) of the cells that (n, 2) locations (x, y) lie in."""
    columns, rows = np.floor((location_um - ORIGIN) / (8 * MPP)).astype(int).T
    return list(zip(rows.tolist(), columns.tolist(), strict=True))


def test_lesion_classes_by_largest_diameter() -> None:
    kinds = lesion_class(np.array([10, 200, 200.5, 2000, 2001], np.float32))
    assert [SLIDE_CLASSES[k] for k in kinds] == ["itc", "itc", "micro", "micro", "macro"]


@pytest.mark.parametrize(
    ("x", "y", "label"),
    [
        (26, 14, "macro"),  # in the lesion of columns 22 to 29
        (19, 14, "macro"),  # the square of 8 px around it reaches to column 22
        (17, 14, "negative"),  # and here to column 20
        (45, 14, "itc"),  # the other lesion
        (36, 14, "macro"),  # columns 32 to 39 hold one pixel of each: the larger lesion counts
        (-20, 14, "negative"),
        (26, 90, "negative"),
    ],
)
def test_the_class_of_a_place_is_that_of_the_largest_lesion_near_it(x: float, y: float, label: str) -> None:
    both = lesions((12, 16, 22, 33), (12, 16, 39, 46), diameters=[2500, 150])
    location = np.array([x, y]) * MPP + ORIGIN
    assert SLIDE_CLASSES[class_at(overview("a", both), location)] == label
    assert class_at(overview("a"), location) == 0


def test_draws_lie_in_cells_of_tissue_or_lesion_and_are_labelled_by_what_is_there() -> None:
    overviews = [overview("positive", lesions((0, 3, 0, 3), (17, 23, 33, 39), diameters=[150, 2500])), overview("none")]
    draws = sampler(overviews, ["macro", "negative"]).draw(2000, np.random.default_rng(0))
    places = cells(draws.location_um)
    of_slide = [{place for place, k in zip(places, draws.slide, strict=True) if k == slide} for slide in (0, 1)]
    assert of_slide[0] == CELLS | {(0, 0)}  # that lesion's cell has no tissue by the mask, but the truth counts
    assert of_slide[1] == CELLS
    assert draws.label.tolist() == [
        class_at(overviews[k], at) for k, at in zip(draws.slide, draws.location_um, strict=True)
    ]
    assert set(draws.label.tolist()) == {0, 1, 3}
    assert not draws.label[draws.slide == 1].any()


def test_lesions_of_a_negative_slide_do_not_count() -> None:
    outlined = overview("contradiction", lesions((0, 40, 0, 60), diameters=[2500]))
    draws = sampler([outlined], ["negative"]).draw(50, np.random.default_rng(0))
    assert set(cells(draws.location_um)) <= CELLS
    assert not draws.label.any()


def test_shares_of_the_classes() -> None:
    # the whole of cells (1, 2) and (3, 5) are lesions, so that a draw in them is one
    both = lesions((8, 16, 16, 24), (24, 32, 40, 48), diameters=[2500, 150])
    draws = sampler([overview("positive", both)], ["macro"]).draw(4000, np.random.default_rng(0))
    share = {place: cells(draws.location_um).count(place) / 4000 for place in CELLS}
    assert share.pop((1, 2)) == pytest.approx((1 - NORMAL_SHARE) / 2, abs=0.03)
    assert share.pop((3, 5)) == pytest.approx((1 - NORMAL_SHARE) / 2, abs=0.03)
    assert all(value == pytest.approx(NORMAL_SHARE / 10, abs=0.02) for value in share.values())


def test_lesions_of_a_class_are_equally_likely_whatever_their_size() -> None:
    large, small = (8, 32, 16, 40), (12, 13, 44, 45)  # nine cells and one
    draws = sampler([overview("a", lesions(large, small, diameters=[900, 300]))], ["micro"]).draw(
        4000, np.random.default_rng(0)
    )
    assert cells(draws.location_um).count((1, 5)) / 4000 == pytest.approx((1 - NORMAL_SHARE) / 2, abs=0.03)


def test_most_normal_draws_are_where_the_policy_would_look() -> None:
    salience = np.zeros((16, 16))
    salience[2, 4] = 0.3  # need not sum to one
    draws = sampler([overview("a")], ["negative"], salience).draw(4000, np.random.default_rng(0))
    share = cells(draws.location_um).count((2, 4)) / 4000
    assert share == pytest.approx(SALIENT_SHARE + (1 - SALIENT_SHARE) / 12, abs=0.03)
    assert set(cells(draws.location_um)) == CELLS


def test_the_same_stream_gives_the_same_draws() -> None:
    made = sampler([overview("a", lesions((12, 20, 22, 40), diameters=[900]))], ["micro"])
    first, again, other = (made.draw(50, np.random.default_rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.location_um, again.location_um)
    np.testing.assert_array_equal(first.label, again.label)
    assert not np.array_equal(first.location_um, other.location_um)


def test_normal_tissue_comes_only_from_slides_whose_lesions_are_known() -> None:
    marked = overview("marked", lesions((16, 24, 24, 40), diameters=[900]))
    overviews = [overview("not_annotated"), marked, overview("negative"), overview("not_annotated_either")]
    draws = sampler(overviews, ["macro", "micro", "negative", "itc"]).draw(500, np.random.default_rng(0))
    assert set(draws.slide.tolist()) == {1, 2}
    assert set(draws.slide[draws.label > 0].tolist()) == {1}


def test_a_slide_that_is_all_lesion_has_no_normal_tissue() -> None:
    full = overview("full", lesions((0, 40, 0, 60), diameters=[2500]))
    draws = sampler([full, overview("negative")], ["macro", "negative"]).draw(200, np.random.default_rng(0))
    assert set(draws.slide[draws.label == 0].tolist()) == {1}
    alone = sampler([full], ["macro"]).draw(50, np.random.default_rng(0))
    assert (alone.label == 3).all()
