from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foveate.stages.batch import make_batch
from foveate.stages.determinism import seeded
from foveate.stages.rollout import Roller
from foveate.stages.train import make_agent
from foveate.stages.training.ranking import patch_sampler
from foveate.stages.training.session import Session

pytestmark = pytest.mark.usefixtures("eager")


def test_normal_cells_are_drawn_where_the_policy_would_look_first(cohort: Any, tmp_path: Path) -> None:
    own = cohort.split(["neg_a", "macro_a"], [])
    session = Session(own.config, own.samples, own.fold, own.overviews, tmp_path)
    seeded(0)
    agent = make_agent(own.config, session.prior)
    query = agent.policy.query
    query.set_weights([query.kernel.numpy(), np.linspace(-300, 300, 8)])  # sure of some cells
    draws = patch_sampler(session, agent).draw(2000, np.random.default_rng(0))
    normal = session.enrolled[0]
    assert normal.slide == "neg_a"
    here = draws.location_um[draws.slide == 0]
    drawn = np.zeros(normal.cell_tissue.shape)
    np.add.at(drawn, tuple(np.floor(here / normal.cell_um).astype(int)[:, ::-1].T), 1 / len(here))
    batch = make_batch([normal], session.shape, own.config.tissue.cell_share)
    (first,) = batch.on_grids(np.exp(Roller(agent, session.sensor, "greedy").first(batch)[0]))
    assert first.max() > 0.1
    open_ = normal.cell_tissue >= own.config.tissue.cell_share
    expected = np.where(open_, 0.7 * first + 0.3 / open_.sum(), 0)
    np.testing.assert_allclose(drawn, expected, atol=0.05)
