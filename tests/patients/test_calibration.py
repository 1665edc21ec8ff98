import math

import numpy as np
import pytest

from foveate.patients.calibration import (
    brier_score,
    expected_calibration_error,
    negative_log_likelihood,
    reliability,
)


def test_negative_log_likelihood_by_hand() -> None:
    probabilities = np.array([[0.25, 0.75], [0.5, 0.5], [1.0, 0.0]])
    found = negative_log_likelihood(probabilities, np.array([1, 0, 1]))
    np.testing.assert_allclose(found, [math.log(4 / 3), math.log(2), math.log(1e12)])


def test_brier_score_by_hand() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    found = brier_score(probabilities, np.array([0, 0, 2]))
    np.testing.assert_allclose(found, [0.09 + 0.04 + 0.01, 0, 2], atol=1e-15)


def test_reliability_by_hand() -> None:
    probabilities = np.array([[0.85, 0.15], [0.81, 0.19], [0.1, 0.9], [0.6, 0.4], [0.0, 1.0]])
    bins = reliability(probabilities, np.array([0, 1, 1, 1, 1]))
    assert bins == [
        {"from": 0.5, "to": 0.6, "confidence": 0.6, "accuracy": 0.0, "count": 1},  # an end belongs below
        {"from": 0.8, "to": 0.9, "confidence": pytest.approx(2.56 / 3), "accuracy": pytest.approx(2 / 3), "count": 3},
        {"from": 0.9, "to": 1.0, "confidence": 1.0, "accuracy": 1.0, "count": 1},
    ]
    # 1 / 5 * 0.6 + 3 / 5 * |2 / 3 - 2.56 / 3| + 0
    assert expected_calibration_error(bins) == pytest.approx(0.12 + 0.56 / 5)


def test_nothing_to_measure() -> None:
    none, labels = np.empty((0, 4)), np.array([], np.int64)
    assert reliability(none, labels) == []
    assert math.isnan(expected_calibration_error([]))
    assert negative_log_likelihood(none, labels).shape == brier_score(none, labels).shape == (0,)
