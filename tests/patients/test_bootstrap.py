import numpy as np
import pytest

from foveate.patients.bootstrap import Estimate, estimate, resample_counts


def test_resamples_draw_as_many_patients_as_there_are() -> None:
    counts = resample_counts(7, 400, seed=3)
    assert counts.shape == (400, 7)
    assert (counts.sum(axis=1) == 7).all()
    assert abs(counts.mean(axis=0) - 1).max() < 0.2  # each patient equally often; standard error 0.05


def test_the_seed_decides() -> None:
    np.testing.assert_array_equal(resample_counts(5, 10, seed=1), resample_counts(5, 10, seed=1))
    assert (resample_counts(5, 10, seed=1) != resample_counts(5, 10, seed=2)).any()


def test_no_patients() -> None:
    assert resample_counts(0, 10, seed=0).shape == (10, 0)


def test_percentiles() -> None:
    assert estimate(0.5, np.arange(1001) / 1000) == Estimate(0.5, 0.025, 0.975, 0)


def test_interval_of_a_mean_is_that_of_theory() -> None:
    values = np.random.default_rng(0).normal(size=400)
    means = resample_counts(400, 2000, seed=0) @ values / 400
    interval = estimate(values.mean(), means)
    assert interval.low == pytest.approx(values.mean() - 1.96 / 20, abs=0.02)
    assert interval.high == pytest.approx(values.mean() + 1.96 / 20, abs=0.02)


def test_undefined_resamples_are_left_out_and_counted() -> None:
    found = estimate(1.0, np.array([1.0, np.nan, 1.0, np.nan]))
    assert found.as_json() == {"value": 1.0, "ci95": [1.0, 1.0], "undefined_resamples": 2}


def test_undefined_metric_is_null() -> None:
    found = estimate(np.nan, np.full(3, np.nan))
    assert found.as_json() == {"value": None, "ci95": [None, None], "undefined_resamples": 3}
