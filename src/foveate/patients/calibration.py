"""Whether probabilities mean what they say: of slides called with 0.8, 0.8 should be called rightly."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BINS = 10
"""Bins of confidence, equally wide from 0 to 1."""

FLOOR = 1e-12
"""Smaller probabilities count as this one in a log-likelihood, so that no slide makes it infinite."""


def negative_log_likelihood(probabilities: Floats, true: Ints) -> Floats:
    """Return -log of the true class's probability (nats), one a slide. probabilities: (n, K); true: (n,)."""
    return -np.log(np.maximum(probabilities[np.arange(len(true)), true], FLOOR))


def brier_score(probabilities: Floats, true: Ints) -> Floats:
    """Return sum_k (p_k - [k is true])^2, one a slide, 0 to 2 (Brier 1950). probabilities: (n, K); true: (n,)."""
    return ((probabilities - np.eye(probabilities.shape[1])[true]) ** 2).sum(axis=1)


def reliability(probabilities: Floats, true: Ints) -> list[dict[str, Any]]:
    """Return the bins of a reliability diagram that hold slides.

    DeGroot and Fienberg (1983); for the likeliest of many classes, Guo et al. (2017), section 2. probabilities: (n, K);
    true: (n,). Confidence is the highest probability, accuracy the share of slides whose likeliest class is the true
    one. Each bin: from, to (its ends), confidence (mean), accuracy, count. A confidence on an end belongs to the bin
    below.
    """
    confidence, right = probabilities.max(axis=1, initial=0.0), probabilities.argmax(axis=1) == true
    which = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    return [
        {
            "from": k / BINS,
            "to": (k + 1) / BINS,
            "confidence": float(confidence[which == k].mean()),
            "accuracy": float(right[which == k].mean()),
            "count": int((which == k).sum()),
        }
        for k in np.unique(which).tolist()
    ]


def expected_calibration_error(bins: list[dict[str, Any]]) -> float:
    """Return sum_b count_b / n * |accuracy_b - confidence_b| (Naeini et al. 2015; Guo et al. 2017, section 2).

    0 to 1, NaN without bins. It is above 0 for perfect probabilities too, the more so the fewer the slides; resampling
    adds noise of its own, so no bootstrap interval of it would be an honest one.
    """
    total = sum(one["count"] for one in bins)
    gaps = [one["count"] * abs(one["accuracy"] - one["confidence"]) for one in bins]
    return sum(gaps) / total if total else math.nan
