"""The distribution of a patient's pN stage, and the stage to report from it."""

from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foveate.patients.stages import PN2_NODES, PN_STAGES, SLIDE_CLASSES, pn_stage

SUM_TOLERANCE = 1e-3
"""How far a slide's probabilities may sum from 1: they are float32 and may come from a rounded table."""

TIE_TOLERANCE = 1e-9

COUNTS = tuple(product(range(2), range(2), range(PN2_NODES + 1)))
"""What the stage depends on: any itc, any macro, positive nodes (the last: that many or more). No node: the first."""


def _after(itc: int, macro: int, positive: int, label: str) -> int:
    more = min(positive + (label in ("micro", "macro")), PN2_NODES)
    return COUNTS.index((itc | (label == "itc"), macro | (label == "macro"), more))


def _stage(itc: int, macro: int, positive: int) -> int:
    labels = ["itc"] * itc + ["macro"] * macro + ["micro"] * (positive - macro)
    return PN_STAGES.index(pn_stage(labels or ["negative"]))


FOLLOWING = tuple(tuple(_after(*counts, label) for label in SLIDE_CLASSES) for counts in COUNTS)
"""Of each of `COUNTS` and each of `SLIDE_CLASSES`, the number of the counts after one more node of that class."""

STAGE_OF = tuple(_stage(*counts) for counts in COUNTS)
"""The number of the stage of each of `COUNTS`, by `pn_stage`."""


def stage_posterior(probabilities: ArrayLike) -> NDArray[np.float64]:
    """Return the exact distribution over `PN_STAGES`, shape (5,), of a patient with independent nodes.

    probabilities: (n, 4), n >= 1; row i holds the probabilities of `SLIDE_CLASSES` for node i. Rows are
    rescaled to sum to exactly 1.

    `pn_stage` depends on the labels only through three numbers: whether there is an itc, whether there is
    a macro, and how many nodes are positive, of which no more than four need telling apart. The joint
    distribution of the three (20 states) is carried from node to node, so the cost is linear in n where
    going through all labelings takes 4**n. Nodes of a patient are not independent: see `foveate.patients.prior`.

    Raises ValueError for another shape, for negative or non-finite values, and for rows that do not sum
    to 1 within `SUM_TOLERANCE`.
    """
    nodes = np.asarray(probabilities, dtype=np.float64)
    if nodes.ndim != 2 or nodes.shape[0] == 0 or nodes.shape[1] != len(SLIDE_CLASSES):
        raise ValueError(f"probabilities must have shape (n >= 1, 4). Received: {nodes.shape}")
    totals = nodes.sum(axis=1, keepdims=True)
    if not np.isfinite(nodes).all() or (nodes < 0).any() or (np.abs(totals - 1) > SUM_TOLERANCE).any():
        raise ValueError(f"each row must be a distribution over the 4 classes. Received: {nodes.tolist()}")

    moves = np.eye(len(COUNTS))[np.array(FOLLOWING).T]  # class, counts before, counts after
    state = np.eye(len(COUNTS))[0]
    for node in nodes / totals:
        state = np.einsum("c,s,cst->t", node, state, moves)
    return np.asarray(state @ np.eye(len(PN_STAGES))[list(STAGE_OF)])


def kappa_stage(posterior: ArrayLike) -> str:
    """Return the stage that quadratic weighted kappa rewards: the one nearest to the mean stage index.

    posterior: (5,), the probabilities of `PN_STAGES`.

    Kappa is 1 - (observed squared error) / (squared error expected by chance), with the stages numbered
    0 to 4. Among real numbers the expected squared error is least at the posterior mean, and it grows
    equally to both sides, so among the five stages it is least at the one nearest to the mean. The most
    probable stage may be another one: for pN0 with 0.6 and pN2 with 0.4 the mean is 1.6, and pN1mi loses
    least.

    Two limits. The chance term depends on the whole cohort's margins and is taken as given, so kappa
    itself gains in most cohorts, not in each. And slide probabilities must be calibrated: over many nodes
    small probabilities of lesions that are not there add up, the mean of an under-confident model moves
    to the middle stages, and then the rule on the predicted classes does better.

    At a tie, a mean halfway between two stages, kappa does not care; the higher stage is returned, as the
    more cautious.

    Raises ValueError for another shape or when the probabilities do not sum to 1.
    """
    weights = np.asarray(posterior, dtype=np.float64)
    if weights.shape != (len(PN_STAGES),) or not abs(weights.sum() - 1) <= SUM_TOLERANCE:
        raise ValueError(f"posterior must be 5 probabilities that sum to 1. Received: {weights.tolist()}")
    mean = weights @ np.arange(len(PN_STAGES)) / weights.sum()
    return PN_STAGES[int(np.floor(mean + 0.5 + TIE_TOLERANCE))]
