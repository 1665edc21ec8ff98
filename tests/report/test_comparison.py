import csv
from pathlib import Path

import pytest

from foveate.errors import FoveateError
from foveate.report.comparison import COLUMNS, HEIGHT, LEAD, WIDTH, panel, read_comparison
from foveate.report.sources import Model

MODELS = [Model("0", "a" * 64, (1.0,), 16, 3), Model("1", "b" * 64, (1.0,), 16, 3)]
WEIGHTS = "b" * 12 + "," + "a" * 12


def row(way: str, glimpses: float, value: str, pooling: str = "", readout: str = "", weights: str = WEIGHTS) -> dict:
    figures = dict.fromkeys((*COLUMNS, *LEAD), value)
    return figures | {"way": way, "pooling": pooling, "readout": readout, "glimpses": f"{glimpses:g}",
                      "n_slides": "15", "n_patients": "3", "weights": weights}  # fmt: skip


ROWS = [
    row("learned", 1, "0.5"),
    row("learned", 16, "0.9"),
    row("learned", 4, "0.75"),
    row("random", 1, "0.3"),
    row("random", 4, ""),
    row("exhaustive", 999.6, "0.8", "max", "plain"),
    row("exhaustive", 999.6, "0.85", "max", "fitted"),
    row("exhaustive", 999.6, "0.7", "policy", "plain"),
]


def write(path: Path, rows: list[dict]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_curves_over_glimpses_and_lines_for_everything() -> None:
    found = panel("Kappa", ROWS, "kappa")  # from 0.3 to 1
    learned, random = found.curves
    assert learned.points == f"0.0,{HEIGHT * 0.5 / 0.7:.1f} {WIDTH / 2:.1f},{HEIGHT * 0.25 / 0.7:.1f} " + (
        f"{WIDTH:.1f},{HEIGHT * 0.1 / 0.7:.1f}"
    )
    assert random.points == f"0.0,{HEIGHT:.1f}"  # what is not defined is left out
    assert [dot[2] for dot in learned.dots] == ["1 glimpse: 0.5", "4 glimpses: 0.75", "16 glimpses: 0.9"]
    assert [(level.name, level.value) for level in found.levels] == [
        ("all cells, max", 0.85),  # by its fitted readout
        ("all cells, policy", 0.7),
    ]
    assert [(tick.at, tick.label) for tick in found.x_ticks] == [(0, "1"), (WIDTH / 2, "4"), (WIDTH, "16")]
    assert [tick.label for tick in found.y_ticks] == ["1", "0.75", "0.5"]


def test_costs_are_logarithmic_with_one_line_for_everything() -> None:
    found = panel("Seconds", ROWS, "seconds", logarithmic=True)  # from 0.1 to 1
    assert [tick.label for tick in found.y_ticks] == ["0.1", "1"]
    assert found.y_ticks[0].at == HEIGHT
    assert [level.name for level in found.levels] == ["everything"]
    assert len(found.curves[0].dots) == 3


def test_one_number_of_glimpses_and_nothing_defined() -> None:
    one = panel("Kappa", [row("learned", 1, "0.5")], "kappa")
    assert one.curves[0].points == f"0.0,{HEIGHT:.1f}"
    none = panel("Kappa", [row("learned", 1, "")], "kappa")
    assert (none.curves, none.levels, none.x_ticks) == ((), (), ())


def test_the_table_of_figures(tmp_path: Path) -> None:
    found = read_comparison(write(tmp_path / "compare.tsv", ROWS), MODELS)
    assert (found.stale, found.n_slides, found.n_patients) == (False, 15, 3)
    assert [line.name for line in found.lines][::5] == ["learned", "all cells, max (plain)"]
    assert found.lines[0].figures == ("0.500",) * 4 + ("50 %", "5e-07 M", "0.5", "0.5", "+0.500 (+0.50 to +0.50)")
    assert found.lines[5].glimpses == "1000"
    assert [line.learned for line in found.lines] == [True] * 3 + [False] * 5
    assert len(found.heads) == len(found.lines[0].figures) == len(found.good) + len(found.cost) + 1
    assert found.lines[4].figures[-1] == "\N{EN DASH}"
    behind = ROWS[3] | {"auc_lead": "-0.1", "auc_lead_low": "-0.25", "auc_lead_high": "0.05"}
    (line,) = read_comparison(write(tmp_path / "compare.tsv", [behind]), MODELS).lines
    earlier = [{name: value for name, value in behind.items() if name not in LEAD}]
    assert read_comparison(write(tmp_path / "earlier.tsv", earlier), MODELS).lines[0].figures[-1] == "\N{EN DASH}"
    assert line.figures[-1] == "\N{MINUS SIGN}0.100 (\N{MINUS SIGN}0.25 to +0.05)"


@pytest.mark.parametrize("weights", ["a" * 12, "c" * 12, WEIGHTS + "," + "c" * 12])
def test_a_comparison_of_other_weights_is_not_shown(tmp_path: Path, weights: str) -> None:
    found = read_comparison(write(tmp_path / "compare.tsv", [row("learned", 1, "0.5", weights=weights)]), MODELS)
    assert found.stale
    assert found.lines == ()


def test_a_table_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "compare.tsv").write_text("way\n")
    with pytest.raises(FoveateError, match=r"compare\.tsv:1: missing columns: pooling"):
        read_comparison(tmp_path / "compare.tsv", MODELS)
