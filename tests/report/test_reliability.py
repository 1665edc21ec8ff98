import pytest

from foveate.report.reliability import LARGEST, SMALLEST, calibration, diagram

BIN = {"from": 0.8, "to": 0.9, "confidence": 0.85, "accuracy": 0.75, "count": 100}


def figures(ece, bins):
    interval = {"ci95": [0, 1], "undefined_resamples": 0}
    return {"ece": ece, "negative_log_likelihood": {"value": 0.5} | interval, "brier": {"value": 0.3} | interval} | {
        "bins": bins
    }


def test_a_bin_lies_at_its_confidence_and_accuracy():
    small = {"from": 0.3, "to": 0.4, "confidence": 0.3, "accuracy": 1.0, "count": 1}
    low, high = diagram("", [small, BIN]).dots
    assert (high.x, high.y, high.sure_y, high.middle) == pytest.approx((170, 50, 30, 170))
    assert (low.x, low.y, low.sure_y, low.middle) == pytest.approx((60, 0, 140, 70))
    assert (high.radius, low.radius) == (LARGEST, SMALLEST)
    plot = diagram("", [BIN, BIN | {"count": 25}])
    assert plot.dots[1].radius == LARGEST / 2  # a quarter of the area
    assert [(tick.at, tick.label) for tick in plot.x_ticks][::5] == [(0, "0"), (200, "1")]
    assert [(tick.at, tick.label) for tick in plot.y_ticks][::5] == [(200, "0"), (0, "1")]


def test_with_and_without_temperature_stand_side_by_side():
    metrics = {"temperatures": [1.5], "calibrated": figures(0.1, [BIN]), "uncalibrated": figures(0.2, [])}
    found = calibration(metrics)
    assert found.changed
    assert [(plot.title, len(plot.dots)) for plot in found.diagrams] == [("With temperature", 1), ("Without", 0)]
    assert [(s.calibrated, s.uncalibrated) for s in found.scores] == [(0.1, 0.2), (0.5, 0.5), (0.3, 0.3)]


def test_a_temperature_of_one_changes_nothing_and_one_diagram_is_enough():
    same = figures(0.1, [BIN])
    found = calibration({"temperatures": [1.0], "calibrated": same, "uncalibrated": same})
    assert not found.changed
    assert len(found.diagrams) == 1


def test_without_slides_there_is_nothing_to_show():
    none = {key: {"value": None} for key in ("negative_log_likelihood", "brier")} | {"ece": None, "bins": []}
    found = calibration({"temperatures": [], "calibrated": none, "uncalibrated": none})
    assert found.diagrams[0].dots == ()
    assert found.scores[0].calibrated is None
