from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from foveate.attention.agent import Agent
from foveate.stages.batch import tissue_cells
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


def test_the_rate_rises_for_a_tenth_of_the_steps_and_falls_to_nothing(cohort: Any, eager: None, tmp_path: Path) -> None:
    long = cohort.tuned(train={"pretrain_epochs": 40, "pretrain_rate": 0.001})  # of one step each
    optimizer = Glimpses(*start(long, tmp_path)).learner.optimizer
    rates = []
    for step in (0, 1, 2, 4, 22, 40):  # 22: half of the cosine
        optimizer.iterations.assign(step)
        rates.append(float(optimizer.learning_rate))
    np.testing.assert_allclose(rates, [0, 0.00025, 0.0005, 0.001, 0.0005, 0], atol=1e-9)


def test_a_training_of_few_steps_begins_at_its_full_rate(cohort: Any, eager: None, tmp_path: Path) -> None:
    short = cohort.tuned(train={"pretrain_epochs": 4, "pretrain_rate": 0.001})
    assert float(Glimpses(*start(short, tmp_path)).learner.optimizer.learning_rate) == np.float32(0.001)


def test_epochs_are_named_by_their_number(cohort: Any, eager: None, tmp_path: Path) -> None:
    ends = []
    for number in (0, 0, 1):
        session, agent = start(cohort, tmp_path)
        Glimpses(session, agent).epoch(number)
        ends.append(weights(agent))
    np.testing.assert_array_equal(ends[0], ends[1])
    assert not np.array_equal(ends[0], ends[2])


def test_a_slide_that_cannot_be_read_is_dropped(
    with_unreadable: Callable[..., Any], eager: None, tmp_path: Path
) -> None:
    session, agent = start(with_unreadable("negative", "bad"), tmp_path / "out")
    figures = Glimpses(session, agent).epoch(0)
    assert list(session.state.dropped) == ["bad"]
    assert figures["loss"] > 0
    assert np.isfinite(weights(agent)).all()


def test_labels_of_slides_are_enough(
    labelled: Any, dark_cells: Callable[..., np.ndarray], sighted: list[np.ndarray], eager: None, tmp_path: Path
) -> None:
    session, agent = start(labelled, tmp_path)
    agent.glimpse_network.set_weights(sighted)
    (unseen,) = session.val
    cells = np.argwhere(tissue_cells(unseen, 0.25))
    pixels = session.sensor.read([unseen] * len(cells), unseen.grid.centre_um(cells)).pixels
    logits = np.asarray(agent.glimpse_network.see(pixels)[1])
    dark = dark_cells(unseen)[tuple(cells.T)]
    tumor = np.logaddexp.reduce(logits[:, 1:], axis=1) - logits[:, 0]
    assert dark.sum() == 12
    assert set(np.argsort(-tumor)[:6]) <= set(np.flatnonzero(dark))  # a half of them lead all 108
    assert np.mean(tumor[~dark] < 0) > 0.9


def test_epochs_without_annotations_depend_on_the_weights_alone(labelled: Any, eager: None, tmp_path: Path) -> None:
    ends = []
    for before in (True, False):
        session, agent = start(labelled, tmp_path / str(before))
        glimpses = Glimpses(session, agent)
        assert glimpses.epochs == 2
        glimpses.epoch(0)
        if before:  # another one, as after a kill
            glimpses, after = Glimpses(session, agent), glimpses.learner.optimizer
            glimpses.learner.optimizer.build(glimpses.learner.trainable_variables)
            for new, old in zip(glimpses.learner.optimizer.variables, after.variables, strict=True):
                new.assign(old)
        glimpses.epoch(1)
        ends.append(weights(agent))
    np.testing.assert_array_equal(ends[0], ends[1])


def test_without_lesions_or_a_contrast_there_is_nothing_to_learn(cohort: Any, tmp_path: Path) -> None:
    plain = cohort.split(["neg_a", "neg_b"], []).relabelled("neg_b", "itc")
    assert Glimpses(*start(plain, tmp_path)).epochs == 0
    assert Glimpses(*start(cohort, tmp_path)).epochs == 2
