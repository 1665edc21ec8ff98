"""A fold's training history as small multiples."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from foveate.report.charts import Chart, line_chart

PANELS = {
    "Loss": ("loss", "val_loss"),
    "Loss parts": ("cross_entropy", "reinforce", "guidance"),
    "Accuracy": ("accuracy", "val_accuracy"),
    "Entropy of the policy": ("entropy",),
    "Reward": ("reward",),
    "Baseline error": ("baseline_error",),
    "Learning rate": ("learning_rate",),
    "Glimpses a slide": ("mean_glimpses", "val_glimpses"),
    "Glimpses per second": ("glimpses_per_s",),
}
"""Chart to columns of history.csv; what a history does not have is left out."""


@dataclass(frozen=True)
class History:
    """The curves of one fold. phases: in order, each once."""

    fold: str
    epochs: int
    phases: tuple[str, ...]
    charts: tuple[Chart, ...]


def history(fold: str, rows: Sequence[Mapping[str, str]]) -> History:
    """Make the charts of history.csv. rows: one an epoch, column to text, "" where there is no value."""
    phases = [row["phase"] for row in rows]
    bands, first = [], 1
    for phase, members in itertools.groupby(phases):
        last = first + len(list(members)) - 1
        bands.append((first, last, phase))
        first = last + 1
    charts = []
    for title, columns in PANELS.items():
        series = {name.replace("_", " "): _values(rows, name) for name in columns if rows and name in rows[0]}
        series = {name: values for name, values in series.items() if any(map(math.isfinite, values))}
        if series:
            charts.append(line_chart(title, series, bands if len(bands) > 1 else []))
    return History(fold, len(rows), tuple(dict.fromkeys(phases)), tuple(charts))


def _values(rows: Sequence[Mapping[str, str]], column: str) -> list[float]:
    return [float(row[column]) if row[column] else math.nan for row in rows]
