from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foveate.slides.overview_file import StoredOverview
from foveate.stages.batch import tissue_cells
from foveate.stages.determinism import seeded
from foveate.stages.train import make_agent
from foveate.stages.training import survey as module
from foveate.stages.training.session import Session
from foveate.stages.training.survey import BLANK, TRANSPLANTED, LesionCells, Survey, blanked, transplanted

MICRO, MACRO = 2, 3


def start(cohort: Any, out: Path) -> tuple[Session, Survey]:
    session = Session(cohort.config, cohort.samples, cohort.fold, cohort.overviews, out)
    seeded(0)
    return session, Survey(session, make_agent(cohort.config, session.prior))


def test_all_but_the_finest_square_can_be_blank() -> None:
    pixels = np.full((2, 3, 4, 4, 3), 7, np.uint8)
    out = blanked(pixels, np.array([[True, True, False], [False, False, True]]))
    assert (out[:, :, 0, 0, 0] == [[7, BLANK, 7], [7, 7, BLANK]]).all()
    assert (pixels == 7).all()


def test_tumor_in_normal_surroundings_is_a_micrometastasis() -> None:
    kinds = np.repeat(np.array([[MACRO, 0], [0, 0], [0, 1]]), 400, axis=0)  # of macrometastases; else; negative slides
    label, clean = kinds[:, 0], kinds[:, 1] == 1
    pixels = np.tile(np.arange(1200, dtype=np.int64)[:, None, None, None, None] % 251, (1, 3, 2, 2, 3)).astype(np.uint8)
    pixels[:, 2] = np.where(clean, 200, 100)[:, None, None, None]
    out, said = transplanted(pixels, label, clean, np.random.default_rng(0))
    np.testing.assert_array_equal(out[:, :2], pixels[:, :2])
    other = (out[:, 2] == 200).all(axis=(1, 2, 3))
    assert np.mean(said[:400] == MICRO) == pytest.approx(TRANSPLANTED, abs=0.08)
    np.testing.assert_array_equal(other[:400], said[:400] == MICRO)
    assert set(said[:400].tolist()) == {MICRO, MACRO}
    assert not said[400:].any()
    assert not other[400:800].any()  # normal places around a macrometastasis keep what they have
    assert other[800:].all()


def test_clean_places_get_the_surroundings_of_others_as_well() -> None:
    pixels = np.arange(100, dtype=np.uint8)[:, None, None, None, None] * np.ones((1, 2, 2, 2, 3), np.uint8)
    out, said = transplanted(pixels, np.zeros(100, np.int64), np.ones(100, bool), np.random.default_rng(0))
    assert np.mean(out[:, 1, 0, 0, 0] != pixels[:, 1, 0, 0, 0]) == pytest.approx(TRANSPLANTED, abs=0.15)
    assert not said.any()


@pytest.mark.parametrize(("squares", "clean"), [(1, True), (3, False)])
def test_nothing_is_transplanted_without_surroundings_or_without_clean_ones(squares: int, clean: bool) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, squares, 2, 2, 3), np.uint8)
    label = np.array([MACRO, 0] * 4)
    out, said = transplanted(pixels, label, clean & (label == 0), np.random.default_rng(0))
    np.testing.assert_array_equal(out, pixels)
    np.testing.assert_array_equal(said, label)


def test_the_odds_are_those_of_each_place(
    labelled: Any, eager: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, survey = start(labelled, tmp_path)
    places = survey.bags.survey({MACRO: 5, MICRO: 5, 0: 2}, np.random.default_rng(0))
    monkeypatch.setattr(module, "CHUNK", 4)  # the 14 places are no multiple
    tumor = survey.tumor(places)
    assert tumor.shape == (14,)
    for k in (0, 6, 13):
        pixels = session.sensor.read([survey.bags.overviews[places.slide[k]]], places.location_um[[k]]).pixels
        p = np.asarray(survey._see(pixels))[0].astype(np.float64)
        p = np.exp(p) / np.exp(p).sum()
        assert tumor[k] == pytest.approx(np.log((1 - p[0]) / p[0]), abs=1e-4)


def test_a_slide_that_cannot_be_read_is_dropped_and_nothing_is_known_of_it(
    labelled: Any, spoilt: Callable[[StoredOverview], StoredOverview], eager: None, tmp_path: Path
) -> None:
    session, survey = start(labelled, tmp_path)
    slides = survey.bags.overviews
    bad = [o.slide for o in slides].index("macro_a")
    survey.bags.overviews = [*slides[:bad], spoilt(slides[bad]), *slides[bad + 1 :]]
    places = survey.bags.survey({MACRO: 5, MICRO: 5, 0: 2}, np.random.default_rng(0))
    tumor = survey.tumor(places)
    np.testing.assert_array_equal(np.isnan(tumor), places.slide == bad)
    assert list(session.state.dropped) == ["bad"]


def test_sight_finds_the_lesions(
    labelled: Any, dark_cells: Callable[..., np.ndarray], sighted: list[np.ndarray], eager: None, tmp_path: Path
) -> None:
    session, _ = start(labelled.tuned(train={"pretrain_patches": 32}), tmp_path)
    agent = make_agent(labelled.config, session.prior)
    agent.glimpse_network.set_weights(sighted)
    found = LesionCells(session, agent)
    for overview in session.train:
        lesions, known = found.of(overview), found.known(overview)
        if overview.slide.startswith("neg"):
            assert not lesions.any()
            assert known.all()
        else:  # all of its 108 cells are looked at; a twelfth counts
            np.testing.assert_array_equal(known > 0, tissue_cells(overview, 0.25))
            assert lesions.sum() == 9
            assert (lesions > 0)[dark_cells(overview)].sum() >= 7
    again = LesionCells(session, agent)
    for overview in session.train:
        np.testing.assert_array_equal(again.of(overview), found.of(overview))


def test_annotations_go_before_what_sight_would_find(cohort: Any, tmp_path: Path) -> None:
    session = Session(cohort.config, cohort.samples, cohort.fold, cohort.overviews, tmp_path)
    cells = LesionCells(session, make_agent(cohort.config, session.prior))
    for overview in session.train:
        np.testing.assert_array_equal(cells.of(overview), session.lesion_cells(overview))
        assert cells.known(overview).all()
