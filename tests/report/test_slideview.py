import dataclasses

import numpy as np
import pytest

from foveate.report.slideview import LEAVE_OUT, failure, seen, slide_view, tissue_mm2
from foveate.report.sources import Fixations, SlideRow, Verdict
from foveate.slides.overview_file import Lesions, StoredOverview

ROW = SlideRow("a", "p", "2", "test", "itc", "ok", "", Verdict("itc", (0, 1, 0, 0)), Verdict("micro", (0.4, 0, 0.6, 0)))
FAILED = SlideRow("a", "p", "", "test", "", "failed", "too coarse", None, None)


@pytest.fixture
def overview(grey_overview) -> StoredOverview:
    tissue = np.zeros((100, 100), bool)
    tissue[:50, :50] = True
    lesions = Lesions(tissue.astype(np.uint16), np.array([150.0, 1230.0], np.float32))
    return grey_overview(tissue, 20.0, np.ones((13, 13), np.float32), lesions=lesions)


@pytest.fixture
def fixations() -> Fixations:
    return Fixations(
        running=np.array([[0.5, 0.5, 0, 0], [0, 1, 0, 0]], np.float32),
        location_um=np.array([[400, 200], [500, 600]], np.float32),
        location_l0=np.array([[1600.0, 800.0], [2000.0, 2400.0]]),
        policy_probability=np.array([0.25, 0.5], np.float32),
        glimpses=np.zeros((2, 3, 50, 50, 3), np.uint8),
        scales_mpp=(1.0, 4.0, 32.0),
        fold="2",
        budget=2,
    )


def test_a_predicted_slide(overview, fixations):
    view = slide_view(ROW, {"warnings": ["is old"]}, overview, fixations)
    assert view.map is not None
    assert view.chart is not None
    assert view.sheet is not None
    assert (view.sheet.width, view.sheet.height, view.sheet.rows) == (128, 192, (1.0, 4.0, 32.0))
    assert [column.tumor for column in view.sheet.columns] == [0.5, 1.0]
    place = view.locations[1]
    assert (place.x_um, place.y_um, place.x_l0, place.y_l0) == (500, 600, 2000, 2400)
    assert (place.policy_probability, place.probabilities) == (0.5, (0, 1, 0, 0))
    assert view.warnings == ("is old",)


def test_facts(overview, fixations):
    status = {"size_l0": [2000, 40000], "mpp": [0.243, 0.243], "mpp_source": "tiff", "vendor": "aperio", "levels": 3}
    facts = dict(slide_view(ROW, status | {"path": "a.svs"}, overview, fixations).facts)
    assert facts["At random"] == "micro 0.60, same budget"
    assert facts["Annotated lesions"] == "2, the largest 1.23 mm"
    assert facts["Scan"] == "2,000 × 40,000 px at 0.243 µm/px (tiff)"  # noqa: RUF001
    assert facts["File"] == "aperio, 3 levels"
    assert facts["Path"] == "a.svs"
    assert facts["Fold"] == "2"
    assert "Pictures" not in facts
    assert "Glimpses" not in facts
    early = slide_view(ROW, status, overview, dataclasses.replace(fixations, budget=16))
    assert dict(early.facts)["Glimpses"] == "2 of 16, then enough was seen"


def test_pictures_of_an_ensemble_say_whose_they_are(overview, fixations):
    facts = dict(slide_view(dataclasses.replace(ROW, fold="ensemble"), {}, overview, fixations).facts)
    assert facts["Fold"] == "ensemble"
    assert facts["Pictures"] == "what the model of fold 2 saw and concluded; the prediction is the mean of all folds"


def test_an_unread_slide_has_only_its_reason():
    view = slide_view(FAILED, {}, None, None)
    assert (view.map, view.chart, view.sheet, view.locations, view.facts) == (None, None, None, (), ())
    assert view.reason == "too coarse"


def test_a_failed_overview_gives_reason_and_remedy():
    status = {"state": "failed", "reason": "has no mpp", "remedy": "set the mpp column"}
    assert failure(FAILED, status) == ("has no mpp", "set the mpp column")
    assert failure(FAILED, status | {"remedy": ""}) == ("has no mpp", LEAVE_OUT)


def test_a_failure_after_the_overview_stands_in_the_table():
    assert failure(FAILED, {"state": "ok", "reason": "", "remedy": ""}) == ("too coarse", LEAVE_OUT)
    assert failure(FAILED, {}) == ("too coarse", LEAVE_OUT)


def test_areas(overview, fixations):
    assert tissue_mm2(overview) == pytest.approx(1.0)  # 50 x 50 px of 20 um
    assert seen(overview, fixations).startswith("at most 0.5 % of it")  # twice 50 um x 50 um
