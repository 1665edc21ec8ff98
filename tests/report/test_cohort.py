import numpy as np
import pytest

from foveate.patients.evaluation import evaluate
from foveate.patients.staging import SlidePrediction, SlideResult, stage_patients
from foveate.report.cohort import Estimate, MetricRow, split_metrics


def slide(name, patient, label, learned, random="negative"):
    return SlideResult(name, patient, "test", label, "ok", {"learned": sure(learned), "random": sure(random)})


def sure(name):
    classes = ("negative", "itc", "micro", "macro")
    probabilities = tuple(float(c == name) for c in classes)
    return SlidePrediction(name, probabilities, probabilities, 1.0)


def test_the_metrics_of_the_patients_stage_are_read():
    slides = [
        slide("a", "p", "macro", "macro"),
        slide("b", "p", "itc", "micro"),
        slide("c", "q", "negative", "negative"),
    ]
    view = split_metrics(evaluate(stage_patients(slides, {}), resamples=20, seed=0))
    assert (view.n_patients, view.n_slides, view.empty) == (2, 3, False)
    rows = {row.name: row for row in view.rows}
    assert rows["Kappa"].learned.value == 1.0
    assert rows["Slide accuracy"].learned.value == pytest.approx(2 / 3)
    assert rows["Slide accuracy"].gap == pytest.approx(1 / 3)
    assert view.slides.totals == (1, 1, 0, 1)
    assert view.slides.cells[1][2].count == 1
    assert view.slides.cells[1][2].share == 1.0
    assert view.slides.cells[2][2].share == 0.0
    assert view.patients.total == 2
    assert [row.name for row in view.sensitivity] == ["negative", "itc", "micro", "macro"]
    assert view.sensitivity[2].learned.value is None


def test_a_patient_agent_has_a_row_where_there_is_one():
    slides = [slide("a", "p", "macro", "macro"), slide("b", "q", "negative", "negative")]
    stages = np.eye(5)[[3, 0]]
    agents = {name: dict.fromkeys(("learned", "random"), row) for name, row in zip("pq", stages, strict=True)}
    names = []
    for staged in ({}, agents):
        view = split_metrics(evaluate(stage_patients(slides, {}, agents=staged), resamples=20, seed=0))
        names.append([row.name for row in view.rows])
    assert names[0] == [name for name in names[1] if name != "Kappa by patient agent"] != names[1]


def test_no_ground_truth_is_empty():
    view = split_metrics(evaluate([], resamples=5, seed=0))
    assert view.empty
    assert view.rows[0].learned == Estimate(None, None, None)
    assert view.rows[0].gap is None


def test_the_axis_reaches_below_zero_when_an_interval_does():
    metrics = evaluate([], resamples=5, seed=0)
    assert split_metrics(metrics).axis_low == 0.0
    metrics["random"]["kappa"] = {"value": 0.1, "ci95": [-0.3, 0.4]}
    assert split_metrics(metrics).axis_low == -0.5
    metrics["random"]["kappa"] = {"value": -0.9, "ci95": [-0.95, -0.2]}
    assert split_metrics(metrics).axis_low == -1.0


def test_a_gap_needs_both_values():
    known, unknown = Estimate(0.5, 0.4, 0.6), Estimate(None, None, None)
    assert MetricRow("", "", known, unknown).gap is None
    assert MetricRow("", "", unknown, known).gap is None
