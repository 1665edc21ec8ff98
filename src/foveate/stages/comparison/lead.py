"""How far ahead of another way to look the learned one is, on the same slides."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveate.patients.bootstrap import Estimate, estimate, resample_counts
from foveate.patients.metrics import auc
from foveate.patients.stages import SLIDE_CLASSES
from foveate.patients.staging import SlideResult

SCORED = ("negative", "micro", "macro")
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scored:
    """The slides that `auc_micro_macro_vs_negative` is of: n of them, and the patients resampled.

    positive (n,) bool; owner (n,), the number of each slide's patient; counts (resamples, patients).
    """

    slides: list[SlideResult]
    positive: NDArray[np.bool_]
    owner: NDArray[np.int64]
    counts: NDArray[np.int64]

    def auc(self, names: Sequence[str]) -> tuple[float, Floats]:
        """Of some rollouts, by the names of their predictions: the mean AUC, and that of each resample (resamples,)."""
        if not self.slides:
            return np.nan, np.empty(0)
        score = [SLIDE_CLASSES.index(label) for label in ("micro", "macro")]
        values, resampled = [], []
        for name in names:
            scores = np.array([s.predictions[name].probabilities for s in self.slides])[:, score].sum(axis=1)
            values.append(float(auc(scores, self.positive)))
            resampled.append(auc(scores, self.positive, self.counts[:, self.owner]))
        return float(np.mean(values)), np.mean(resampled, axis=0)


def lead(one: tuple[float, Floats], other: tuple[float, Floats]) -> Estimate:
    """One AUC minus another, both as `Scored.auc` gives them, with the interval of the difference.

    Both saw the same resamples, so what makes slides hard for either cancels: the interval is narrower than the two
    that stand beside the two AUCs.
    """
    return estimate(one[0] - other[0], one[1] - other[1])


def scored(slides: Sequence[SlideResult], resamples: int) -> Scored:
    """Those of the slides that were predicted and are negative, micro or macro."""
    kept = [s for s in slides if s.state == "ok" and s.label in SCORED]
    patients, owner = np.unique([s.patient for s in kept], return_inverse=True)
    return Scored(
        kept,
        np.array([s.label != "negative" for s in kept], dtype=np.bool_),
        owner.astype(np.int64),
        resample_counts(len(patients), resamples, 0),
    )
