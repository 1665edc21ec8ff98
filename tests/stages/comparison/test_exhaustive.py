import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from keras import ops

from foveate.attention.agent import Agent
from foveate.errors import SlideError
from foveate.slides.overview_file import StoredOverview
from foveate.slides.sensor import GlimpseSensor
from foveate.stages.batch import common_shape, make_batch, tissue_cells
from foveate.stages.comparison import exhaustive
from foveate.stages.comparison.exhaustive import CellSurvey

pytestmark = pytest.mark.usefixtures("eager")


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exhaustive, "CHUNK", 8)
    monkeypatch.setattr(exhaustive, "SMALLEST", 4)


@pytest.mark.usefixtures("small_chunks")
def test_every_tissue_cell_is_seen_once(comparison_agent: Agent, wide: StoredOverview) -> None:
    places = wide.grid.centre_um(np.argwhere(tissue_cells(wide, 0.25)))
    assert len(places) % 8  # chunks and a rest
    survey = CellSurvey(comparison_agent, 2, 0.25)
    with survey.sensor, GlimpseSensor((4.0, 32.0), 16, 1, comparison_agent.settings["stain_od"]) as plain:
        found = survey.read(wide)
        pixels = plain.read([wide] * len(places), places).pixels
    where = ((places - [1024, 768]) / 10_000).astype(np.float32)
    vectors, evidence = (ops.convert_to_numpy(v) for v in comparison_agent.glimpse_network(pixels, where))
    np.testing.assert_allclose(found.evidence, evidence, atol=1e-5)
    np.testing.assert_allclose(found.vectors, vectors, atol=1e-5)


@pytest.mark.usefixtures("small_chunks")
def test_salience_is_the_policy_s_before_anything_was_seen(comparison_agent: Agent, wide: StoredOverview) -> None:
    survey = CellSurvey(comparison_agent, 2, 0.25)
    with survey.sensor:
        found = survey.read(wide)
    batch = make_batch([wide, wide], common_shape([wide], 0.25), 0.25)
    log_p = comparison_agent.choose(*comparison_agent.begin(batch.image, batch.tissue, batch.candidates))
    count = len(found.salience)
    np.testing.assert_allclose(found.salience, ops.convert_to_numpy(log_p)[1, :count], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(np.exp(found.salience).sum(), 1, rtol=1e-5)


def test_the_share_of_tissue_and_the_cost(comparison_agent: Agent, wide: StoredOverview) -> None:
    """Glimpses of 64 um in cells of 128 um: a quarter of two whole cells of tissue, and nothing beside."""
    shares, mask = np.zeros_like(wide.cell_tissue), np.zeros_like(wide.tissue)
    shares[2, 4] = shares[3, 4] = 1
    mask[16:32, 32:40] = True
    two = dataclasses.replace(wide, cell_tissue=shares, tissue=mask)
    survey = CellSurvey(comparison_agent, 2, 0.25)
    with survey.sensor:
        found, again = survey.read(two), survey.read(two)
    assert found.evidence.shape == (2, 4)
    assert found.tissue == pytest.approx(0.25)
    # level 1 has 4 um/px: squares of 16 px; the scale of 32 um/px comes from the overview
    assert found.costs[2] == again.costs[2] == 2 * 16 * 16
    assert (found.costs[:2] > 0).all()


def test_a_slide_that_cannot_be_read(
    comparison_agent: Agent, wide: StoredOverview, spoilt: Callable[[StoredOverview], StoredOverview]
) -> None:
    survey = CellSurvey(comparison_agent, 2, 0.25)
    with survey.sensor:
        with pytest.raises(SlideError, match="bad: tile"):
            survey.read(spoilt(wide))
        assert len(survey.read(wide).evidence)
