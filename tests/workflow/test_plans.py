"""Cohorts with a given model, and with folds."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import h5py

from .conftest import Project
from .test_bad_slides import table
from .tiny_cohort import COHORT, sheet_rows


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
    with h5py.File(project.results / "predictions" / "given.h5") as file:
        assert file["learned/glimpses"].shape == (3, 3, 3, 16, 16, 3)


def test_with_folds_every_labelled_slide_is_predicted_by_a_model_that_has_not_seen_it(
    new_project: Callable[[Path], Project], tmp_path: Path
) -> None:
    project = new_project(tmp_path / "project")
    project.configure(train={"guide_epochs": 0, "pretrain_epochs": 0, "epochs": 1}, glimpse={"count": 1})
    fold = {"p0": "0", "p1": "1", "p2": "2", "p4": "2"}
    rows = sheet_rows("data", (s for s in COHORT if s.patient != "p3"))
    project.write_sheet([row | {"split": "", "fold": fold.get(row["patient"], "")} for row in rows])

    project.finish()

    assert sorted(p.name for p in (project.results / "train").iterdir()) == ["0", "1", "2"]
    slides = table(project.results / "predictions" / "slides.tsv")
    assert len(slides) == len(rows)
    for row in slides.values():
        assert (row["state"], row["fold"]) == ("ok", fold.get(row["patient"], "0"))
        assert row["split"] == ("test" if row["patient"] in fold else "")
    seen = []
    for name in "012":
        with h5py.File(project.results / "predictions" / f"{name}.h5") as file:
            seen += file["learned/slide"].asstr()[:].tolist()
    assert sorted(seen) == sorted(slides)
    metrics = json.loads((project.results / "metrics.json").read_text())
    assert metrics["test"]["learned"]["n_patients"] == 4
    assert "val" not in metrics
