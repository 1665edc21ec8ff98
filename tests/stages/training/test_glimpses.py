import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from foveate.attention.agent import Agent
from foveate.stages.determinism import seeded
from foveate.stages.train import make_agent
from foveate.stages.training.glimpses import Glimpses
from foveate.stages.training.session import Session


def start(cohort: Any, out: Path) -> tuple[Session, Agent]:
    session = Session(cohort.config, cohort.samples, cohort.fold, cohort.overviews, out)
    seeded(cohort.config.train.seed)
    return session, make_agent(cohort.config, session.prior)


def weights(agent: Agent) -> np.ndarray:
    return np.concatenate([w.ravel() for w in agent.get_weights()])


def test_an_epoch_teaches_sight_alone(cohort: Any, eager: None, tmp_path: Path) -> None:
    session, agent = start(cohort, tmp_path)
    learnt = {id(v) for layer in agent.glimpse_network.sight for v in layer.weights}
    before = {v.path: v.numpy() for v in agent.weights}
    figures = Glimpses(session, agent).epoch(0)
    assert figures["glimpses"] == 8 * 6
    assert 0 < figures["loss"] < 10
    assert 0 <= figures["accuracy"] <= 1
    for variable in agent.weights:
        changed = not np.array_equal(variable.numpy(), before[variable.path])
        assert changed == (id(variable) in learnt), variable.path


def test_epochs_are_named_by_their_number(cohort: Any, eager: None, tmp_path: Path) -> None:
    ends = []
    for number in (0, 0, 1):
        session, agent = start(cohort, tmp_path)
        Glimpses(session, agent).epoch(number)
        ends.append(weights(agent))
    np.testing.assert_array_equal(ends[0], ends[1])
    assert not np.array_equal(ends[0], ends[2])


def test_a_slide_that_cannot_be_read_is_dropped(
    make_cohort: Callable[[Path], Any], spoil_tile: Callable[..., None], eager: None, tmp_path: Path
) -> None:
    cohort = make_cohort(tmp_path)
    path = tmp_path / "bad.tif"
    shutil.copy(tmp_path / "slide.tif", path)
    cohort = cohort.with_slide("bad", path, "negative")
    spoil_tile(path, 0, absent=False, page=1)  # the level of 4 um/px has one tile
    session, agent = start(cohort, tmp_path / "out")
    figures = Glimpses(session, agent).epoch(0)
    assert list(session.state.dropped) == ["bad"]
    assert figures["loss"] > 0
    assert np.isfinite(weights(agent)).all()


def test_without_lesions_there_is_nothing_to_learn(cohort: Any, tmp_path: Path) -> None:
    plain = cohort.split(["neg_a", "neg_b"], []).relabelled("neg_b", "macro")
    assert Glimpses(*start(plain, tmp_path)).epochs == 0
    assert Glimpses(*start(cohort, tmp_path)).epochs == 2
