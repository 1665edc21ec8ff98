import csv
import json
import logging
import math
import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from foveate.errors import FoveateError
from foveate.patients.stages import PN_STAGES, SLIDE_CLASSES
from foveate.stages.patients import SLIDE_COLUMNS, read_slides, run

SHARED = os.environ.get("FOVEATE_SHARED")


def row(slide: str, label: str, predicted: str = "", **cells: str) -> dict[str, str]:
    """A row of slides.tsv; `predicted` is certain, at random it is negative; without `predicted`, failed."""
    probabilities = {
        f"{prefix}{kind}{name}": str(float(name == top))
        for prefix, top in (("", predicted), ("random_", "negative"))
        for kind in ("p_", "uncalibrated_p_")
        for name in SLIDE_CLASSES
    }
    predictions = {"temperature": "1.5", "prediction": predicted, "random_prediction": "negative"} | probabilities
    return {
        "slide": slide,
        "patient": slide.split("_node_")[0],
        "fold": "0",
        "split": "test",
        "label": label,
        "state": "ok" if predicted else "failed",
        "reason": "" if predicted else "cannot be opened",
        **(predictions if predicted else dict.fromkeys(predictions, "")),
        **cells,
    }


def write(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, rows[0].keys(), delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def stage(
    folder: Path, rows: list[dict[str, str]], samples: dict[str, str]
) -> tuple[list[dict[str, str]], list[str], dict[str, dict]]:
    """Run the stage; return the rows of patients.tsv, the lines of submission.csv, and metrics.json."""
    outputs = [folder / name for name in ("patients.tsv", "submission.csv", "metrics.json")]
    run(write(folder / "slides.tsv", rows), samples, *outputs, bootstrap=50)
    patients = list(csv.DictReader(outputs[0].read_text().splitlines(), delimiter="\t"))
    return patients, outputs[1].read_text().splitlines(), json.loads(outputs[2].read_text())


NO_AGENT = dict.fromkeys(("agent_stage", *(f"agent_p_{stage}" for stage in PN_STAGES), "agent_random_stage"), "")
ROWS = [
    row("patient_001_node_1", "macro", "macro"),
    row("patient_001_node_0", "negative", "negative"),
    row("patient_000_node_0", "itc", "negative"),
    row("patient_002_node_0", "macro", "macro"),
    row("patient_002_node_1", "negative"),
    row("patient_003_node_0", "macro", "", state="unused", split="train"),
    row("patient_004_node_0", "", "micro", split=""),
    row("patient_005_node_0", "micro", "micro", split="val"),
    row("patient_005_node_1", "macro", "", split="val", state="excluded", reason="duplicate"),
]


def test_patients_table(tmp_path: Path) -> None:
    patients, _, _ = stage(tmp_path, ROWS, {"patient_000": "pN0(i+)", "patient_004": ""})
    assert patients[1] == {
        "patient": "patient_001",
        "split": "test",
        "n_slides": "2",
        "n_predicted": "2",
        "state": "complete",
        "missing": "",
        "true_stage": "pN1",
        "stage": "pN1",
        "rule_stage": "pN1",
        "p_pN0": "0.000000",
        "p_pN0(i+)": "0.000000",
        "p_pN1mi": "0.000000",
        "p_pN1": "1.000000",
        "p_pN2": "0.000000",
        "random_stage": "pN0",
        **NO_AGENT,
    }
    assert [(p["patient"], p["true_stage"], p["stage"], p["n_slides"]) for p in patients] == [
        ("patient_000", "pN0(i+)", "pN0", "1"),
        ("patient_001", "pN1", "pN1", "2"),
        ("patient_002", "pN1", "", "2"),
        ("patient_004", "", "pN1mi", "1"),
        ("patient_005", "pN1mi", "pN1mi", "1"),
    ]


def test_the_posterior_is_of_the_calibrated_probabilities(tmp_path: Path) -> None:
    unsure = {"p_negative": "0.75", "p_macro": "0.25", "uncalibrated_p_negative": "0.5", "uncalibrated_p_macro": "0.5"}
    (patient,), _, metrics = stage(tmp_path, [row("a_node_0", "macro", "negative") | unsure], {})
    assert (patient["p_pN0"], patient["p_pN1"]) == ("0.750000", "0.250000")
    calibration = metrics["test"]["learned"]["calibration"]
    loss = [calibration[kind]["negative_log_likelihood"]["value"] for kind in ("calibrated", "uncalibrated")]
    assert loss == pytest.approx([math.log(4), math.log(2)])


def test_incomplete_patient_is_never_staged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        patients, submission, _ = stage(tmp_path, ROWS, {})
    assert caplog.messages == [
        "patient patient_002 is incomplete and gets no stage: 1 of 2 slides predicted, failed: patient_002_node_1"
    ]
    incomplete = patients[2]
    assert (incomplete["state"], incomplete["missing"]) == ("incomplete", "patient_002_node_1")
    after_truth = list(incomplete.values())[list(incomplete).index("true_stage") + 1 :]
    assert after_truth == [""] * (8 + len(NO_AGENT))
    assert not any("patient_002" in line for line in submission)


def test_submission_has_the_form_of_the_challenge(tmp_path: Path) -> None:
    _, submission, _ = stage(tmp_path, ROWS, {})
    assert submission == [
        "patient,stage",
        "patient_000.zip,pN0",
        "patient_000_node_0.tif,negative",
        "patient_001.zip,pN1",
        "patient_001_node_0.tif,negative",
        "patient_001_node_1.tif,macro",
        "patient_004.zip,pN1mi",
        "patient_004_node_0.tif,micro",
        "patient_005.zip,pN1mi",
        "patient_005_node_0.tif,micro",
    ]


def test_metrics_by_split(tmp_path: Path) -> None:
    _, _, metrics = stage(tmp_path, ROWS, {})
    assert metrics.keys() == {"test", "val"}
    learned = metrics["test"]["learned"]
    assert (learned["n_patients"], learned["n_slides"]) == (2, 4)
    assert learned["slide_accuracy"]["value"] == 0.75
    assert learned["calibration"]["temperatures"] == [1.5]
    assert metrics["test"]["random"]["slide_accuracy"]["value"] == 0.25
    assert metrics["val"]["learned"]["patient_accuracy"]["value"] == 1.0
    assert metrics["val"]["learned"]["kappa"]["value"] is None


def test_a_cross_validation_is_measured_apart(tmp_path: Path) -> None:
    rows = [{**r, "split": "cv"} if r["patient"] == "patient_000" else r for r in ROWS]
    _, _, metrics = stage(tmp_path, rows, {})
    assert metrics.keys() == {"test", "cv", "val"}
    assert (metrics["test"]["learned"]["n_slides"], metrics["cv"]["learned"]["n_slides"]) == (3, 1)
    assert metrics["cv"]["learned"]["slide_accuracy"]["value"] == 0.0


def test_no_ground_truth(tmp_path: Path) -> None:
    rows = [row("patient_000_node_0", "", "micro", split="")]
    patients, _, metrics = stage(tmp_path, rows, {})
    assert patients[0]["stage"] == "pN1mi"
    assert metrics.keys() == {"test"}
    assert metrics["test"]["learned"]["n_patients"] == metrics["test"]["learned"]["n_slides"] == 0


def test_header_only(tmp_path: Path) -> None:
    slides = tmp_path / "slides.tsv"
    slides.write_text("\t".join(SLIDE_COLUMNS) + "\n")
    run(slides, {}, *(tmp_path / name for name in "abc"), bootstrap=5)
    assert (tmp_path / "a").read_text().startswith("patient\tsplit\t")
    assert (tmp_path / "b").read_text() == "patient,stage\n"


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"state": "fine"}, r"slides\.tsv:3: state: 'fine' is not one of ok, failed, excluded, unused"),
        ({"label": "makro"}, r"slides\.tsv:3: label: 'makro' is not one of negative, itc, micro, macro"),
        ({"prediction": ""}, r"slides\.tsv:3: prediction: '' is not one of negative"),
        ({"random_p_itc": "?"}, r"slides\.tsv:3: random_p_itc: '\?' is not a number from 0 to 1"),
        ({"p_micro": "nan"}, r"slides\.tsv:3: p_micro: 'nan' is not a number from 0 to 1"),
        ({"p_micro": "0.5"}, r"slides\.tsv:3: p_negative to p_macro: sum to 1\.5, expected 1"),
        ({"uncalibrated_p_itc": "2"}, r"slides\.tsv:3: uncalibrated_p_itc: '2' is not a number from 0 to 1"),
        ({"temperature": ""}, r"slides\.tsv:3: temperature: '' is not a number above 0"),
        ({"temperature": "0"}, r"slides\.tsv:3: temperature: '0' is not a number above 0"),
        ({"temperature": "inf"}, r"slides\.tsv:3: temperature: 'inf' is not a number above 0"),
        ({"slide": "a_node_0"}, r"slides\.tsv: slide: 'a_node_0' stands in more than one row"),
    ],
)
def test_faults_are_named(tmp_path: Path, cells: dict[str, str], message: str) -> None:
    rows = [row("a_node_0", "", "itc"), row("a_node_1", "", "macro") | cells]
    with pytest.raises(FoveateError, match=message):
        read_slides(write(tmp_path / "slides.tsv", rows))


def test_missing_columns(tmp_path: Path) -> None:
    rows = [row("a_node_0", "", "itc")]
    del rows[0]["random_p_itc"], rows[0]["patient"]
    with pytest.raises(FoveateError, match=r"slides\.tsv:1: missing columns: patient, random_p_itc$"):
        read_slides(write(tmp_path / "slides.tsv", rows))


@pytest.mark.parametrize("content", [None, b"slide\xff\n"])
def test_unreadable_file(tmp_path: Path, content: bytes | None) -> None:
    slides = tmp_path / "slides.tsv"
    if content is not None:
        slides.write_bytes(content)
    with pytest.raises(FoveateError, match=r"slides\.tsv: cannot be read as a table"):
        read_slides(slides)


def camelyon17_rows() -> Iterable[dict[str, str]]:
    with (Path(str(SHARED)) / "data" / "camelyon17_stages.csv").open(newline="") as handle:
        for line in csv.DictReader(handle):
            if line["patient"].endswith(".tif"):
                yield row(line["patient"].removesuffix(".tif"), line["stage"], line["stage"])


@pytest.mark.skipif(not SHARED, reason="FOVEATE_SHARED is not set")
def test_submission_of_the_truth_is_the_truth_of_camelyon17(tmp_path: Path) -> None:
    _, submission, metrics = stage(tmp_path, list(camelyon17_rows()), {})
    truth = (Path(str(SHARED)) / "data" / "camelyon17_stages.csv").read_text().splitlines()
    assert submission == [line.rsplit(",", 1)[0] for line in truth]
    assert metrics["test"]["learned"]["kappa"]["value"] == 1.0
