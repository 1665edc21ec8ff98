"""From the evidence of every cell to one of the slide."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax

Floats = NDArray[np.float64]
POOLINGS = ("mean", "max", "mean+max", "policy")


def pool(evidence: ArrayLike, salience: ArrayLike, pooling: str) -> Floats:
    """Pool the log-probabilities of N cells: (K,), or (2 K,) for both mean and max.

    evidence: (N, K). salience: (N,), log-probabilities. By `pooling`:

    - mean: log of the mean probability, in which a lesion counts by its extent;
    - max: the strongest evidence of each class;
    - mean+max: one after the other;
    - policy: log of the mean weighted by the policy's probability of looking at the cell first: attention that was
      learned with the model, from overviews, and nothing is fitted for it.
    """
    cells = np.asarray(evidence, np.float64)
    if pooling == "mean":
        return np.asarray(np.logaddexp.reduce(cells, axis=0) - np.log(len(cells)))
    if pooling == "max":
        return np.asarray(cells.max(axis=0))
    if pooling == "policy":
        return np.asarray(np.logaddexp.reduce(cells + np.asarray(salience, np.float64)[:, None], axis=0))
    if pooling == "mean+max":
        return np.concatenate([pool(evidence, salience, name) for name in ("mean", "max")])
    raise ValueError(f"pooling must be one of {POOLINGS}. Received: {pooling}")


def plain(pooled: ArrayLike) -> Floats:
    """Probabilities (..., K) from pooled log-probabilities as they are: rescaled to sum to 1."""
    return np.asarray(softmax(np.asarray(pooled, np.float64), axis=-1))
