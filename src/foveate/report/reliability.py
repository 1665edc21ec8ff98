"""The reliability diagram: how sure the model is of its slides, and how often it is right."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from foveate.report.charts import Tick

SIDE = 200.0
LARGEST, SMALLEST = 9.0, 2.5  # radius of a dot, px


@dataclass(frozen=True)
class Dot:
    """A bin in px: (x, y) its mean confidence and accuracy, sure_y where the diagonal is, middle of its ends."""

    x: float
    y: float
    sure_y: float
    radius: float
    middle: float
    confidence: float
    accuracy: float
    count: int


@dataclass(frozen=True)
class Diagram:
    """A square plot of SIDE x SIDE px, origin at its top-left: confidence to the right, accuracy up, both 0 to 1."""

    title: str
    side: float
    dots: tuple[Dot, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


@dataclass(frozen=True)
class Score:
    """A figure with and without temperature; None where it is not defined."""

    name: str
    meaning: str
    calibrated: float | None
    uncalibrated: float | None


@dataclass(frozen=True)
class Calibration:
    """How far the probabilities of a split's slides are to be believed. temperatures: of the models, each once."""

    temperatures: tuple[float, ...]
    scores: tuple[Score, ...]
    diagrams: tuple[Diagram, ...]

    @property
    def changed(self) -> bool:
        """Whether any model has a temperature other than 1."""
        return any(t != 1 for t in self.temperatures)


SCORES = {
    "ece": ("Calibration error", "mean gap to the diagonal (ECE)"),
    "negative_log_likelihood": ("Log-likelihood loss", "nats a slide"),
    "brier": ("Brier score", "squared error, 0 to 2"),
}


def calibration(metrics: Mapping[str, Any]) -> Calibration:
    """Read `calibration` of metrics.json. Without temperature the two diagrams are one."""
    after, before = metrics["calibrated"], metrics["uncalibrated"]
    scores = tuple(Score(*names, _value(after[key]), _value(before[key])) for key, names in SCORES.items())
    diagrams = (diagram("With temperature", after["bins"]), diagram("Without", before["bins"]))
    found = Calibration(tuple(metrics["temperatures"]), scores, diagrams)
    return found if found.changed else Calibration(found.temperatures, scores, diagrams[1:])


def diagram(title: str, bins: list[Mapping[str, Any]]) -> Diagram:
    """Place the bins of `foveate.patients.calibration.reliability`. A dot's area is its share of slides."""
    most = max((one["count"] for one in bins), default=1)
    dots = tuple(
        Dot(
            x=SIDE * one["confidence"],
            y=SIDE * (1 - one["accuracy"]),
            sure_y=SIDE * (1 - one["confidence"]),
            radius=max(SMALLEST, LARGEST * math.sqrt(one["count"] / most)),
            middle=SIDE * (one["from"] + one["to"]) / 2,
            confidence=one["confidence"],
            accuracy=one["accuracy"],
            count=one["count"],
        )
        for one in bins
    )
    fifths = [k / 5 for k in range(6)]
    return Diagram(
        title,
        SIDE,
        dots,
        tuple(Tick(SIDE * v, f"{v:g}") for v in fifths),
        tuple(Tick(SIDE * (1 - v), f"{v:g}") for v in fifths),
    )


def _value(metric: Any) -> float | None:
    return metric["value"] if isinstance(metric, Mapping) else metric
