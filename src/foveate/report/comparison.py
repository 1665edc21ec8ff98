"""The comparison of ways to look, as curves over the number of glimpses with what everything gives beside them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from foveate.report.charts import Tick
from foveate.report.sources import Model, read_comparison_rows

WIDTH, HEIGHT = 300.0, 170.0
CURVES = {"learned": 0, "random": 1, "salience": 2, "sampled": 3, "spread": 4}
"""Ways to look, and the number of their colour."""

LEVELS = ("mean+max", "gated attention", "max", "mean", "policy")
"""Poolings of exhaustive reading."""

NAMES = {
    "learned": "learned",
    "sampled": "learned, sampled",
    "salience": "overview ranking",
    "spread": "overview ranking, spread out",
    "random": "random cells",
}
GOOD = {
    "auc_micro_macro_vs_negative": "AUC, micro and macro",
    "auc_any_vs_negative": "AUC, any tumor",
    "slide_accuracy": "Slide accuracy, four classes",
    "kappa": "Patient kappa",
}
COST = {
    "tissue_share": "Share of tissue seen at the finest scale",
    "decoded_px": "Pixels decoded a slide",
    "seconds": "Seconds a slide",
    "cpu_seconds": "CPU seconds a slide",
}
LEAD = ("auc_lead", "auc_lead_low", "auc_lead_high")
"""Columns that a table made by an earlier version lacks."""

COLUMNS = ("way", "pooling", "readout", "glimpses", "n_slides", "n_patients", *GOOD, *COST, "weights")


@dataclass(frozen=True)
class Curve:
    """points: SVG point data; dots: (x, y, text) of each point; colour: number of the style."""

    name: str
    colour: int
    points: str
    dots: tuple[tuple[float, float, str], ...]


@dataclass(frozen=True)
class Level:
    """What exhaustive reading gives: a line across at y."""

    name: str
    y: float
    value: float


@dataclass(frozen=True)
class Panel:
    """A plot of WIDTH x HEIGHT px, origin at its top-left; x: glimpses, logarithmic."""

    title: str
    width: float
    height: float
    curves: tuple[Curve, ...]
    levels: tuple[Level, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


@dataclass(frozen=True)
class Line:
    """A row of the table of figures."""

    name: str
    glimpses: str
    figures: tuple[str, ...]
    learned: bool


@dataclass(frozen=True)
class Comparison:
    """stale: it was made with other weights than the predictions, and nothing of it is shown."""

    stale: bool
    n_slides: int
    n_patients: int
    good: tuple[Panel, ...]
    cost: tuple[Panel, ...]
    heads: tuple[str, ...]
    lines: tuple[Line, ...]


def read_comparison(path: Path, models: Sequence[Model]) -> Comparison:
    """Read compare.tsv. models: those that made the predictions of the page."""
    rows = read_comparison_rows(path, COLUMNS)
    current = {model.weights_sha256[:12] for model in models}
    if not rows or set(rows[0]["weights"].split(",")) != current:
        return Comparison(True, 0, 0, (), (), (), ())
    lines = tuple(
        Line(
            _name(row),
            f"{float(row['glimpses']):.0f}",
            (*(_figure(row[name], name) for name in (*GOOD, *COST)), _lead(row)),
            row["way"] == "learned",
        )
        for row in rows
    )
    return Comparison(
        False,
        int(rows[0]["n_slides"]),
        int(rows[0]["n_patients"]),
        tuple(panel(title, rows, column) for column, title in GOOD.items()),
        tuple(panel(title, rows, column, logarithmic=True) for column, title in COST.items()),
        (*GOOD.values(), *COST.values(), "AUC, lead of learned"),
        lines,
    )


def panel(title: str, rows: Sequence[Mapping[str, str]], column: str, *, logarithmic: bool = False) -> Panel:
    """Curves of each way over its glimpses, and lines for exhaustive reading; cost has one line, whatever is pooled.

    Undefined values are left out. The y axis of a logarithmic panel spans whole powers of ten; otherwise it ends at 1
    and begins at the next tenth below the lowest value, at most at 0.5.
    """
    values = [(row, float(row[column])) for row in rows if row[column] and (float(row[column]) > 0 or not logarithmic)]
    scale = math.log10 if logarithmic else float
    shown = [scale(value) for _, value in values] or [0.0]
    low, high = (
        (math.floor(min(shown)), max(math.ceil(max(shown)), math.floor(min(shown)) + 1))
        if logarithmic
        else (min(0.5, math.floor(min(shown) * 10 + 1e-9) / 10), 1.0)
    )
    counts = sorted({float(row["glimpses"]) for row, _ in values if row["way"] != "exhaustive"})
    last = math.log2(max(counts, default=1.0)) or 1.0

    def y(value: float) -> float:
        return HEIGHT * (high - scale(value)) / (high - low)

    curves = []
    for way, colour in CURVES.items():
        found = sorted((float(row["glimpses"]), value) for row, value in values if row["way"] == way)
        dots = tuple((WIDTH * math.log2(t) / last, y(v), f"{t:.0f} glimpse{'s' * (t != 1)}: {v:.4g}") for t, v in found)
        if dots:
            curves.append(Curve(NAMES[way], colour, " ".join(f"{a:.1f},{b:.1f}" for a, b, _ in dots), dots))
    whole = _by_pooling([(row, value) for row, value in values if row["way"] == "exhaustive"])
    if logarithmic and whole:
        whole = {"everything": next(iter(whole.values()))}
    ticks = [10.0**k for k in range(int(low), int(high) + 1)] if logarithmic else _tenths(low, high)
    return Panel(
        title,
        WIDTH,
        HEIGHT,
        tuple(curves),
        tuple(Level(name, y(value), value) for name, value in whole.items()),
        tuple(Tick(WIDTH * math.log2(t) / last, f"{t:.0f}") for t in counts),
        tuple(Tick(y(value), f"{value:g}") for value in ticks),
    )


def _by_pooling(values: Sequence[tuple[Mapping[str, str], float]]) -> dict[str, float]:
    """Pooling to value, of its fitted readout where there is one."""
    found: dict[str, float] = {}
    for pooling in LEVELS:
        for readout in ("plain", "fitted"):
            found |= {
                f"all cells, {pooling}": value
                for row, value in values
                if (row["pooling"], row["readout"]) == (pooling, readout)
            }
    return found


def _tenths(low: float, high: float) -> list[float]:
    step = 0.1 if high - low <= 0.5 + 1e-9 else 0.25 if high - low <= 1 + 1e-9 else 0.5
    return [high - step * k for k in range(int((high - low) / step + 1e-9) + 1)]


def _name(row: Mapping[str, str]) -> str:
    if row["way"] == "exhaustive":
        return f"all cells, {row['pooling']} ({row['readout']})"
    return NAMES.get(row["way"], row["way"])


def _figure(text: str, column: str) -> str:
    if not text:
        return "\N{EN DASH}"
    value = float(text)
    if column == "tissue_share":
        return f"{100 * value:.3g} %"
    if column == "decoded_px":
        return f"{value / 1e6:.3g} M"
    return f"{value:.3f}" if column in GOOD else f"{value:.3g}"


def _lead(row: Mapping[str, str]) -> str:
    if not all(row.get(column) for column in LEAD):
        return "\N{EN DASH}"
    value, low, high = (float(row[column]) for column in LEAD)
    return f"{value:+.3f} ({low:+.2f} to {high:+.2f})".replace("-", "\N{MINUS SIGN}")
