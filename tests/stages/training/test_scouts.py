import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foveate.attention.agent import Agent
from foveate.slides.overview_file import Lesions
from foveate.stages.determinism import seeded
from foveate.stages.train import make_agent
from foveate.stages.training.scouts import UNKNOWN, Scouts
from foveate.stages.training.session import Session

pytestmark = pytest.mark.usefixtures("eager")
SCOUT = {"count": 2, "mpp": 16.0, "cells": 3}


def start(cohort: Any, out: Path, **scout: Any) -> tuple[Session, Agent]:
    own = cohort.tuned(scout=SCOUT | scout)
    session = Session(own.config, own.samples, own.fold, own.overviews, out)
    seeded(own.config.train.seed)
    return session, make_agent(own.config, session.prior, scout=True)


def test_an_epoch_teaches_the_scout_alone(cohort: Any, tmp_path: Path) -> None:
    session, agent = start(cohort, tmp_path)
    assert agent.scout is not None
    learnt = {id(v) for v in agent.scout.weights}
    before = {v.path: v.numpy() for v in agent.weights}
    scouts = Scouts(session, agent)
    figures = scouts.epoch(0)
    assert (scouts.epochs, figures["glimpses"]) == (4, 8 * 6)
    assert figures["loss"] == pytest.approx(np.log(2), abs=0.01)  # it said nothing before its only step
    for variable in agent.weights:
        if id(variable) not in learnt:
            np.testing.assert_array_equal(variable.numpy(), before[variable.path])
    head = agent.scout.tumor.weights[0]
    assert not np.array_equal(head.numpy(), before[head.path])


def test_epochs_are_named_by_their_number(cohort: Any, tmp_path: Path) -> None:
    ends = []
    for number in (0, 0, 1):
        session, agent = start(cohort, tmp_path)
        Scouts(session, agent).epoch(number)
        ends.append(np.concatenate([w.ravel() for w in agent.get_weights()]))
    np.testing.assert_array_equal(ends[0], ends[1])
    assert not np.array_equal(ends[0], ends[2])


def test_after_a_resume_the_same_normal_places_are_likely(cohort: Any, tmp_path: Path) -> None:
    session, agent = start(cohort, tmp_path)
    assert agent.scout is not None
    unbroken = Scouts(session, agent)
    unbroken.epoch(0)
    agent.scout.tumor.bias.assign([3.0])
    resumed = Scouts(session, agent)
    for scouts in (unbroken, resumed):
        scouts.epoch(1)
    chances = [[chance for *_, chance in scouts._sampler._normal] for scouts in (unbroken, resumed) if scouts._sampler]
    assert len(chances) == 2
    for first, second in zip(*chances, strict=True):
        np.testing.assert_array_equal(first, second)


def test_what_each_cell_holds(cohort: Any, tmp_path: Path) -> None:
    session, agent = start(cohort, tmp_path)
    (itc,) = (o for o in session.train if o.slide == "itc_a")  # its lesion: 300 to 400, 200 to 300 um
    scouts = Scouts(session, agent)
    tumor = scouts._tumor(itc, np.array([1, 2]))
    tissue = itc.cell_tissue[:3, 1:4] >= session.config.tissue.cell_share
    assert tissue[1:, 1:].all()
    expected = np.where(tissue, 0, UNKNOWN)
    expected[1:, 1:] = 1
    np.testing.assert_array_equal(tumor, expected)
    corner = scouts._tumor(itc, np.array([-1, -1]))  # the middle may lie beyond the grid
    np.testing.assert_array_equal(corner, np.full((3, 3), UNKNOWN))
    last = np.array(itc.cell_tissue.shape)
    np.testing.assert_array_equal(scouts._tumor(itc, last), np.full((3, 3), UNKNOWN))


def test_it_learns_what_is_dark(labelled: Any, dark_cells: Callable[..., np.ndarray], tmp_path: Path) -> None:
    own = labelled.tuned(train={"scout_epochs": 12, "pretrain_patches": 48, "pretrain_rate": 0.01})
    session, agent = start(own, tmp_path)
    for overviews in (session._train, session._val):
        for k, overview in enumerate(overviews):
            if overview.slide.startswith("macro"):
                index = np.kron(dark_cells(overview), np.ones((8, 8), np.int32))
                lesions = Lesions(index, np.array([3000.0]))
                overviews[k] = dataclasses.replace(overview, lesions=lesions)
    scouts = Scouts(session, agent)
    losses = [scouts.epoch(number)["loss"] for number in range(scouts.epochs)]
    assert losses[-1] < 0.5 * losses[0]
    (unseen,) = session.val
    row, column = np.argwhere(dark_cells(unseen))[0]
    at = unseen.grid.centre_um(np.array([row, column]))[None]
    square = session.sensor.read([unseen], at, squares=((16.0,), agent.scout.px)).pixels[:, 0]
    odds = np.asarray(agent.scout(square))[0]
    assert odds[1:, 1:].min() > odds[0].max()  # the dark begins at the middle
    assert odds[1:, 1:].min() > odds[:, 0].max()


def test_a_slide_that_cannot_be_read_is_dropped(with_unreadable: Callable[..., Any], tmp_path: Path) -> None:
    session, agent = start(with_unreadable("negative", "bad"), tmp_path / "out", mpp=4.0)
    figures = Scouts(session, agent).epoch(0)
    assert list(session.state.dropped) == ["bad"]
    assert figures["loss"] > 0


def test_an_agent_without_a_scout(cohort: Any, tmp_path: Path) -> None:
    session, _ = start(cohort, tmp_path)
    with pytest.raises(ValueError, match="no scout"):
        Scouts(session, make_agent(cohort.config, session.prior))
