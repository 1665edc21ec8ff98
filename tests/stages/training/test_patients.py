import csv
import dataclasses
import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from foveate.attention.patient_agent import PatientAgent
from foveate.cohort.samples import Sample
from foveate.errors import SlideError
from foveate.patients.posterior import stage_posterior
from foveate.patients.prior import Dependence, LabelledPatient
from foveate.stages import train
from foveate.stages.batch import make_batch
from foveate.stages.determinism import seeded
from foveate.stages.rollout import Roller, side_by_side
from foveate.stages.train import make_agent, make_patient_agent
from foveate.stages.training import session as session_module
from foveate.stages.training.checkpoint import Checkpoint
from foveate.stages.training.patients import BEST, Patients, stage_factors, true_stages
from foveate.stages.training.session import Session
from foveate.stages.training.stop import Stop

pytestmark = pytest.mark.usefixtures("eager")


class KillError(Exception):
    """The process ends here."""


def start(cohort: Any, out: Path) -> tuple[Session, Patients]:
    session = Session(cohort.config, cohort.samples, cohort.fold, cohort.overviews, out)
    seeded(cohort.config.train.seed)
    agent = make_patient_agent(make_agent(cohort.config, session.prior), [1.0] * 5)
    return session, Patients(session, agent)


def sample(slide: str, label: str, patient_label: str = "") -> Sample:
    return Sample(slide, slide[0], Path(slide), label, patient_label=patient_label)


def test_stages_are_given_or_follow_from_the_slides(caplog: pytest.LogCaptureFixture) -> None:
    rows = [
        *(sample("a_0", "negative"), sample("a_1", "macro")),
        *(sample("b_0", "itc", "pN0(i+)"), sample("b_1", "negative", "pN0(i+)")),
        *(sample("c_0", "negative", "pN2"), sample("c_1", "macro", "pN2")),
        *(sample("d_0", "negative"), sample("d_1", "")),
    ]
    with caplog.at_level(logging.WARNING):
        assert true_stages(rows) == {"a": 3, "b": 1}
    assert "does not learn from c: labels" in caplog.text


def test_a_validation_slide_that_is_dropped_changes_no_shape_after_a_resume(cohort: Any, tmp_path: Path) -> None:
    train = {name: [name] for name in cohort.fold.train}
    own = cohort.of_patients(**train, v=["neg_v", "micro_v"])
    session, patients = start(own, tmp_path)
    session.drop(SlideError("micro_v", "a tile cannot be decoded", "scan again"))
    assert (patients._most, Patients(session, patients._agent)._most) == (2, 2)


def test_factors_of_the_patients_whose_stage_is_known() -> None:
    rows = [
        *(sample("a_0", "negative"), sample("a_1", "negative")),
        *(sample("b_0", "macro", "pN1"), sample("b_1", "macro", "pN1")),
        *(sample("c_0", "negative"), sample("c_1", "")),
    ]
    known = {
        "a": LabelledPatient("pN0", ("negative", "negative")),
        "b": LabelledPatient("pN1", ("macro", "macro")),
    }
    assert stage_factors(rows) == Dependence(known).factors().tolist()


def test_an_untrained_rollout_is_that_of_each_slide_and_the_posterior(patients: Any, tmp_path: Path) -> None:
    session, phase = start(patients, tmp_path)
    own = phase._complete(session.val)["v"]
    agent = phase._agent
    batch = make_batch(own, session.shape, session.config.tissue.cell_share)
    alone = Roller(agent.slides, session.sensor, "greedy").run(batch, 2)
    (one,) = side_by_side([phase._rollers["greedy"].turns(phase._batch([own]))])
    assert one.picked.tolist() == [[0, 1, 0, 1]]
    for slide in range(2):
        np.testing.assert_array_equal(one.location_um[0, one.picked[0] == slide], alone.location_um[slide])
    said = ops.convert_to_numpy(agent.slides.probabilities(alone.logits[:, -1]))
    np.testing.assert_allclose(np.exp(one.answer[0, -1]), stage_posterior(said), atol=1e-5)


def test_batches_hold_every_training_patient(patients: Any, tmp_path: Path) -> None:
    session, phase = start(patients, tmp_path)
    batches = phase._batches(np.random.default_rng(0))
    assert [len(batch) for batch in batches] == [2, 2]
    counts = Counter(session.samples[own[0].slide].patient for batch in batches for own in batch)
    assert set(counts) == {"a", "b", "c"}
    assert {o.slide for batch in batches for own in batch for o in own} == set(patients.fold.train)
    session.drop(SlideError("neg_a", "a reason"))
    rest = [own[0].slide for batch in phase._batches(np.random.default_rng(0)) for own in batch]
    assert set(rest) == {"neg_b", "neg_c"}


def test_an_epoch(patients: Any, tmp_path: Path) -> None:
    phase = start(patients, tmp_path)[1]
    agent, before = phase._agent, {v.path: v.numpy() for v in phase._agent.weights}
    figures = phase.epoch(0)
    parts = {"cross_entropy", "reinforce", "entropy", "reward", "accuracy"}
    assert set(figures) == {"loss", *parts, "val_loss", "val_accuracy", "learning_rate", "glimpses", "waited_s"}
    assert all(np.isfinite(value) for value in figures.values())
    assert figures["glimpses"] == 4 * 2 * 2 * 2  # patients drawn, copies, slides, glimpses
    changed = {v.path for v in agent.weights if not np.array_equal(v.numpy(), before[v.path])}
    assert changed <= {v.path for v in agent.trainable_variables}
    assert any("picker" in path for path in changed)
    assert any("correction" in path for path in changed)
    assert any("query" in path for path in changed)


def test_what_learned_nothing_is_a_candidate(patients: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session, phase = start(patients, tmp_path)
    kept = tmp_path / "checkpoint" / BEST
    untrained, losses = kept.read_bytes(), iter([0.7, 0.9, 0.6])
    monkeypatch.setattr(phase, "_validate", lambda: {"val_loss": next(losses)})
    phase.epoch(0)
    assert (session.state.best, kept.read_bytes()) == (0.7, untrained)
    phase.epoch(1)
    assert session.state.best == 0.6
    assert kept.read_bytes() != untrained


def test_validation_is_the_cross_entropy_of_the_last_answer(patients: Any, tmp_path: Path) -> None:
    _, phase = start(patients, tmp_path)
    layer = phase._agent.correction.layers[-1]
    layer.set_weights([np.zeros(layer.kernel.shape), np.array([0, 0, 0, 40, 0])])  # pN1, and v is pN1mi
    found = phase._validate()
    assert found["val_accuracy"] == 0
    assert found["val_loss"] > 20
    layer.set_weights([np.zeros(layer.kernel.shape), np.array([0, 0, 60, 0, 0])])
    assert phase._validate() == {"val_loss": pytest.approx(0, abs=1e-3), "val_accuracy": 1}


def test_a_patient_with_a_slide_that_cannot_be_read_does_not_count(
    with_unreadable: Callable[..., Any], tmp_path: Path
) -> None:
    cohort = with_unreadable("negative", "bad").of_patients(a=["neg_a", "macro_a"], b=["neg_b", "bad"])
    cohort = cohort.split(["neg_a", "macro_a", "neg_b", "bad"], [])
    cohort = dataclasses.replace(cohort, samples=[s for s in cohort.samples if s.slide in cohort.fold.train])
    session, phase = start(cohort, tmp_path / "out")
    assert np.isfinite(phase.epoch(0)["loss"])
    assert list(session.state.dropped) == ["bad"]
    assert {o.slide for batch in phase._batches(np.random.default_rng(0)) for own in batch for o in own} == {
        "neg_a",
        "macro_a",
    }


def test_patients_of_one_stage_teach_nothing(patients: Any, tmp_path: Path) -> None:
    same = patients.of_patients(a=["macro_a", "micro_a"], b=["neg_a"], c=["neg_b"])
    session, phase = start(same.split(["neg_a", "neg_b", "itc_a"], []), tmp_path)
    assert (phase.epochs, session.state.dropped) == (0, {})
    assert (tmp_path / "checkpoint" / BEST).exists()


def run(cohort: Any, out: Path) -> PatientAgent:
    train.run(cohort.config, cohort.samples, cohort.fold, cohort.overviews, out)
    return keras.saving.load_model(out / "patient.keras", compile=False)


def test_killed_in_and_after_every_epoch_it_ends_in_the_same_model(
    patients: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = patients.tuned(train={"guide_epochs": 0, "pretrain_epochs": 0, "epochs": 1})
    whole = run(quick, tmp_path / "whole")
    assert not (tmp_path / "whole" / "checkpoint").exists()

    def kill(*_: Any) -> None:
        raise KillError

    after = [(session_module, "log_scalars")] * 2  # of each epoch
    for at in [(Patients, "epoch"), (Checkpoint, "save"), *after, (train, "write_history")]:
        with monkeypatch.context() as patch, pytest.raises(KillError):
            patch.setattr(*at, kill)
            run(quick, tmp_path / "killed")
    again = run(quick, tmp_path / "killed")
    for a, b in zip(whole.weights, again.weights, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy(), err_msg=a.path)
    assert again.slides.settings == whole.slides.settings
    with (tmp_path / "killed" / "history.csv").open(newline="") as file:
        rows = [(row["phase"], row["epoch"]) for row in csv.DictReader(file)]
    assert rows == [("attend", "1"), ("patients", "1"), ("patients", "2")]
    slides = keras.saving.load_model(tmp_path / "killed" / "model.keras", compile=False)
    for a, b in zip(slides.core.weights, again.slides.core.weights, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_it_begins_with_an_agent_that_learned_to_stop(
    patients: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stop, "epochs", 1)
    agent = run(patients.tuned(train={"guide_epochs": 0, "pretrain_epochs": 0, "epochs": 1, "price": 0.5}), tmp_path)
    slides = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    for a, b in zip(slides.stop_network.weights, agent.slides.stop_network.weights, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    with (tmp_path / "history.csv").open(newline="") as file:
        assert [row["phase"] for row in csv.DictReader(file)] == ["attend", "stop", "patients", "patients"]


def test_it_can_be_switched_off(patients: Any, tmp_path: Path) -> None:
    quick = patients.tuned(train={"guide_epochs": 0, "pretrain_epochs": 0, "epochs": 1}, patient_agent={"epochs": 0})
    train.run(quick.config, quick.samples, quick.fold, quick.overviews, tmp_path)
    assert (tmp_path / "model.keras").exists()
    assert not (tmp_path / "patient.keras").exists()
