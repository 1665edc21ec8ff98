from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foveate.attention.agent import Agent
from foveate.stages.batch import make_batch
from foveate.stages.determinism import seeded
from foveate.stages.train import make_agent
from foveate.stages.training.guide import Guide
from foveate.stages.training.session import Session


def start(cohort: Any, out: Path) -> tuple[Session, Agent]:
    session = Session(cohort.config, cohort.samples, cohort.fold, cohort.overviews, out)
    seeded(cohort.config.train.seed)
    return session, make_agent(cohort.config, session.prior)


def lesion_mass(session: Session, agent: Agent) -> np.ndarray:
    """The policy's mass on each training slide's lesions."""
    slides = [o for o in session.train if session.lesion_cells(o).any()]
    batch = make_batch(slides, session.shape, session.config.tissue.cell_share)
    p = np.exp(agent.choose(*agent.begin(batch.image, batch.tissue, batch.candidates)).numpy())
    return (p * (batch.at_candidates([session.lesion_cells(o) for o in slides]) > 0)).sum(1)


def test_the_policy_turns_to_lesions(cohort: Any, eager: None, tmp_path: Path) -> None:
    # its slides look alike, so that one lesion is enough
    one = cohort.split(["neg_a", "itc_a"], []).tuned(train={"guide_epochs": 20})
    session, agent = start(one, tmp_path)
    guide = Guide(session, agent)
    learnt = [*agent.context_network.weights, *agent.policy.weights]
    assert {v.path for v in guide.learner.trainable_variables} <= {v.path for v in learnt}
    before, sight = lesion_mass(session, agent), agent.glimpse_network.get_weights()
    losses = [guide.epoch(k)["loss"] for k in range(guide.epochs)]
    assert np.mean(losses[-3:]) < np.mean(losses[:3])
    assert (lesion_mass(session, agent) > before).all()
    for a, b in zip(agent.glimpse_network.get_weights(), sight, strict=True):
        np.testing.assert_array_equal(a, b)


def test_epochs_are_named_by_their_number(cohort: Any, eager: None, tmp_path: Path) -> None:
    ends = []
    for number in (0, 0, 1):
        session, agent = start(cohort, tmp_path)
        Guide(session, agent).epoch(number)
        ends.append(np.concatenate([w.ravel() for w in agent.context_network.get_weights()]))
    np.testing.assert_array_equal(ends[0], ends[1])
    assert not np.array_equal(ends[0], ends[2])


def test_without_annotations_the_policy_turns_to_what_sight_found(
    labelled: Any, dark_cells: Callable[..., np.ndarray], sighted: np.ndarray, eager: None, tmp_path: Path
) -> None:
    session, agent = start(labelled.tuned(train={"pretrain_patches": 32, "guide_epochs": 30}), tmp_path)
    agent.glimpse_network.set_weights(sighted)
    guide = Guide(session, agent)
    before, sight = dark_mass(session, agent, dark_cells), agent.glimpse_network.get_weights()
    losses = [guide.epoch(k)["loss"] for k in range(guide.epochs)]
    assert np.mean(losses[-3:]) < np.mean(losses[:3])
    assert dark_mass(session, agent, dark_cells) > 2 * before
    for a, b in zip(agent.glimpse_network.get_weights(), sight, strict=True):
        np.testing.assert_array_equal(a, b)


def dark_mass(session: Session, agent: Agent, dark_cells: Callable[..., np.ndarray]) -> float:
    """The policy's mass on the dark cells of the validation slide."""
    batch = make_batch(session.val, session.shape, session.config.tissue.cell_share)
    p = np.exp(agent.choose(*agent.begin(batch.image, batch.tissue, batch.candidates)).numpy())
    return float((p * batch.at_candidates([dark_cells(o).astype(np.int32) for o in session.val])).sum())


def test_cells_that_were_not_seen_do_not_compete(
    labelled: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = labelled.tuned(train={"pretrain_patches": 1, "guide_epochs": 1})
    guide, given = Guide(*start(few, tmp_path)), []
    monkeypatch.setattr(guide.learner, "train_on_batch", lambda x, **_: given.append(x) or {"loss": 0.0})
    guide.epoch(0)
    (x,) = given
    assert sorted((x["candidates"] >= 0).sum(1).tolist()) == [20, 20, 108, 108]
    assert sorted((x["lesion"] > 0).sum(1).tolist()) == [0, 0, 2, 2]  # a twelfth of 20
    assert (x["candidates"] >= 0)[x["lesion"] > 0].all()


def test_lesions_beyond_the_last_that_counts_do_not_compete(
    cohort: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for most in (8, 0):
        monkeypatch.setattr("foveate.stages.training.guide.MAX_LESIONS", most)
        guide, given = Guide(*start(cohort, tmp_path / str(most))), []
        monkeypatch.setattr(guide.learner, "train_on_batch", lambda x, given=given, **_: given.append(x) or {"loss": 0})
        guide.epoch(0)
        for x in given:
            assert (x["lesion"] > 0).any()
            assert ((x["candidates"] >= 0)[x["lesion"] > 0] == (most > 0)).all()
            assert (x["candidates"][x["lesion"] == 0] >= 0).any()


def test_without_lesions_there_is_nothing_to_guide(cohort: Any, tmp_path: Path) -> None:
    plain = cohort.split(["neg_a", "neg_b"], []).relabelled("neg_b", "itc")
    session, agent = start(plain, tmp_path)
    assert Guide(session, agent).epochs == 0
    assert Guide(*start(cohort, tmp_path)).epochs == 2
