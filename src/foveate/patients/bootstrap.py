"""Percentile bootstrap over patients: the slides of one patient are not independent, patients are."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval; NaN where it is not defined.

    undefined: resamples in which the number is not defined; the interval is over the others.
    """

    value: float
    low: float
    high: float
    undefined: int

    def as_json(self) -> dict[str, object]:
        """Return {"value", "ci95": [low, high], "undefined_resamples"}, with None in place of NaN."""
        value, low, high = (None if math.isnan(x) else x for x in (self.value, self.low, self.high))
        return {"value": value, "ci95": [low, high], "undefined_resamples": self.undefined}


def resample_counts(n_patients: int, resamples: int, seed: int) -> NDArray[np.int64]:
    """Return how often each patient is drawn: (resamples, n_patients); n_patients draws, with replacement."""
    if n_patients == 0:
        return np.zeros((resamples, 0), dtype=np.int64)
    shares = np.full(n_patients, 1.0 / n_patients)
    return np.random.default_rng(seed).multinomial(n_patients, shares, size=resamples)


def estimate(value: float, resampled: NDArray[np.float64]) -> Estimate:
    """Put the 2.5th and 97.5th percentile of the resampled values, shape (resamples,), beside `value`.

    Efron and Tibshirani (1993), section 13.3.
    """
    defined = resampled[~np.isnan(resampled)]
    low, high = np.percentile(defined, [2.5, 97.5]) if defined.size else (math.nan, math.nan)
    return Estimate(float(value), float(low), float(high), resampled.size - defined.size)
