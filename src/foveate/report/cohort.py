"""What the report says about a split: metrics.json, with names for people."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from foveate.patients.stages import PN_STAGES, SLIDE_CLASSES
from foveate.report.reliability import Calibration, calibration

METRICS = {
    "kappa": ("Kappa", "quadratic weighted, reported stage"),
    "kappa_rule": ("Kappa by rule", "the rule applied to each slide's class"),
    "kappa_agent": ("Kappa by patient agent", "one look over all slides of a patient, its own answer"),
    "patient_accuracy": ("Patient accuracy", "reported stage equals the true one"),
    "slide_accuracy": ("Slide accuracy", "four classes"),
    "auc_micro_macro_vs_negative": ("AUC metastasis", "micro and macro against negative"),
    "auc_any_vs_negative": ("AUC any tumor", "itc, micro and macro against negative"),
}
CLASS_MEANINGS = dict(zip(SLIDE_CLASSES, ("no tumor", "< 0.2 mm", "0.2 to 2 mm", "> 2 mm"), strict=True))


@dataclass(frozen=True)
class Estimate:
    """A metric and its 95 % interval; None where it is not defined."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class MetricRow:
    """One metric for learned and for random locations. gap: learned minus random."""

    name: str
    meaning: str
    learned: Estimate
    random: Estimate

    @property
    def gap(self) -> float | None:
        """Return learned minus random, None when one of them is not defined."""
        if self.learned.value is None or self.random.value is None:
            return None
        return self.learned.value - self.random.value


@dataclass(frozen=True)
class Cell:
    """A cell of a confusion matrix and its share of the row."""

    count: int
    share: float


@dataclass(frozen=True)
class Confusion:
    title: str
    names: tuple[str, ...]
    cells: tuple[tuple[Cell, ...], ...]
    totals: tuple[int, ...]

    @property
    def total(self) -> int:
        """Return the number of all items."""
        return sum(self.totals)


@dataclass(frozen=True)
class Split:
    """The metrics of one split. axis_low: where the plot of the intervals begins, 0 or below."""

    n_patients: int
    n_slides: int
    rows: tuple[MetricRow, ...]
    sensitivity: tuple[MetricRow, ...]
    slides: Confusion
    patients: Confusion
    calibration: Calibration
    axis_low: float

    @property
    def empty(self) -> bool:
        """Whether there is no ground truth at all."""
        return self.n_patients == 0 and self.n_slides == 0


def split_metrics(metrics: Mapping[str, Any]) -> Split:
    """Read one split of metrics.json: {"learned": {...}, "random": {...}}."""
    learned, random = metrics["learned"], metrics["random"]
    rows = tuple(
        MetricRow(name, meaning, _estimate(learned[key]), _estimate(random[key]))
        for key, (name, meaning) in METRICS.items()
        if key != "kappa_agent" or learned["n_patients_agent"]
    )
    sensitivity = tuple(
        MetricRow(
            name,
            CLASS_MEANINGS[name],
            _estimate(learned["sensitivity"][name]),
            _estimate(random["sensitivity"][name]),
        )
        for name in SLIDE_CLASSES
    )
    values = [v for row in rows for e in (row.learned, row.random) for v in (e.value, e.low) if v is not None]
    lowest = min(values, default=0.0)
    return Split(
        n_patients=learned["n_patients"],
        n_slides=learned["n_slides"],
        rows=rows,
        sensitivity=sensitivity,
        slides=_confusion("Slides", SLIDE_CLASSES, learned["confusion_slides"]),
        patients=_confusion("Patients, reported stage", PN_STAGES, learned["confusion_patients"]),
        calibration=calibration(learned["calibration"]),
        axis_low=next(low for low in (0.0, -0.25, -0.5, -1.0) if lowest >= low or low == -1.0),
    )


def _estimate(metric: Mapping[str, Any]) -> Estimate:
    low, high = metric["ci95"]
    return Estimate(metric["value"], low, high)


def _confusion(title: str, names: tuple[str, ...], counts: list[list[int]]) -> Confusion:
    totals = tuple(map(sum, counts))
    cells = tuple(
        tuple(Cell(count, count / total if total else 0.0) for count in row)
        for row, total in zip(counts, totals, strict=True)
    )
    return Confusion(title, names, cells, totals)
