"""One temperature for a model's logits, so that it is no surer than it is right.

Of the slides that are called with probability 0.8, 0.8 should be called rightly. A network that was trained until it
was right is often surer than that, and one temperature mends most of it (Guo et al. 2017).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax

Floats = NDArray[np.float64]

WIDEST = 4.0
"""Temperatures are sought from 1 / WIDEST to WIDEST."""

STEPS = 400
"""Temperatures that are tried to either side of 1, evenly in their logarithm: 0.35 % apart."""

SPREAD = math.log(2.0)
"""Standard deviation of log T before any slide is seen: 19 of 20 models need a temperature from 1/4 to 4."""


@dataclass(frozen=True)
class Fit:
    """A temperature, and what it is worth on the slides that it was fitted on.

    slides: their number; before, after: mean negative log-likelihood (nats) with temperature 1 and with this one,
    the classes weighed by the prior. NaN without slides.
    """

    temperature: float
    slides: int
    before: float
    after: float


def posterior_log(logits: ArrayLike, prior: ArrayLike, temperature: float) -> Floats:
    """Log-probabilities of the classes: log softmax(logits / T + log prior).

    logits: (n, K) of a model that saw all classes equally often; prior: (K,), above 0, sums to 1; returns (n, K).

    Logits of an even training are, but for a constant, log-likelihoods of what was seen, and a model that is too sure
    overstates them. The prior was counted and needs no mending, so it stands outside of the temperature: a model that
    knows nothing (large T) says the prior.
    """
    scores = np.asarray(logits, np.float64) / temperature + np.log(np.asarray(prior, np.float64))
    return np.asarray(log_softmax(scores, axis=-1))


def fit_temperature(logits: ArrayLike, labels: ArrayLike, prior: ArrayLike) -> Fit:
    """Return the most probable temperature given validation slides, from 1/4 to 4.

    logits: (n, K) of a model that saw all classes equally often; labels: (n,) class indices; prior: (K,), the class
    shares that the probabilities are meant for.

    Maximum likelihood (Guo et al. 2017, section 4.2), with two changes. A slide weighs prior / share of its class
    among the slides, so that it does not matter how many slides of a class are in the validation split (importance
    weights for label shift, Saerens et al. 2002; a class without slides has no say). And log T has a normal prior
    around 0 (`SPREAD`): a few slides that all come out right have no most likely temperature but 0. It counts once
    against n_e = (sum w)^2 / sum w^2 slides (Kish), so many slides overrule it and without any T is 1. Minimised:

        n_e * sum_i w_i * NLL_i(T) / sum_i w_i + (log T / SPREAD)^2 / 2

    All temperatures of a grid are tried: one dimension, no start, no convergence to fail.
    """
    scores, true = np.asarray(logits, np.float64), np.asarray(labels, np.int64)
    if not len(true):
        return Fit(1.0, 0, math.nan, math.nan)
    shares = np.asarray(prior, np.float64)
    weights = shares[true] / np.bincount(true, minlength=len(shares))[true]
    weights /= weights.sum()
    effective = 1.0 / (weights**2).sum()
    log_t = math.log(WIDEST) / STEPS * np.arange(-STEPS, STEPS + 1)
    rows = np.arange(len(true))
    losses = np.array([-weights @ posterior_log(scores, shares, t)[rows, true] for t in np.exp(log_t)])
    best = int(np.argmin(effective * losses + (log_t / SPREAD) ** 2 / 2))
    return Fit(float(np.exp(log_t[best])), len(true), float(losses[STEPS]), float(losses[best]))
