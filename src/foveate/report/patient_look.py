"""One look over all slides of a patient, as the report draws it: which slide after which, and what followed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foveate.report.charts import Tick
from foveate.report.sources import open_predictions

WIDTH, BANDS, ROW, LETTER = 620.0, 76.0, 17.0, 6.0
"""Pixels: of the plot, the height of the stages' bands, of a slide's row, the width of a letter."""

TICKS = 10  # at most, on the axis of fixations


@dataclass(frozen=True)
class PatientRollout:
    """What the patient agent did. slides: names of S slides; picked (T,) which of them; running (T, 5) after each."""

    slides: tuple[str, ...]
    picked: NDArray[np.int64]
    running: NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """A slide: its middle, how often it was looked at, and the left edges of these fixations."""

    slide: str
    y: float
    count: int
    looks: tuple[float, ...]


@dataclass(frozen=True)
class PatientLook:
    """Bands of the stages' probabilities, SVG point data each, above a row for every slide. Origin at the top left.

    margin: room for names to the left; step: width of a fixation.
    """

    fold: str
    width: float
    height: float
    margin: float
    step: float
    bands: tuple[str, ...]
    rows: tuple[Row, ...]
    ticks: tuple[Tick, ...]


class PatientRollouts:
    """The rollouts of patient agents in prediction files; of an ensemble's, the first file's model is shown."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._places: dict[str, tuple[Path, int]] = {}
        for path in paths:
            with open_predictions(path) as file:
                group = file.get("patient_agent/learned")
                if group is None or "patient" not in group:  # no agent; every patient has a slide that failed
                    continue
                for row, patient in enumerate(group["patient"].asstr()[:].tolist()):
                    self._places.setdefault(patient, (path, row))

    def of(self, patient: str) -> tuple[str, PatientRollout] | None:
        """The fold whose model looked, and what it did; None for a patient that no agent looked over."""
        if patient not in self._places:
            return None
        path, row = self._places[patient]
        with open_predictions(path) as file:
            group = file["patient_agent/learned"]
            slides = [name for name in group["slides"].asstr()[row].tolist() if name]
            picked = group["picked"][row].astype(np.int64)
            made = picked >= 0
            rollout = PatientRollout(tuple(slides), picked[made], group["running"][row][made].astype(np.float64))
            return str(file.attrs["fold"]), rollout


def patient_look(fold: str, rollout: PatientRollout) -> PatientLook:
    """Draw a rollout of T >= 1 fixations."""
    steps, step = len(rollout.picked), WIDTH / len(rollout.picked)
    edges = np.concatenate([np.zeros((steps, 1)), rollout.running.cumsum(axis=1)], axis=1)
    y = BANDS * (1 - edges / edges[:, -1:])  # (T, 6), from the bottom up
    x = step * np.arange(steps + 1)

    def outline(edge: int) -> list[tuple[float, float]]:
        return [(x[t + end], y[t, edge]) for t in range(steps) for end in (0, 1)]

    bands = tuple(
        " ".join(f"{a:.1f},{b:.1f}" for a, b in (*outline(k), *reversed(outline(k + 1)))) for k in range(len(y[0]) - 1)
    )
    rows = tuple(
        Row(
            slide,
            BANDS + ROW * (k + 0.9),
            int((rollout.picked == k).sum()),
            tuple((step * np.flatnonzero(rollout.picked == k)).tolist()),
        )
        for k, slide in enumerate(rollout.slides)
    )
    every = next(n for scale in (1, 10, 100, 1000) for n in (scale, 2 * scale, 5 * scale) if steps / n <= TICKS)
    numbers = sorted({1, *range(every, steps + 1, every)})
    ticks = tuple(Tick(step * (t - 0.5), str(t)) for t in numbers)
    margin = LETTER * max(len(name) for name in ("stages after each", *rollout.slides)) + 12
    return PatientLook(fold, WIDTH, BANDS + ROW * (len(rows) + 0.6), margin, step, bands, rows, ticks)
