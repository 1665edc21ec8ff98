import csv
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foveate.attention.agent import Agent
from foveate.config import Config
from foveate.patients.stages import SLIDE_CLASSES
from foveate.patients.temperature import fit_temperature
from foveate.stages import train
from foveate.stages.determinism import seeded
from foveate.stages.keras_file import load_agent
from foveate.stages.rollout import Roller
from foveate.stages.training import session as session_module
from foveate.stages.training.attend import Attend
from foveate.stages.training.checkpoint import Checkpoint
from foveate.stages.training.session import Session
from foveate.stages.training.stop import Stop
from foveate.stages.training.validation import answers, validate

pytestmark = pytest.mark.usefixtures("eager")
EPOCHS = [("guide", "1"), ("guide", "2"), ("glimpses", "1"), ("glimpses", "2"), ("attend", "1"), ("attend", "2")]


class KillError(Exception):
    """The process ends here."""


def run(cohort: Any, out: Path) -> Agent:
    train.run(cohort.config, cohort.samples, cohort.fold, cohort.overviews, out)
    return load_agent(out / "model.keras")


def history(out: Path) -> list[dict[str, str]]:
    with (out / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def assert_equal(a: Agent, b: Agent) -> None:
    for one, other in zip(a.weights, b.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy(), err_msg=one.path)


@pytest.fixture(scope="module")
def trained(cohort: Any, eager: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that nothing stopped."""
    out = tmp_path_factory.mktemp("trained")
    run(cohort, out)
    return out


def test_the_agent_is_made_by_the_configuration(tiny_config: Config) -> None:
    settings = train.make_agent(tiny_config, [0.4, 0.2, 0.2, 0.2]).settings
    assert settings["scales_mpp"] == list(tiny_config.glimpse.scales_mpp)
    assert settings["classes"] == list(SLIDE_CLASSES)
    assert settings["prior"] == [0.4, 0.2, 0.2, 0.2]
    given = [settings[name] for name in ("glimpse_px", "overview_mpp", "cell_um", "features", "state", "context")]
    assert given == [16, 16.0, 128.0, 8, 8, 8]


def test_a_price_makes_a_stop_network(tiny_config: Config) -> None:
    priced = dataclasses.replace(tiny_config, train=dataclasses.replace(tiny_config.train, price=0.01))
    seeded(0)
    plain = train.make_agent(tiny_config, [0.25] * 4)
    seeded(0)
    stopping = train.make_agent(priced, [0.25] * 4)
    assert plain.stop_network is None
    assert stopping.stop_network is not None
    for one, other in zip(plain.weights, stopping.weights, strict=False):  # the others begin as they would
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_what_a_training_leaves(cohort: Any, trained: Path) -> None:
    rows = history(trained)
    assert [(row["phase"], row["epoch"]) for row in rows] == EPOCHS
    assert {p.name for p in trained.iterdir()} >= {"model.keras", "history.csv", "dropped.json", "tensorboard"}
    assert json.loads((trained / "dropped.json").read_text()) == {}
    assert not (trained / "checkpoint").exists()  # the next training begins anew
    agent = load_agent(trained / "model.keras")
    assert agent.settings["prior"] == pytest.approx([0.4, 0.2, 0.2, 0.2])
    for row in rows:
        assert float(row["loss"]) != 0
        assert bool(row["val_loss"]) == bool(row["entropy"]) == (row["phase"] == "attend")
        assert bool(row["glimpses_per_s"]) == (row["phase"] != "guide")


def test_the_model_is_that_of_the_best_epoch(cohort: Any, trained: Path, tmp_path: Path) -> None:
    session = Session(cohort.config, cohort.samples, cohort.fold, cohort.overviews, tmp_path)
    agent = load_agent(trained / "model.keras")
    agent.settings["temperature"] = 1.0  # it is fitted afterwards
    found = validate(session, agent, Roller(agent, session.sensor, "greedy"))["val_loss"]
    losses = [float(row["val_loss"]) for row in history(trained) if row["val_loss"]]
    assert found == pytest.approx(min(losses), rel=1e-4)


def killed(cohort: Any, out: Path, monkeypatch: pytest.MonkeyPatch, *, at: tuple[Any, str]) -> list[tuple[str, str]]:
    """Train until a function is called. Returns the epochs of the history."""

    def kill(*_: Any) -> None:
        raise KillError

    with monkeypatch.context() as patch, pytest.raises(KillError):
        patch.setattr(*at, kill)
        run(cohort, out)
    return [(row["phase"], row["epoch"]) for row in history(out)]


def test_the_temperature_is_that_of_the_kept_weights(
    cohort: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # steps so large that the answers are far from even
    bold = cohort.tuned(train={"guide_epochs": 0, "pretrain_epochs": 0, "learning_rate": 0.1})
    assert killed(bold, tmp_path / "out", monkeypatch, at=(train, "calibrate")) == EPOCHS[4:]
    assert not (tmp_path / "out" / "model.keras").exists()
    with monkeypatch.context() as patch:
        patch.setattr(Attend, "epoch", None)  # no epoch is repeated
        agent = run(bold, tmp_path / "out")
    session = Session(bold.config, bold.samples, bold.fold, bold.overviews, tmp_path)
    logits, labels, _ = answers(session, Roller(agent, session.sensor, "greedy"))
    assert agent.settings["temperature"] == fit_temperature(logits, labels, session.prior).temperature != 1


def test_test_slides_touch_neither_weights_nor_temperature(cohort: Any, trained: Path, tmp_path: Path) -> None:
    # were they opened, the training would end: there are no such slides
    tested = dataclasses.replace(cohort, fold=dataclasses.replace(cohort.fold, test=["ghost"], outside=["shade"]))
    agent, plain = run(tested, tmp_path), load_agent(trained / "model.keras")
    assert_equal(agent, plain)
    assert agent.settings == plain.settings


BEFORE_CHECKPOINT, AFTER_CHECKPOINT = (Checkpoint, "save"), (session_module, "log_scalars")


def test_killed_in_and_after_every_epoch_it_ends_in_the_same_model(
    cohort: Any, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for done in range(1, len(EPOCHS) + 1):
        if done == len(EPOCHS):  # here the best weights may already be those of the epoch that is lost
            assert killed(cohort, tmp_path, monkeypatch, at=BEFORE_CHECKPOINT) == EPOCHS[:-1]
        assert killed(cohort, tmp_path, monkeypatch, at=AFTER_CHECKPOINT) == EPOCHS[:done]
    assert_equal(run(cohort, tmp_path), load_agent(trained / "model.keras"))
    timed = {"seconds", "glimpses_per_s", "device_waited", "readers_waited"}
    for a, b in zip(history(tmp_path), history(trained), strict=True):
        assert {k: v for k, v in a.items() if k not in timed} == {k: v for k, v in b.items() if k not in timed}


def test_a_price_teaches_when_to_stop_and_nothing_else(
    cohort: Any, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stop, "epochs", 2)
    priced, stops = cohort.tuned(train={"price": 0.5}), [("stop", "1"), ("stop", "2")]
    agent, plain = run(priced, tmp_path / "whole"), load_agent(trained / "model.keras")
    rows = history(tmp_path / "whole")
    assert [(row["phase"], row["epoch"]) for row in rows] == EPOCHS + stops
    assert all(row["val_glimpses"] and row["mean_glimpses"] for row in rows[-2:])
    for one, other in zip(plain.weights, agent.weights, strict=False):
        np.testing.assert_array_equal(one.numpy(), other.numpy(), err_msg=one.path)
    assert agent.settings["temperature"] == plain.settings["temperature"]
    assert killed(priced, tmp_path / "killed", monkeypatch, at=(Stop, "epoch")) == EPOCHS
    for done in (1, 2):
        assert killed(priced, tmp_path / "killed", monkeypatch, at=AFTER_CHECKPOINT) == EPOCHS + stops[:done]
    assert_equal(run(priced, tmp_path / "killed"), agent)


def test_a_scout_is_taught_before_sight(cohort: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scouted = cohort.tuned(scout={"count": 2, "mpp": 16.0, "cells": 3}, train={"scout_epochs": 1})
    agent = run(scouted, tmp_path / "whole")
    phases = [*EPOCHS[:2], ("scouts", "1"), *EPOCHS[2:]]
    assert [(row["phase"], row["epoch"]) for row in history(tmp_path / "whole")] == phases
    assert agent.scout is not None
    assert (agent.scout.count, agent.scout.mpp, agent.scout.px, agent.scout.cells) == (2, 16.0, 24, 3)
    assert np.any(agent.scout.tumor.get_weights()[0])
    for done in (1, 2, 3, 4):
        assert killed(scouted, tmp_path / "killed", monkeypatch, at=AFTER_CHECKPOINT) == phases[:done]
    assert_equal(run(scouted, tmp_path / "killed"), agent)


def test_without_annotations_there_is_no_scout(cohort: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    plain = cohort.split(["neg_a", "neg_b"], []).relabelled("neg_b", "macro")
    caplog.set_level("INFO")
    agent = run(plain.tuned(scout={"count": 2, "mpp": 16.0, "cells": 3}, train={"epochs": 1}), tmp_path)
    assert "there is no scout: it needs" in caplog.text
    assert agent.scout is None


def test_without_annotations_sight_comes_first(
    cohort: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = cohort.split(["neg_a", "neg_b"], []).relabelled("neg_b", "macro")
    order = [*EPOCHS[2:4], *EPOCHS[:2], *EPOCHS[4:]]
    caplog.set_level("INFO")
    agent = run(plain, tmp_path / "whole")
    assert "no training slide has annotated lesions" in caplog.text
    assert "not pretrained" not in caplog.text
    assert [(row["phase"], row["epoch"]) for row in history(tmp_path / "whole")] == order
    assert [row["val_loss"] for row in history(tmp_path / "whole")[-2:]] == ["", ""]  # there is no validation slide
    assert agent.settings["temperature"] == 1.0
    for done in (1, 2, 3, 4, 5):
        assert killed(plain, tmp_path / "killed", monkeypatch, at=AFTER_CHECKPOINT) == order[:done]
    assert_equal(run(plain, tmp_path / "killed"), agent)


def test_without_annotations_or_a_contrast_all_learns_with_the_agent(
    cohort: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain = cohort.split(["neg_a", "neg_b"], []).relabelled("neg_b", "itc")
    caplog.set_level("INFO")
    agent = run(plain, tmp_path)
    assert "the glimpse network is not pretrained, it learns with the agent" in caplog.text
    assert [(row["phase"], row["epoch"]) for row in history(tmp_path)] == EPOCHS[4:]
    seeded(plain.config.train.seed)
    fresh = train.make_agent(plain.config, agent.settings["prior"])
    for layer, untrained in zip(agent.glimpse_network.sight, fresh.glimpse_network.sight, strict=True):
        assert not np.array_equal(layer.get_weights()[0], untrained.get_weights()[0])


def test_a_slide_that_cannot_be_read_is_left_out_and_named(
    with_unreadable: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cohort = with_unreadable("negative", "bad").split(["neg_a", "micro_a", "bad"], ["neg_v"])
    cohort = cohort.tuned(train={"guide_epochs": 0, "pretrain_epochs": 2, "epochs": 1})
    agent = run(cohort, tmp_path / "out")
    dropped = json.loads((tmp_path / "out" / "dropped.json").read_text())
    assert list(dropped) == ["bad"]
    assert "of level 1" in dropped["bad"]
    assert all(np.isfinite(w).all() for w in agent.get_weights())
    # a phase draws from the slides that it began with, also after a kill
    assert killed(cohort, tmp_path / "killed", monkeypatch, at=AFTER_CHECKPOINT) == [("glimpses", "1")]
    assert_equal(run(cohort, tmp_path / "killed"), agent)
    assert json.loads((tmp_path / "killed" / "dropped.json").read_text()) == dropped
