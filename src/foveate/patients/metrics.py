"""How good slide classes and patient stages are.

All functions work on a stack of samples at once (leading axes `...`), so that a bootstrap is one call. What
is not defined for a sample, such as the sensitivity for a class that does not occur, is NaN there.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def confusion_by_owner(owner: Ints, true: Ints, predicted: Ints, n_owners: int, n_classes: int) -> Floats:
    """Count pairs of true and predicted class for every owner: (n_owners, n_classes, n_classes), rows true.

    owner, true, predicted: (n,) indices; `owner` says to whom an item belongs (the patient of a slide).
    Summed over the owners it is the confusion matrix; summed with weights, that of a resample.
    """
    shape = (n_owners, n_classes, n_classes)
    cells = np.ravel_multi_index((owner, true, predicted), shape) if len(owner) else owner
    return np.bincount(cells, minlength=int(np.prod(shape))).reshape(shape).astype(np.float64)


def accuracy(confusion: ArrayLike) -> Floats:
    """Return the share of items on the diagonal. confusion: (..., k, k); returns (...,)."""
    table = np.asarray(confusion, dtype=np.float64)
    return _ratio(np.trace(table, axis1=-2, axis2=-1), table.sum(axis=(-2, -1)))


def sensitivity(confusion: ArrayLike) -> Floats:
    """Return for each true class the share that was predicted so: (..., k).

    confusion: (..., k, k), rows true.
    """
    table = np.asarray(confusion, dtype=np.float64)
    return _ratio(np.diagonal(table, axis1=-2, axis2=-1), table.sum(axis=-1))


def quadratic_weighted_kappa(confusion: ArrayLike) -> Floats:
    """Return Cohen's kappa with weights (i - j)**2 (Cohen 1968). confusion: (..., k, k); returns (...,).

    kappa = 1 - sum_ij w_ij O_ij / sum_ij w_ij E_ij, with O the confusion matrix and E the product of its
    margins divided by its total: 1 for full agreement, 0 for what chance gives, negative below that.

    When truth and prediction are one and the same class throughout, chance agrees fully as well and kappa
    is 0 / 0: NaN, not 1. When the truth is one class and the predictions differ, kappa is 0.
    """
    table = np.asarray(confusion, dtype=np.float64)
    index = np.arange(table.shape[-1])
    weights = (index[:, None] - index[None, :]) ** 2
    observed = (weights * table).sum(axis=(-2, -1))
    rows, columns, total = table.sum(axis=-1), table.sum(axis=-2), table.sum(axis=(-2, -1))
    by_chance = (weights * rows[..., :, None] * columns[..., None, :]).sum(axis=(-2, -1))
    return 1.0 - _ratio(observed * total, by_chance)


def auc(scores: ArrayLike, positive: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Return the area under the ROC curve: how often a positive item scores above a negative one.

    scores: (n,); positive: (n,) bool; weights: (..., n) how often each item counts, by default once;
    returns (...,). Equal scores count as half (the Mann-Whitney statistic). NaN where the weights leave
    no positive or no negative item.
    """
    values, is_positive = np.asarray(scores, dtype=np.float64), np.asarray(positive, dtype=bool)
    times = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    values, is_positive, times = values[order], is_positive[order], times[..., order]
    starts = np.flatnonzero(np.diff(values, prepend=-np.inf) > 0)  # of each run of equal scores
    positives = np.add.reduceat(times * is_positive, starts, axis=-1)
    negatives = np.add.reduceat(times * ~is_positive, starts, axis=-1)
    below = np.cumsum(negatives, axis=-1) - negatives / 2
    pairs = positives.sum(axis=-1) * negatives.sum(axis=-1)
    return _ratio((positives * below).sum(axis=-1), pairs)


def mean(values: ArrayLike, weights: ArrayLike) -> Floats:
    """Return the weighted mean: (...,). values: (n,); weights: (..., n) how often each item counts."""
    times = np.asarray(weights, dtype=np.float64)
    return _ratio(times @ np.asarray(values, dtype=np.float64), times.sum(axis=-1))


def _ratio(numerator: ArrayLike, denominator: ArrayLike) -> Floats:
    """Divide; NaN where the denominator is 0."""
    above, under = np.broadcast_arrays(
        np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    )
    return np.divide(above, under, out=np.full(above.shape, np.nan), where=under != 0)
