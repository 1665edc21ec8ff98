import csv
import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from foveate.cohort.samples import Sample
from foveate.errors import FoveateError
from foveate.stages.plan import Plan
from foveate.stages.slides import COLUMNS, run, verdict

SAMPLES = [
    Sample("good", "p0", Path("good.tif"), "macro", split="test"),
    Sample("learned", "p1", Path("learned.tif"), "negative", split="train"),
    Sample("left_out", "p2", Path("left_out.tif"), "itc", split="val", exclude="blurred"),
    Sample("broken", "p3", Path("broken.tif"), "", fold=2),
    Sample("coarse", "p4", Path("coarse.tif"), "micro", split="test"),
    Sample("spoilt", "p5", Path("spoilt.tif"), "micro", split="train"),
]
LEARNED = np.array([[0.1, 0.2, 0.3, 0.4]], np.float32)
RANDOM = np.array([[0.7, 0.1, 0.1, 0.1]], np.float32)
UNCALIBRATED = np.array([[0.1, 0.9, 1.25e-9, 0]], np.float32)


class Run:
    """A results folder with all that the table is made of."""

    def __init__(self, folder: Path, samples: list[Sample] = SAMPLES) -> None:
        self.statuses, self.table = folder / "status", folder / "predictions" / "slides.tsv"
        self.predictions, self.dropped = folder / "predictions" / "split.h5", folder / "dropped.json"
        self.summary, self.samples = folder / "summary.txt", samples
        self.statuses.mkdir(parents=True)
        for s in samples:
            bad = s.slide == "broken"
            status = {"state": "failed", "reason": "cut short", "remedy": "copy the file again"}
            ok = {"state": "ok", "reason": "", "remedy": ""}
            (self.statuses / f"{s.slide}.json").write_text(json.dumps(status if bad else ok))
        self.dropped.write_text(json.dumps({"spoilt": "a bad tile"} if len(samples) > 2 else {}))
        self.predictions.parent.mkdir()
        with h5py.File(self.predictions, "w") as file:
            file.attrs.update(fold="split", temperature=1.25)
            file.create_group("failed").attrs.update({"coarse": "too coarse"} if len(samples) > 2 else {})
            for policy, probabilities in (("learned", LEARNED), ("random", RANDOM)):
                group = file.create_group(policy)
                group.create_dataset("slide", data=["good"], dtype=h5py.string_dtype())
                group["probabilities"] = probabilities
                group["uncalibrated"] = UNCALIBRATED

    def rows(self) -> dict[str, dict[str, str]]:
        run(Plan(self.samples, {}), self.statuses, [self.predictions], [self.dropped], self.table, self.summary)
        with self.table.open(newline="") as file:
            return {row["slide"]: row for row in csv.DictReader(file, delimiter="\t")}


@pytest.fixture
def cohort(tmp_path: Path) -> Run:
    return Run(tmp_path)


def test_every_row_of_the_sheet_has_a_state(cohort: Run) -> None:
    rows = cohort.rows()
    assert list(rows) == [s.slide for s in SAMPLES]
    assert {slide: (row["state"], row["reason"]) for slide, row in rows.items()} == {
        "good": ("ok", ""),
        "learned": ("unused", ""),
        "left_out": ("excluded", "blurred"),
        "broken": ("failed", "cut short"),
        "coarse": ("failed", "too coarse"),
        "spoilt": ("failed", "a bad tile"),
    }
    assert [row["split"] for row in rows.values()] == ["test", "train", "val", "test", "test", "train"]


def test_probabilities_of_both_policies(cohort: Run) -> None:
    row = cohort.rows()["good"]
    assert tuple(row) == COLUMNS
    assert (row["fold"], row["patient"], row["label"], row["temperature"]) == ("split", "p0", "macro", "1.25")
    assert [row[f"p_{c}"] for c in ("negative", "itc", "micro", "macro")] == [
        "0.1", "0.2", "0.3", "0.4",
    ]  # fmt: skip
    assert [row[f"random_uncalibrated_p_{c}"] for c in ("negative", "itc", "micro", "macro")] == [
        "0.1", "0.9", "1.25e-09", "0",
    ]  # fmt: skip
    assert (row["prediction"], row["random_prediction"]) == ("macro", "negative")
    assert float(row["random_p_negative"]) == pytest.approx(0.7)


def test_what_was_not_predicted_has_no_probabilities(cohort: Run) -> None:
    rows = cohort.rows()
    for slide in ("learned", "left_out", "broken", "coarse", "spoilt"):
        assert not any(rows[slide][column] for column in COLUMNS if "p_" in column or "prediction" in column)


def test_the_summary_names_each_failure_and_a_way_out(cohort: Run) -> None:
    cohort.rows()
    lines = cohort.summary.read_text().splitlines()
    assert lines[0] == "6 slides: 1 ok, 1 unused, 1 excluded, 3 failed"
    assert lines[1:3] == ["FAILED broken (patient p3): cut short", "       copy the file again"]
    assert lines[3] == "FAILED coarse (patient p4): too coarse"
    assert "exclude column" in lines[4]
    assert len(lines) == 7


def test_the_verdict_of_a_run_with_failures_is_an_error(cohort: Run) -> None:
    cohort.rows()
    with pytest.raises(FoveateError, match=r"(?s)FAILED broken .*FAILED coarse .*Everything else was finished"):
        verdict(cohort.table, cohort.summary)


def test_the_verdict_of_a_run_without_failures_is_its_summary(tmp_path: Path) -> None:
    cohort = Run(tmp_path, SAMPLES[:2])
    cohort.rows()
    assert verdict(cohort.table, cohort.summary) == "2 slides: 1 ok, 1 unused\n"


def test_a_prediction_counts_more_than_a_failure_in_training(tmp_path: Path) -> None:
    cohort = Run(tmp_path, SAMPLES[:2])
    cohort.dropped.write_text(json.dumps({"good": "a bad tile"}))
    assert cohort.rows()["good"]["state"] == "ok"


@pytest.mark.parametrize("absent", ["status/good.json", "dropped.json", "predictions/split.h5"])
def test_a_stage_that_has_not_run_is_an_error_with_the_file(cohort: Run, tmp_path: Path, absent: str) -> None:
    (tmp_path / absent).unlink()
    with pytest.raises(FoveateError, match=f"{absent}: cannot be read"):
        cohort.rows()
    assert not cohort.table.exists()
