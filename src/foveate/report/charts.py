"""Geometry of the report's line charts; the templates draw them as SVG in the page's colours."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveate.patients.stages import SLIDE_CLASSES


@dataclass(frozen=True)
class Line:
    """One series: `points` is SVG point data, (x, y) its end, `label_y` where its name stands."""

    name: str
    points: str
    x: float
    y: float
    label_y: float
    value: float


@dataclass(frozen=True)
class Tick:
    at: float
    label: str


@dataclass(frozen=True)
class Chart:
    """A plot area of width x height px, origin at its top-left; the template adds margins for labels."""

    title: str
    width: float
    height: float
    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    bands: tuple[tuple[float, float, str], ...] = ()


def running_chart(running: NDArray[np.floating], width: float = 330, height: float = 190) -> Chart:
    """The class probabilities after each fixation. running: (T, 4), each row sums to 1."""
    steps = len(running)
    xs = [width * (t / (steps - 1) if steps > 1 else 0.5) for t in range(steps)]
    ends = [height * (1 - float(p)) for p in running[-1]]
    labels = spread(ends, gap=15, low=4, high=height - 4)
    lines = tuple(
        Line(name, _points(xs, [height * (1 - float(p)) for p in running[:, k]]), xs[-1], ends[k], labels[k],
             float(running[-1, k]))
        for k, name in enumerate(SLIDE_CLASSES)
    )  # fmt: skip
    numbers = [t for t in range(steps) if t in (0, steps - 1) or _tick_at(t + 1, steps)]
    return Chart(
        title="",
        width=width,
        height=height,
        lines=lines,
        x_ticks=tuple(Tick(xs[t], str(t + 1)) for t in numbers),
        y_ticks=tuple(Tick(height * (1 - v), f"{v:g}") for v in (0.0, 0.5, 1.0)),
    )


def _tick_at(number: int, steps: int) -> bool:
    """Whether the fixation `number` gets a tick: all of them when few, else every fifth away from the end."""
    return steps <= 16 or (number % 5 == 0 and steps - number > 2)


def spread(wanted: list[float], gap: float, low: float, high: float) -> list[float]:
    """Move positions apart until neighbours are `gap` apart, keeping their order, within [low, high].

    When all of them do not fit, the gap shrinks to what does.
    """
    if not wanted:
        return []
    gap = min(gap, (high - low) / max(1, len(wanted) - 1))
    order = sorted(range(len(wanted)), key=lambda k: wanted[k])
    placed = [min(max(wanted[k], low), high) for k in order]
    for i in range(1, len(placed)):
        placed[i] = max(placed[i], placed[i - 1] + gap)
    ceiling = high
    for i in range(len(placed) - 1, -1, -1):
        placed[i] = min(placed[i], ceiling)
        ceiling = placed[i] - gap
    result = [0.0] * len(wanted)
    for k, position in zip(order, placed, strict=True):
        result[k] = position
    return result


def line_chart(
    title: str,
    series: dict[str, list[float]],
    bands: list[tuple[int, int, str]],
    width: float = 210,
    height: float = 96,
) -> Chart:
    """Curves over epochs 1, 2, ..., one chart of a row of small multiples.

    series: name to one value an epoch, NaN where there is none; bands: (first, last, phase), epochs from 1.
    The y axis starts at 0 unless a value is negative, and ends at a round number.
    """
    epochs = max(map(len, series.values()))
    finite = [v for values in series.values() for v in values if math.isfinite(v)]
    low, high = round_range(min(finite), max(finite))
    xs = [width * (e + 0.5) / epochs for e in range(epochs)]
    lines = []
    for name, values in series.items():
        shown = [
            (x, height * (high - v) / (high - low), v) for x, v in zip(xs, values, strict=True) if math.isfinite(v)
        ]
        if shown:
            x, y, value = shown[-1]
            lines.append(Line(name, _points([s[0] for s in shown], [s[1] for s in shown]), x, y, y, value))
    return Chart(
        title=title,
        width=width,
        height=height,
        lines=tuple(lines),
        x_ticks=(Tick(xs[0], "1"), Tick(xs[-1], str(epochs))) if epochs > 1 else (Tick(xs[0], "1"),),
        y_ticks=tuple(Tick(height * (high - v) / (high - low), f"{v:g}") for v in (low, high)),
        bands=tuple((width * (a - 1) / epochs, width * (b - a + 1) / epochs, phase) for a, b, phase in bands),
    )


def round_range(low: float, high: float) -> tuple[float, float]:
    """A range around [min(low, 0), high] whose ends are 1, 2, 2.5, 5 or 10 times a power of ten, or 0."""
    bottom = -_round_up(-low) if low < 0 else 0.0
    top = _round_up(high) if high > 0 else 0.0
    return (bottom, top) if top > bottom else (bottom, bottom + 1.0)


def _round_up(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return next(m * power for m in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if m * power >= value * (1 - 1e-9))


def _points(xs: list[float], ys: list[float]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True))
