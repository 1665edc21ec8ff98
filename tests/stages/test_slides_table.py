import csv
import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from foveate.cohort.folds import Fold
from foveate.cohort.samples import Sample
from foveate.errors import FoveateError
from foveate.stages.plan import Job, Plan
from foveate.stages.slides import COLUMNS, run, verdict

SAMPLES = [
    Sample("good", "p0", Path("good.tif"), "macro", split="test"),
    Sample("learned", "p1", Path("learned.tif"), "negative", split="train"),
    Sample("left_out", "p2", Path("left_out.tif"), "itc", split="val", exclude="blurred"),
    Sample("broken", "p3", Path("broken.tif"), "", split="test"),
    Sample("coarse", "p4", Path("coarse.tif"), "micro", split="test"),
    Sample("spoilt", "p5", Path("spoilt.tif"), "micro", split="train"),
]
LEARNED, RANDOM = [0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.1, 0.1]
UNCALIBRATED = [0.1, 0.9, 1.25e-9, 0]


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
        more = len(samples) > 2
        self.dropped.write_text(json.dumps({"spoilt": "a bad tile"} if more else {}))
        write_predictions(
            self.predictions, "split", {"good": (LEARNED, RANDOM)}, {"coarse": "too coarse"} if more else {}, 1.25
        )
        predicted = [s.slide for s in samples if s.split == "test" and not s.exclude]
        self.plan = Plan(samples, {"split": Job("split", None, predicted)})

    def rows(self) -> dict[str, dict[str, str]]:
        run(self.plan, self.statuses, [self.predictions], [self.dropped], self.table, self.summary)
        return read_table(self.table)


def write_predictions(
    path: Path,
    fold: str,
    slides: dict[str, tuple[list[float], list[float]]],
    failed: dict[str, str],
    temperature: float = 1.0,
    glimpses: int = 16,
) -> Path:
    """slides: to the probabilities of the learned and the random policy, which looks once less."""
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "w") as file:
        file.attrs.update(fold=fold, temperature=temperature)
        file.create_group("failed").attrs.update(failed)
        for k, policy in enumerate(("learned", "random")):
            group = file.create_group(policy)
            if slides:
                group.create_dataset("slide", data=list(slides), dtype=h5py.string_dtype())
                group["probabilities"] = np.array([both[k] for both in slides.values()], np.float32)
                group["looked"] = np.array([glimpses - k] * len(slides))
                group["uncalibrated"] = np.array([UNCALIBRATED] * len(slides), np.float32)
    return path


def read_table(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="") as file:
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
    assert (row["glimpses"], row["random_glimpses"]) == ("16", "15")
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


class Folds:
    """Two folds that test on a slide each; both predict the slide `out`, which is in none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        samples = [Sample(name, name, Path(f"{name}.tif"), "macro") for name in ("a", "b")]
        samples.append(Sample("out", "out", Path("out.tif"), "macro", split="test"))
        fold = [Fold(str(k), [ab[1 - k]], [], [ab[k]], ["out"]) for k, ab in enumerate(("ab", "ab"))]
        self.plan = Plan(samples, {f.name: Job(f.name, f, [*f.test, *f.outside]) for f in fold})
        (folder / "status").mkdir()
        for s in samples:
            (folder / "status" / f"{s.slide}.json").write_text('{"state": "ok", "reason": "", "remedy": ""}')
        self.sure, self.unsure = ([0.0, 0.0, 0.0, 1.0], RANDOM), ([0.4, 0.4, 0.2, 0.0], LEARNED)

    def rows(self, *predictions: Path) -> dict[str, dict[str, str]]:
        table = self.folder / "slides.tsv"
        run(self.plan, self.folder / "status", predictions, [], table, self.folder / "summary.txt")
        return read_table(table)

    def file(self, fold: str, *slides: str, **failed: str) -> Path:
        """Predictions: fold 0 is sure, fold 1 is not."""
        values = dict.fromkeys(slides, self.sure if fold == "0" else self.unsure)
        temperature, glimpses = (0.5, 4) if fold == "0" else (2.0, 9)
        return write_predictions(self.folder / f"{fold}.h5", fold, values, failed, temperature, glimpses)


def test_slides_in_no_fold_get_the_mean_of_all_folds(tmp_path: Path) -> None:
    folds = Folds(tmp_path)
    rows = folds.rows(folds.file("0", "out", "a"), folds.file("1", "b", "out"))
    names = ("negative", "itc", "micro", "macro")
    assert [rows["out"][f"p_{c}"] for c in names] == ["0.2", "0.2", "0.1", "0.5"]
    assert [rows["out"][f"random_p_{c}"] for c in names] == ["0.4", "0.15", "0.2", "0.25"]
    assert (rows["out"]["prediction"], rows["out"]["random_prediction"]) == ("macro", "negative")
    assert {slide: (row["fold"], row["split"], row["state"]) for slide, row in rows.items()} == {
        "a": ("0", "cv", "ok"),
        "b": ("1", "cv", "ok"),
        "out": ("ensemble", "test", "ok"),
    }
    assert [float(rows["out"][f"uncalibrated_p_{c}"]) for c in names] == pytest.approx(UNCALIBRATED, rel=1e-5)
    assert [rows[slide]["temperature"] for slide in ("a", "b", "out")] == ["0.5", "2", "1"]
    assert [rows[slide]["glimpses"] for slide in ("a", "b", "out")] == ["4", "9", "6.5"]
    assert float(rows["a"]["p_macro"]) == 1
    assert float(rows["b"]["p_macro"]) == 0


@pytest.mark.parametrize("bad", ["0", "1"])
def test_an_ensemble_of_which_one_failed_has_failed(tmp_path: Path, bad: str) -> None:
    folds = Folds(tmp_path)
    files = [
        folds.file(fold, own, out="a bad tile") if fold == bad else folds.file(fold, own, "out")
        for fold, own in zip("01", "ab", strict=True)
    ]
    row = folds.rows(*files)["out"]
    assert (row["state"], row["reason"]) == ("failed", f"a bad tile (predicted by fold {bad})")
    assert not any(row[column] for column in COLUMNS if "p_" in column or "prediction" in column or column == "fold")
    assert folds.rows(*files)["a"]["state"] == "ok"


@pytest.mark.parametrize("slides", [("a",), ("a", "out", "b"), ()])
def test_predictions_of_other_slides_than_planned_are_refused(tmp_path: Path, slides: tuple[str, ...]) -> None:
    """As of an earlier division into folds, in which the model may have learned from them."""
    folds = Folds(tmp_path)
    with pytest.raises(FoveateError, match=r"0\.h5: not of the slides that fold 0 predicts now"):
        folds.rows(folds.file("0", *slides), folds.file("1", "b", "out"))
