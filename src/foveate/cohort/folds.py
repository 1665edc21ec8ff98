"""Who is in which fold: the slides that one model learns from, is chosen by, is tested on, and only predicts.

No patient is on both sides: whoever a fold tests on, or is outside of all folds, is not in its train or val.
"""

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from foveate.cohort.samples import Sample
from foveate.cohort.sheet_faults import Fault, row_schema
from foveate.cohort.splits import by_stratum, spread
from foveate.errors import SheetError

log = logging.getLogger(__name__)

VAL = 0.15
"""Share of the patients that a fold does not test on by whom its model is chosen."""


@dataclass(frozen=True, slots=True)
class Fold:
    """Slide names by what one model does with them: learn, be chosen by, be tested on, only predict.

    outside: slides that no fold learns from, is chosen by or tests on; the same for all folds.
    """

    name: str
    train: list[str]
    val: list[str]
    test: list[str]
    outside: list[str]


def folds(samples: Iterable[Sample], by: str | int, sheet: Path) -> dict[str, Fold]:
    """The folds of a cohort, one model each, by name.

    by: the key `folds` of the configuration. "sheet": the folds that the column fold numbers; without numbers
    there is one, "split", by the column split. A whole number k: "0" to "k-1", of patients dealt out by stratum
    (`splits.by_stratum`). "center": one for each centre, "center_" and its name. Of the last two, patients
    without a labelled slide and those with the split test are left outside; train and val mean nothing there.

    Each fold tests on its own patients. `VAL` of the others, drawn by stratum, choose its model (one at least if
    there are two), and the rest train it. Slides without a label are in no train or val, excluded ones in no
    list. Who is tested where depends neither on the order of the rows nor, with k, on what is excluded.

    sheet: its file, for the faults. Raises SheetError for fewer than two folds, for more than patients, for
    numbers in the column fold that `by` contradicts, and for centres that are empty, no names, or two of one
    patient.
    """
    rows = list(samples)
    used = [s for s in rows if not s.exclude]
    if by == "sheet":
        parts = _numbered(used)
        if not parts:
            _warn([s.slide for s in used if not s.label and s.split in ("train", "val")])
            return {"split": _by_split(used)}
    else:
        _refuse_numbers(rows, by, sheet)
        outside = {s.patient for s in rows if s.split == "test"}
        pool = [s for s in rows if s.patient not in outside]
        parts = _dealt(pool, by, sheet) if isinstance(by, int) else _centers(pool, sheet)
    present = {s.patient for s in used}
    parts = {name: patients & present for name, patients in parts.items() if patients & present}
    if len(parts) < 2:
        listed = ", ".join(name.removeprefix("center_") for name in parts) or "none"
        text = f"{listed}; a fold tests on one and trains on the others: expected two or more with labelled slides"
        column = {"sheet": "fold", "center": "center"}.get(str(by), "")
        raise SheetError([Fault(0, column, f"only {text}").at(sheet)])
    tested = set().union(*parts.values())
    _warn([s.slide for s in used if not s.label and s.patient in tested])
    return {name: _fold(name, k, used, parts[name], tested) for k, name in enumerate(parts)}


def _by_split(used: Sequence[Sample]) -> Fold:
    train, val = ([s.slide for s in used if s.split == part and s.label] for part in ("train", "val"))
    test, outside = ([s.slide for s in used if s.split == part] for part in ("test", ""))
    return Fold("split", train, val, test, outside)


def _numbered(used: Iterable[Sample]) -> dict[str, set[str]]:
    """Patients by the column fold, in the order of its numbers."""
    by_number: dict[int, set[str]] = {}
    for s in used:
        if s.fold is not None:
            by_number.setdefault(s.fold, set()).add(s.patient)
    return {str(number): by_number[number] for number in sorted(by_number)}


def _refuse_numbers(rows: Iterable[Sample], by: str | int, sheet: Path) -> None:
    for s in rows:
        if s.fold is not None:
            text = f"{s.fold}, but the configuration makes the folds, folds: {by}; empty the column, or folds: sheet"
            raise SheetError([Fault(s.line, "fold", text).at(sheet)])


def _dealt(pool: Sequence[Sample], k: int, sheet: Path) -> dict[str, set[str]]:
    """The labelled patients dealt to k folds. Excluded rows are dealt too, so that nobody moves with one."""
    labelled = {s.patient for s in pool if s.label}
    order = by_stratum([s for s in pool if s.patient in labelled])
    if len(order) < k:
        text = f"folds: {k}, but only {len(order)} patients have a labelled slide and no split test"
        raise SheetError([Fault(0, "", f"{text}; expected one or more for each fold").at(sheet)])
    return {str(fold): set(order[fold::k]) for fold in range(k)}


def _centers(pool: Iterable[Sample], sheet: Path) -> dict[str, set[str]]:
    """The labelled patients by centre, in the order of its names."""
    used = [s for s in pool if not s.exclude]
    labelled = {s.patient for s in used if s.label}
    name = row_schema()["properties"]["slide"]
    first: dict[str, Sample] = {}
    faults = []
    for s in used:
        if s.patient not in labelled:
            continue
        if not s.center:
            if s.label:
                text = "an empty cell; with folds: center, expected the centre of every slide with a label"
                faults.append(Fault(s.line, "center", text))
        elif not re.search(name["pattern"], s.center):
            text = f"{s.center!r}: with folds: center it names files; expected {name['description']}"
            faults.append(Fault(s.line, "center", text))
        elif (other := first.setdefault(s.patient, s)).center != s.center:
            before = f"{other.center!r} on line {other.line}"
            text = f"{s.center!r}, but patient {s.patient!r} has {before}: with folds: center a patient has one centre"
            faults.append(Fault(s.line, "center", text))
    if faults:
        raise SheetError([fault.at(sheet) for fault in faults])
    parts: dict[str, set[str]] = {f"center_{c}": set() for c in sorted({s.center for s in first.values()})}
    for patient, s in first.items():
        parts[f"center_{s.center}"].add(patient)
    return parts


def _fold(name: str, number: int, used: Sequence[Sample], own: set[str], tested: set[str]) -> Fold:
    """own: the patients that the fold tests on; tested: those of all folds."""
    learned = tested - own
    others = [s for s in used if s.label and s.patient in learned]
    order = by_stratum(others, seed=(0, number))
    chosen_by = spread(order, max(1, round(VAL * len(order)))) if len(order) > 1 else set()
    return Fold(
        name,
        train=[s.slide for s in others if s.patient not in chosen_by],
        val=[s.slide for s in others if s.patient in chosen_by],
        test=[s.slide for s in used if s.patient in own],
        outside=[s.slide for s in used if s.patient not in tested],
    )


def _warn(slides: Sequence[str]) -> None:
    if slides:
        listed = ", ".join(slides[:5]) + (", ..." if len(slides) > 5 else "")
        log.warning("without a label, so not trained on (%d): %s", len(slides), listed)
