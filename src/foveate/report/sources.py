"""What the report reads: tables, status files and predictions, these one slide at a time."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from foveate.errors import FoveateError
from foveate.patients.stages import PN_STAGES, SLIDE_CLASSES

VERDICT_COLUMNS = ("prediction", *(f"p_{name}" for name in SLIDE_CLASSES))
SLIDE_COLUMNS = (
    *("slide", "patient", "fold", "split", "label", "state", "reason"),
    *(f"{prefix}{name}" for prefix in ("", "random_") for name in VERDICT_COLUMNS),
)
SLIDE_STATES = ("ok", "failed", "excluded", "unused")
PATIENT_COLUMNS = (
    *("patient", "split", "state", "missing", "true_stage", "stage", "rule_stage", "random_stage", "agent_stage"),
    *(f"p_{stage}" for stage in PN_STAGES),
)


@dataclass(frozen=True)
class Verdict:
    """The class predicted for a slide and the probabilities of `SLIDE_CLASSES`."""

    prediction: str
    probabilities: tuple[float, ...]


@dataclass(frozen=True)
class SlideRow:
    """A row of slides.tsv. learned, random: by policy; None when the slide was not predicted."""

    slide: str
    patient: str
    fold: str
    split: str
    label: str
    state: str
    reason: str
    learned: Verdict | None
    random: Verdict | None


@dataclass(frozen=True)
class PatientRow:
    """A row of patients.tsv. missing: slides that failed; posterior: over `PN_STAGES`, () when incomplete."""

    patient: str
    split: str
    state: str
    missing: tuple[str, ...]
    true_stage: str
    stage: str
    rule_stage: str
    random_stage: str
    agent_stage: str
    posterior: tuple[float, ...]


@dataclass(frozen=True)
class Fixations:
    """Where the learned policy looked on one slide, and what it saw and concluded, until it stopped.

    running: (T, 4); location_um, location_l0: (T, 2) glimpse centres (x, y); policy_probability: (T,);
    glimpses: (T, S, g, g, 3), the finest scale first; scales_mpp: (S,); fold: whose model looked; budget: the most
    fixations that it could make, T where it did not stop; scouted_um: (K, 2) middles (x, y) of the squares that a scout
    went over before, of which scouted_side_um is the side.
    """

    running: NDArray[np.float32]
    location_um: NDArray[np.float32]
    location_l0: NDArray[np.float64]
    policy_probability: NDArray[np.float32]
    glimpses: NDArray[np.uint8]
    scales_mpp: tuple[float, ...]
    fold: str
    budget: int
    scouted_um: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 2), np.float32))
    scouted_side_um: float = 0.0

    @property
    def glimpse_px(self) -> int:
        """Side of a glimpse in pixels."""
        return self.glimpses.shape[2]


@dataclass(frozen=True)
class Attention:
    """Where the learned policy wanted to look on one slide.

    cell: (N, 2) the tissue cells, row and column on the overview's grid; peak: (N,) the highest probability that the
    policy gave each before any of the fixations.
    """

    cell: NDArray[np.int32]
    peak: NDArray[np.float32]


@dataclass(frozen=True)
class Model:
    """One fold's weights and how they look at a slide."""

    fold: str
    weights_sha256: str
    scales_mpp: tuple[float, ...]
    glimpse_px: int
    n_glimpses: int


class Predictions:
    """The prediction files of all folds; the pixels of a slide are read when it is asked for.

    Of a slide that stands in two files of a fold, the later file counts.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.models: list[Model] = []
        self._places: dict[str, dict[str, tuple[Path, int]]] = {}
        for path in paths:
            with open_predictions(path) as file:
                model = Model(
                    fold=str(file.attrs["fold"]),
                    weights_sha256=str(file.attrs["weights_sha256"]),
                    scales_mpp=tuple(map(float, file.attrs["scales_mpp"])),
                    glimpse_px=int(file.attrs["glimpse_px"]),
                    n_glimpses=int(file.attrs["n_glimpses"]),
                )
                if model not in self.models:
                    self.models.append(model)
                group = file["learned"]
                names = group["slide"].asstr()[:] if "slide" in group else []  # none when all slides failed
                for row, slide in enumerate(names):
                    self._places.setdefault(slide, {})[model.fold] = (path, row)

    def _place(self, slide: str, fold: str) -> tuple[Path, int] | None:
        """The file and the row of `slide` by `fold`'s model, or by the first one that has it."""
        places = self._places.get(slide)
        if not places:
            return None
        return places.get(fold) or next(iter(places.values()))

    def of(self, slide: str, fold: str) -> Fixations | None:
        """Read the fixations of `slide` by `fold`'s model, the first one's for an ensemble; None without any."""
        place = self._place(slide, fold)
        if place is None:
            return None
        path, row = place
        with open_predictions(path) as file:
            group = file["learned"]
            budget = int(file.attrs["n_glimpses"])
            made = int(group["looked"][row]) if "looked" in group else budget  # older files know of no stop
            return Fixations(
                running=group["running"][row, :made],
                location_um=group["location_um"][row, :made],
                location_l0=group["location_l0"][row, :made],
                policy_probability=group["policy_probability"][row, :made],
                glimpses=group["glimpses"][row, :made],
                scales_mpp=tuple(map(float, file.attrs["scales_mpp"])),
                fold=str(file.attrs["fold"]),
                budget=budget,
                **_scouted(file, row),
            )

    def attention(self, slide: str, fold: str) -> Attention | None:
        """Read the attention of `slide`, of the model that `of` takes; None without any.

        Raises FoveateError for predictions that were made before there was any in them.
        """
        place = self._place(slide, fold)
        if place is None:
            return None
        path, row = place
        with open_predictions(path) as file:
            group = file["learned"]
            if "attention" not in group:
                raise FoveateError(f"{path}: says nothing of attention; delete it and predict again")
            last = int(group["cells"][: row + 1].sum())
            own = slice(last - int(group["cells"][row]), last)
            return Attention(group["cell"][own], group["attention"][own])


def read_slides(path: Path) -> list[SlideRow]:
    """Read slides.tsv, in the order of its rows."""
    slides = []
    for row, where in _rows(path, SLIDE_COLUMNS):
        _check(row, "state", SLIDE_STATES, where)
        for column in ("label", "prediction", "random_prediction"):
            _check(row, column, ("", *SLIDE_CLASSES), where)
        slides.append(
            SlideRow(
                **{name: row[name] for name in ("slide", "patient", "fold", "split", "label", "state", "reason")},
                learned=_verdict(row, "", where),
                random=_verdict(row, "random_", where),
            )
        )
    return slides


def read_patients(path: Path) -> list[PatientRow]:
    """Read patients.tsv, in the order of its rows."""
    stages = ("true_stage", "stage", "rule_stage", "random_stage", "agent_stage")
    names = ("patient", "split", "state", *stages)
    patients = []
    for row, where in _rows(path, PATIENT_COLUMNS):
        for column in stages:
            _check(row, column, ("", *PN_STAGES), where)
        patients.append(
            PatientRow(
                **{name: row[name] for name in names},
                missing=tuple(name for name in row["missing"].split(",") if name),
                posterior=_numbers(row, [f"p_{stage}" for stage in PN_STAGES], where) if row["stage"] else (),
            )
        )
    return patients


def read_history(path: Path) -> list[dict[str, str]]:
    """Read history.csv: one row an epoch, column to text."""
    return [row for row, _ in _rows(path, ("epoch", "phase"), delimiter=",")]


def read_comparison_rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Read compare.tsv: one row a way to look and number of glimpses, column to text."""
    return [row for row, _ in _rows(path, columns)]


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises FoveateError when it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FoveateError(f"{path}: cannot be read as JSON: {error}") from error


def read_status(folder: Path, slide: str) -> dict[str, Any]:
    """Read the status file of `slide`; {} when there is none, as for an excluded slide.

    Raises FoveateError when it is no JSON object.
    """
    path = folder / f"{slide}.json"
    status = read_json(path) if path.exists() else {}
    if not isinstance(status, dict):
        raise FoveateError(f"{path}: {status!r}; expected a JSON object")
    return status


def _check(row: dict[str, str], column: str, allowed: Sequence[str], where: str) -> None:
    if row[column] not in allowed:
        expected = ", ".join(filter(None, allowed))
        raise FoveateError(f"{where}: {column}: {row[column]!r} is not one of {expected}")


def _verdict(row: dict[str, str], prefix: str, where: str) -> Verdict | None:
    if not row[f"{prefix}prediction"]:
        return None
    return Verdict(row[f"{prefix}prediction"], _numbers(row, [f"{prefix}p_{c}" for c in SLIDE_CLASSES], where))


def _numbers(row: dict[str, str], columns: list[str], where: str) -> tuple[float, ...]:
    for column in columns:
        try:
            float(row[column])
        except ValueError:
            raise FoveateError(f"{where}: {column}: {row[column]!r} is not a number") from None
    return tuple(float(row[column]) for column in columns)


def _rows(path: Path, columns: Sequence[str], delimiter: str = "\t") -> list[tuple[dict[str, str], str]]:
    """The rows of a table as (column to text, "file:line"). Raises FoveateError when columns are missing."""
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            reader = csv.DictReader(handle, delimiter=delimiter, restval="")
            absent = [column for column in columns if column not in (reader.fieldnames or ())]
            if absent:
                raise FoveateError(f"{path}:1: missing columns: {', '.join(absent)}")
            return [(row, f"{path}:{reader.line_num}") for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FoveateError(f"{path}: cannot be read as a table: {error}") from error


def _scouted(file: h5py.File, row: int) -> dict[str, Any]:
    """What `Fixations` says of the scout, of a row of a file; nothing without one."""
    if "scouted_um" not in file["learned"]:
        return {}
    um = file["learned/scouted_um"][row]
    return {"scouted_um": um[np.isfinite(um).all(axis=1)], "scouted_side_um": float(file.attrs["scouted_side_um"])}


def open_predictions(path: Path) -> h5py.File:
    """Open a file of predictions. Raises FoveateError when it cannot be read."""
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise FoveateError(f"{path}: cannot be read: {error}") from error
