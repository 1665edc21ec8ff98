import math

import numpy as np
import pytest

from foveate.report.charts import line_chart, round_range, running_chart, spread


def test_the_running_chart_maps_probability_one_to_the_top():
    running = np.array([[0.25, 0.25, 0.25, 0.25], [1.0, 0.0, 0.0, 0.0]])
    chart = running_chart(running, width=100, height=200)
    negative, itc = chart.lines[0], chart.lines[1]
    assert (negative.name, negative.points) == ("negative", "0.0,150.0 100.0,0.0")
    assert (itc.points, itc.value) == ("0.0,150.0 100.0,200.0", 0.0)
    assert [(tick.at, tick.label) for tick in chart.x_ticks] == [(0.0, "1"), (100.0, "2")]


def test_one_fixation_stands_in_the_middle():
    chart = running_chart(np.array([[0.7, 0.1, 0.1, 0.1]]), width=100, height=200)
    assert chart.lines[0].points == "50.0,60.0"


def test_many_fixations_get_every_fifth_tick():
    chart = running_chart(np.full((24, 4), 0.25))
    assert [tick.label for tick in chart.x_ticks] == ["1", "5", "10", "15", "20", "24"]


def test_labels_of_equal_ends_are_moved_apart():
    labels = sorted(line.label_y for line in running_chart(np.full((3, 4), 0.25)).lines)
    assert np.diff(labels).min() >= 15 - 1e-9


@pytest.mark.parametrize(
    ("wanted", "placed"),
    [
        ([], []),
        ([50], [50]),
        ([50, 52, 10], [50, 60, 10]),
        ([99, 98], [100, 90]),
        ([-5, 0], [0, 10]),
        ([1] * 21, [5.0 * k for k in range(21)]),
    ],
)
def test_spread(wanted, placed):
    assert spread(wanted, gap=10, low=0, high=100) == pytest.approx(placed)


def test_a_line_starts_where_its_values_do():
    chart = line_chart("Loss", {"val": [math.nan, 2.0, 0.5]}, [(1, 1, "pretrain"), (2, 3, "attend")], 300, 100)
    (line,) = chart.lines
    assert line.points == "150.0,0.0 250.0,75.0"
    assert line.value == 0.5
    assert chart.bands == ((0.0, 100.0, "pretrain"), (100.0, 200.0, "attend"))
    assert [(tick.at, tick.label) for tick in chart.y_ticks] == [(100.0, "0"), (0.0, "2")]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.2, 0.93, (0, 1)),
        (0, 0, (0, 1)),
        (-0.3, 1.2, (-0.3, 1.5)),
        (5, 730, (0, 800)),
        (-2, -1, (-2, 0)),
        (0, 1e-3, (0, 1e-3)),
    ],
)
def test_round_range(low, high, expected):
    assert round_range(low, high) == pytest.approx(expected)
