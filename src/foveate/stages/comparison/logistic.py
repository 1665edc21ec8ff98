"""A multinomial logistic regression: what pooled evidence says of a slide's class."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

STRENGTHS = tuple(10.0**k for k in range(-4, 2))
"""Weights of the penalty that validation slides choose from."""

USUAL = 1e-2
"""The weight without validation slides."""


@dataclass(frozen=True)
class Logistic:
    """weights: (F + 1, K), the intercepts last; mean, spread: (F,) of the features that it was fitted on."""

    weights: Floats
    mean: Floats
    spread: Floats

    def probabilities(self, features: Floats) -> Floats:
        """(n, F) to (n, K)."""
        return np.asarray(np.exp(_log_p(self.weights, (features - self.mean) / self.spread)))


def fit(features: Floats, labels: Ints, classes: int, strength: float) -> Logistic:
    """Minimise mean negative log-likelihood + strength / 2 * |weights|^2, intercepts free, on standardised features.

    features: (n, F), n at least 1. labels: (n,) class indices. Convex, so the start does not matter (L-BFGS).
    """
    mean, spread = features.mean(axis=0), features.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    x, rows = (features - mean) / spread, np.arange(len(labels))
    once = np.eye(classes)[labels]

    def loss(flat: Floats) -> tuple[float, Floats]:
        weights = flat.reshape(-1, classes)
        log_p = _log_p(weights, x)
        error = (np.exp(log_p) - once) / len(labels)
        gradient = np.concatenate([x.T @ error + strength * weights[:-1], error.sum(axis=0, keepdims=True)])
        value = -log_p[rows, labels].mean() + strength / 2 * (weights[:-1] ** 2).sum()
        return float(value), gradient.ravel()

    start = np.zeros((features.shape[1] + 1) * classes)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 2000})
    return Logistic(found.x.reshape(-1, classes), mean, spread)


def fit_chosen(features: Floats, labels: Ints, classes: int, chosen_by: tuple[Floats, Ints]) -> Logistic:
    """The fit whose strength gives other slides, features (m, F) and labels (m,), the highest likelihood."""
    others, truth = chosen_by
    if not len(truth):
        return fit(features, labels, classes, USUAL)
    fits = [fit(features, labels, classes, strength) for strength in STRENGTHS]
    rows = np.arange(len(truth))
    losses = [-_log_p(f.weights, (others - f.mean) / f.spread)[rows, truth].mean() for f in fits]
    return fits[int(np.argmin(losses))]


def _log_p(weights: Floats, x: Floats) -> Floats:
    return np.asarray(log_softmax(x @ weights[:-1] + weights[-1], axis=-1))
