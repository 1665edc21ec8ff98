"""Stage 6: stage the patients, write the challenge's submission, and measure how good it is."""

import csv
import io
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foveate.errors import FoveateError
from foveate.files import write_json, write_text
from foveate.patients.evaluation import evaluate
from foveate.patients.posterior import SUM_TOLERANCE, kappa_stage
from foveate.patients.stages import PN_STAGES, SLIDE_CLASSES
from foveate.patients.staging import (
    POLICIES,
    Agents,
    PatientResult,
    SlidePrediction,
    SlideResult,
    stage_patients,
)
from foveate.stages.hdf5 import open_hdf5

log = logging.getLogger(__name__)

GROUP = "patient_agent"
"""Of a file of predictions: what the agent over all slides of a patient said."""

PREFIXES = {"learned": "", "random": "random_"}
"""What the prediction columns of slides.tsv begin with, by policy."""

SLIDE_COLUMNS = (
    "slide",
    "patient",
    "split",
    "label",
    "state",
    "temperature",
    *(
        f"{prefix}{name}"
        for prefix in PREFIXES.values()
        for name in ("prediction", *(f"{kind}{c}" for kind in ("p_", "uncalibrated_p_") for c in SLIDE_CLASSES))
    ),
)
"""The columns of slides.tsv that are read here."""

PATIENT_COLUMNS = (
    "patient",
    "split",
    "n_slides",
    "n_predicted",
    "state",
    "missing",
    "true_stage",
    "stage",
    "rule_stage",
    *(f"p_{stage}" for stage in PN_STAGES),
    "random_stage",
    "agent_stage",
    *(f"agent_p_{stage}" for stage in PN_STAGES),
    "agent_random_stage",
)

SPLITS = ("test", "cv", "val")
"""Held out of all training; of a cross-validation, each tested by the fold that did not see it; chosen by."""

STATES = ("ok", "failed", "excluded", "unused")


def run(
    slides_tsv: Path,
    samples: Mapping[str, str],
    out_patients: Path,
    out_submission: Path,
    out_metrics: Path,
    *,
    predictions: Sequence[Path] = (),
    bootstrap: int = 1000,
    seed: int = 0,
) -> None:
    """Read the slides' predictions and write patients.tsv, submission.csv and metrics.json.

    slides_tsv: as the prediction stage writes it; samples: patient to its label, a pN stage or "".
    predictions: the HDF5 files that it was made of, for what the patient agents say.
    bootstrap, seed: number of resamples of the confidence intervals, and where their draws start.

    A patient with a slide that failed is incomplete: it is listed with the names of the slides and no
    stage, a warning is logged, and it is not in the submission. metrics.json has, by `SPLITS`, "test" always
    and the others when there are such patients.

    Raises FoveateError when a file cannot be read or has a column or value that is missing or wrong.
    """
    patients = stage_patients(read_slides(slides_tsv), samples, agents=read_agents(predictions))
    for patient in patients:
        if not patient.complete:
            log.warning(
                "patient %s is incomplete and gets no stage: %d of %d slides predicted, failed: %s",
                patient.patient,
                patient.n_predicted,
                len(patient.slides),
                ", ".join(patient.missing) or "none",
            )
    write_text(out_patients, _table(PATIENT_COLUMNS, map(_patient_cells, patients), "\t"))
    write_text(out_submission, _table(("patient", "stage"), _submission(patients), ","))
    splits = {split: [p for p in patients if p.split == split] for split in SPLITS}
    write_json(
        out_metrics,
        {split: evaluate(members, bootstrap, seed) for split, members in splits.items() if members or split == "test"},
    )


def read_slides(path: Path) -> list[SlideResult]:
    """Read slides.tsv. Raises FoveateError naming the file, line and column of the first fault."""
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            reader = csv.DictReader(handle, delimiter="\t", restval="")
            absent = [column for column in SLIDE_COLUMNS if column not in (reader.fieldnames or ())]
            if absent:
                raise FoveateError(f"{path}:1: missing columns: {', '.join(absent)}")
            slides = [_slide(row, f"{path}:{reader.line_num}") for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FoveateError(f"{path}: cannot be read as a table: {error}") from error
    seen: set[str] = set()
    for slide in slides:
        if slide.slide in seen:
            raise FoveateError(f"{path}: slide: {slide.slide!r} stands in more than one row")
        seen.add(slide.slide)
    return slides


def read_agents(predictions: Sequence[Path]) -> Agents:
    """What patient agents say of the patients that each of them could look over: the mean of an ensemble's models."""
    said: dict[str, dict[str, list[NDArray[np.float64]]]] = {}
    failed: set[str] = set()
    for path in predictions:
        with open_hdf5(path) as file:
            group = file.get(GROUP)
            if group is None:
                continue
            failed |= set(group["failed"].attrs)
            for policy in POLICIES:
                if "patient" not in group[policy]:  # every patient has a slide that failed
                    continue
                rows = group[policy]["probabilities"][:].astype(np.float64)
                for patient, values in zip(group[policy]["patient"].asstr()[:].tolist(), rows, strict=True):
                    said.setdefault(patient, {}).setdefault(policy, []).append(values)
    return {
        patient: {policy: np.mean(values, axis=0) for policy, values in by_policy.items()}
        for patient, by_policy in said.items()
        if patient not in failed
    }


def _slide(row: Mapping[str, str], where: str) -> SlideResult:
    for column, allowed in (("state", STATES), ("label", (*SLIDE_CLASSES, ""))):
        _check(row[column], allowed, f"{where}: {column}")
    predictions = (
        {policy: _prediction(row, prefix, where) for policy, prefix in PREFIXES.items()} if row["state"] == "ok" else {}
    )
    return SlideResult(row["slide"], row["patient"], row["split"], row["label"], row["state"], predictions)


def _prediction(row: Mapping[str, str], prefix: str, where: str) -> SlidePrediction:
    _check(row[f"{prefix}prediction"], SLIDE_CLASSES, f"{where}: {prefix}prediction")
    probabilities, uncalibrated = (_distribution(row, f"{prefix}{kind}", where) for kind in ("p_", "uncalibrated_p_"))
    temperature = _number(row["temperature"])
    if not 0 < temperature < math.inf:
        raise FoveateError(f"{where}: temperature: {row['temperature']!r} is not a number above 0")
    return SlidePrediction(row[f"{prefix}prediction"], probabilities, uncalibrated, temperature)


def _distribution(row: Mapping[str, str], prefix: str, where: str) -> tuple[float, ...]:
    columns = [f"{prefix}{name}" for name in SLIDE_CLASSES]
    probabilities = tuple(_number(row[column]) for column in columns)
    for column, p in zip(columns, probabilities, strict=True):
        if not 0 <= p <= 1:
            raise FoveateError(f"{where}: {column}: {row[column]!r} is not a number from 0 to 1")
    if abs(sum(probabilities) - 1) > SUM_TOLERANCE:
        raise FoveateError(f"{where}: {columns[0]} to {columns[-1]}: sum to {sum(probabilities):g}, expected 1")
    return probabilities


def _number(text: str) -> float:
    """NaN for what is no number."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _check(value: str, allowed: tuple[str, ...], where: str) -> None:
    if value not in allowed:
        raise FoveateError(f"{where}: {value!r} is not one of {', '.join(filter(None, allowed))}")


def _patient_cells(patient: PatientResult) -> list[str]:
    learned, random = patient.stagings.get("learned"), patient.stagings.get("random")
    return [
        patient.patient,
        patient.split,
        str(len(patient.slides)),
        str(patient.n_predicted),
        "complete" if patient.complete else "incomplete",
        ",".join(patient.missing),
        patient.true_stage,
        learned.stage if learned else "",
        learned.rule_stage if learned else "",
        *([f"{p:.6f}" for p in learned.posterior] if learned else [""] * len(PN_STAGES)),
        random.stage if random else "",
        *_agent_cells(patient.agent),
    ]


def _agent_cells(agent: Mapping[str, NDArray[np.float64]]) -> list[str]:
    if not agent:
        return [""] * (len(PN_STAGES) + 2)
    return [kappa_stage(agent["learned"]), *(f"{p:.6f}" for p in agent["learned"]), kappa_stage(agent["random"])]


def _submission(patients: Sequence[PatientResult]) -> Iterable[Sequence[str]]:
    """Yield the rows of the CAMELYON17 form: a patient's archive with its stage, then its slides."""
    for patient in patients:
        if patient.complete:
            yield f"{patient.patient}.zip", patient.stagings["learned"].stage
            for slide in patient.slides:
                yield f"{slide.slide}.tif", slide.predictions["learned"].prediction


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], delimiter: str) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=delimiter, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return buffer.getvalue()
