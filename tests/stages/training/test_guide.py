from pathlib import Path
from typing import Any

import numpy as np

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


def test_without_lesions_there_is_nothing_to_guide(cohort: Any, tmp_path: Path) -> None:
    plain = cohort.split(["neg_a", "neg_b"], []).relabelled("neg_b", "macro")
    session, agent = start(plain, tmp_path)
    assert Guide(session, agent).epochs == 0
    assert Guide(*start(cohort, tmp_path)).epochs == 2
