"""The whole run, and what runs again after what change."""

import dataclasses
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from .project import Project, copy_code
from .tiny_cohort import COHORT, sheet_rows

AFTER_PATIENTS = {"patients": 1, "page": 1, "complete": 1}
AFTER_SLIDES = {"slides": 1, **AFTER_PATIENTS}
AFTER_PREDICT = {"predict": 1, **AFTER_SLIDES}
BATCHES = 3  # of overviews, with four slides at most: p0 and p2, p1, and the slides that are only predicted
AFTER_TRAIN = {"train": 1, **AFTER_PREDICT}


def test_a_run_makes_every_result(finished: Project) -> None:
    results = finished.results
    for folder, suffix in (("overview", "h5"), ("status", "json"), ("thumbnails", "jpg"), ("tissue", "png")):
        assert {p.name for p in (results / folder).iterdir()} == {f"{s.slide}.{suffix}" for s in COHORT}
    assert (results / "complete.txt").read_text() == "9 slides: 5 ok, 4 unused\n"
    assert (results / "summary.txt").read_text() == (results / "complete.txt").read_text()
    assert (results / "report" / "index.html").stat().st_size > 10_000
    patients = [line.split("\t") for line in (results / "patients.tsv").read_text().splitlines()]
    assert [row[0] for row in patients[1:]] == ["p2", "p3", "p4", "p5"]
    assert (results / "train" / "split" / "patient.keras").exists()
    assert all(row[patients[0].index("agent_stage")].startswith("pN") for row in patients[1:])
    submission = (results / "submission.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in submission[:4]] == ["patient", "p2.zip", "p2_a.tif", "p3.zip"]
    metrics = json.loads((results / "metrics.json").read_text())
    for policy in ("learned", "random"):
        assert (metrics["test"][policy]["n_patients"], metrics["val"][policy]["n_patients"]) == (2, 1)


def test_a_second_run_has_nothing_to_do(project: Project) -> None:
    assert "Nothing to be done" in project.finish()


@pytest.mark.parametrize(
    ("deleted", "again"),
    [
        ("thumbnails/p0_a.jpg", {"pictures": 1}),
        ("patients.tsv", AFTER_PATIENTS),
        ("predictions/split/all.h5", AFTER_PREDICT),
        ("train/split/model.keras", AFTER_TRAIN),
        ("train/split/patient.keras", AFTER_TRAIN),
        ("overview/p0_a.h5", {"overview": 1, "pictures": 1, "qc": 1, **AFTER_TRAIN}),
    ],
)
def test_what_was_deleted_is_made_again_with_what_depends_on_it(
    project: Project, deleted: str, again: dict[str, int]
) -> None:
    (project.results / deleted).unlink()
    assert project.planned() == again


def test_a_deleted_thumbnail_is_made_again_the_same(project: Project) -> None:
    thumbnail, overview = project.results / "thumbnails" / "p0_a.jpg", project.results / "overview" / "p0_a.h5"
    before, made = thumbnail.read_bytes(), overview.stat().st_mtime_ns
    thumbnail.unlink()
    project.finish()
    assert (thumbnail.read_bytes(), overview.stat().st_mtime_ns) == (before, made)
    assert "Nothing to be done" in project.finish()


@pytest.mark.parametrize(
    ("slide", "column", "value", "again"),
    [
        ("p1_b", "label", "micro", AFTER_TRAIN),
        ("p4_a", "label", "itc", AFTER_SLIDES),
        ("p4_a", "exclude", "blurred", {"overview": 1, "pictures": 1, "qc": 1, **AFTER_PREDICT}),
        ("p3_a", "mpp", "1.9", {"overview": 1, "pictures": 1, "qc": 1, **AFTER_PREDICT}),
    ],
)
def test_a_changed_row_runs_again_what_it_matters_to(
    project: Project, slide: str, column: str, value: str, again: dict[str, int]
) -> None:
    rows = sheet_rows("data")
    next(row for row in rows if row["slide"] == slide)[column] = value
    project.write_sheet(rows)
    assert project.planned() == again


@pytest.mark.parametrize(
    ("source", "again"),
    [
        ("report/page.py", {"page": 1, "complete": 1}),
        ("patients/metrics.py", AFTER_PATIENTS),
        ("stages/train.py", AFTER_TRAIN),
        ("slides/tissue.py", {"overview": BATCHES, "pictures": BATCHES, "qc": 1, **AFTER_TRAIN}),
    ],
)
def test_an_edited_source_runs_again_the_stages_that_use_it(
    project: Project, tmp_path: Path, source: str, again: dict[str, int]
) -> None:
    code = copy_code(project.code, tmp_path / "code")
    project = dataclasses.replace(project, code=code)
    by_time = ("--rerun-triggers", "mtime")  # and not by name, because the code lies elsewhere
    assert project.planned(*by_time) == {}
    with (code / "src" / "foveate" / source).open("a") as file:
        file.write("# edited\n")
    assert project.planned(*by_time) == again


def test_an_encoder_counts_by_what_it_holds_and_not_by_its_time(project: Project) -> None:
    encoder = project.folder / "encoder.keras"
    encoder.write_bytes(bytes(2_000_000))  # of smaller files Snakemake compares what they hold by itself
    project.configure(model={"encoder": {"path": str(encoder)}})
    assert project.planned() == AFTER_TRAIN
    project.finish("--touch")
    os.utime(encoder)
    assert project.planned() == {}
    encoder.write_bytes(bytes(1_999_999) + b"1")
    assert project.planned() == AFTER_TRAIN


def test_snakemake_makes_a_report_of_the_run(project: Project, tmp_path: Path) -> None:
    project.finish("--report", str(tmp_path / "report.zip"))
    with zipfile.ZipFile(tmp_path / "report.zip") as made:
        names = {Path(name).name for name in made.namelist()}
        text = "".join(made.read(n).decode() for n in made.namelist() if n.endswith(("report.html", ".js")))
    assert {"patients.tsv", "submission.csv", "metrics.json", "history.csv"} <= names
    assert "posterior" in text  # of the captions


def test_the_workflow_passes_the_linters(project: Project) -> None:
    assert "Congratulations" in project.finish("--lint")
    snakefmt = Path(sys.executable).with_name("snakefmt")
    sources = [project.code / "Snakefile", project.code / "workflow"]
    assert subprocess.run([snakefmt, "--check", *sources], check=False).returncode == 0
