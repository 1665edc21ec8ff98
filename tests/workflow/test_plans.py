"""Cohorts with a given model, and with folds."""

import dataclasses
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import h5py
import pytest

from foveate.config import read_config
from foveate.stages.plan import read_plan

from .conftest import Project
from .test_bad_slides import table
from .tiny_cohort import sheet_rows


def test_with_given_weights_nothing_is_trained_and_no_truth_is_needed(
    finished: Project, new_project: Callable[[Path], Project], tmp_path: Path
) -> None:
    project = new_project(tmp_path / "project")
    weights = finished.results / "train" / "split" / "model.keras"
    project.configure(predict={"weights": os.path.relpath(weights, project.folder)})
    kept = ("slide", "patient", "path", "label")
    rows = [{c: row[c] if c != "label" else "" for c in kept} for row in sheet_rows("data")[:3]]
    project.write_sheet(rows)
    assert "train" not in project.planned()

    project.finish()

    assert not (project.results / "train").exists()
    slides = table(project.results / "predictions" / "slides.tsv")
    assert {s: (row["state"], row["fold"], row["split"]) for s, row in slides.items()} == {
        row["slide"]: ("ok", "given", "") for row in rows
    }
    patients = table(project.results / "patients.tsv")
    assert {p: (row["state"], row["true_stage"]) for p, row in patients.items()} == {
        "p0": ("complete", ""),
        "p1": ("complete", ""),
    }
    assert all(row["stage"] for row in patients.values())
    metrics = json.loads((project.results / "metrics.json").read_text())["test"]["learned"]
    assert (metrics["n_patients"], metrics["n_slides"], metrics["kappa"]["value"]) == (0, 0, None)
    with h5py.File(project.results / "predictions" / "given" / "all.h5") as file:
        assert file["learned/glimpses"].shape == (3, 3, 3, 16, 16, 3)


def patients_of(batched: Mapping[str, list[str]], files: Iterable[str]) -> set[str]:
    """The patients whose overviews are among the inputs of a job."""
    names = [Path(file).stem for file in files if file.startswith("results/batches/overview/")]
    return {slide.partition("_")[0] for name in names for slide in batched[name]}


def test_folds_of_the_configuration_are_jobs_that_wait_for_no_other_and_get_no_tested_slide(
    new_project: Callable[[Path], Project], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = new_project(tmp_path / "project")
    planned = project.planned("--config", "folds=3")
    assert (planned["train"], planned["predict"], planned["slides"]) == (3, 3, 1)

    shown = project.finish("--dry-run", "--config", "folds=3")

    monkeypatch.chdir(project.folder)
    config = read_config("config/config.yaml", "tiny.yaml")
    batched = read_plan(dataclasses.replace(config, folds=3)).overview_batches
    tested = set()
    jobs = re.findall(
        r"^rule (train|predict):\n    input: (.+)\n(?:.*\n)*?    wildcards: fold=(\w+)(?:, batch=all)?$", shown, re.MULTILINE
    )
    inputs = {(rule, fold): set(files.split(", ")) for rule, files, fold in jobs}
    assert set(inputs) == {(rule, fold) for rule in ("train", "predict") for fold in "012"}
    for fold in "012":
        learned, predicted = inputs["train", fold], inputs["predict", fold]
        assert not any(file.startswith(("results/train", "results/predictions")) for file in learned)
        models = {f"results/train/{fold}/model.keras", f"results/train/{fold}/patient.keras"}
        assert {file for file in predicted if "/train/" in file} == models
        patients = [patients_of(batched, files) for files in (learned, predicted)]
        assert not patients[0] & patients[1]
        assert patients[0] | patients[1] == {f"p{k}" for k in range(6)}
        assert {"p3", "p4", "p5"} < patients[1]  # held out, and without a label: in no fold
        tested |= patients[1] - {"p3", "p4", "p5"}
    assert tested == {"p0", "p1", "p2"}


def test_every_patient_is_predicted_by_a_model_that_has_not_seen_it_and_who_was_held_out_by_all(
    new_project: Callable[[Path], Project], tmp_path: Path
) -> None:
    project = new_project(tmp_path / "project")
    project.configure(train={"guide_epochs": 0, "pretrain_epochs": 0, "epochs": 1}, glimpse={"count": 1})
    project.write_sheet([row | {"center": "A" if row["patient"] == "p0" else "B"} for row in sheet_rows("data")])

    project.finish("--config", "folds=center")

    assert sorted(p.name for p in (project.results / "train").iterdir()) == ["center_A", "center_B"]
    own = {"center_A": ["p0_a", "p0_b"], "center_B": ["p1_a", "p1_b", "p2_a"]}
    held_out, new = ["p3_a", "p3_b", "p4_a"], ["p5_a"]
    slides = table(project.results / "predictions" / "slides.tsv")
    assert {row["state"] for row in slides.values()} == {"ok"}
    assert {s: (row["fold"], row["split"]) for s, row in slides.items()} == {
        **{slide: (fold, "cv") for fold, tested in own.items() for slide in tested},
        **dict.fromkeys(held_out, ("ensemble", "test")),
        **dict.fromkeys(new, ("ensemble", "")),
    }
    sure = []
    for name, tested in own.items():
        with h5py.File(project.results / "predictions" / name / "all.h5") as file:
            group = file["learned"]
            seen = group["slide"].asstr()[:].tolist()
            assert sorted(seen) == [*tested, *held_out, *new]
            sure.append(group["probabilities"][seen.index("p5_a"), 0])
    assert abs(float(slides["p5_a"]["p_negative"]) - sum(sure) / 2) < 1e-6
    metrics = json.loads((project.results / "metrics.json").read_text())
    assert {split: both["learned"]["n_patients"] for split, both in metrics.items()} == {"test": 2, "cv": 3}
    page = (project.results / "report" / "index.html").read_text(encoding="utf-8")
    assert page.count("what the model of fold center_A saw and concluded") == 4
