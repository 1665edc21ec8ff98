"""What exhaustive reading concludes of a slide: evidence of all its cells pooled, and read out.

As it is, pooled evidence is no judge of slide classes: the largest of thousands of numbers is never small. So that
exhaustive reading does not lose by the lack of a readout, each pooling is also read by a logistic regression, and gated
attention pooling is trained, on what the model itself learned from: the training slides, with the validation slides to
choose. Tested slides touch no fit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foveate.stages.comparison.exhaustive import Cells
from foveate.stages.comparison.gated import GatedAttention
from foveate.stages.comparison.gated import fit as fit_gated
from foveate.stages.comparison.logistic import Logistic, fit_chosen
from foveate.stages.comparison.parts import read_cells, read_vectors
from foveate.stages.comparison.pooling import POOLINGS, plain, pool

Floats = NDArray[np.float64]
Read = tuple[str, str]
"""Pooling and readout: "plain", the pooled probabilities as they are; or "fitted"."""

ATTENTION = "gated attention"
PLAIN = ("mean", "max", "policy")
"""Poolings that are one number a class, so that they can be read as they are."""


@dataclass(frozen=True)
class Labelled:
    """Files of slides' cells, and their class indices."""

    files: Sequence[Path]
    labels: Sequence[int]


@dataclass(frozen=True)
class Readouts:
    """regressions: one a pooling; none, and no attention, where there was nothing to fit them on."""

    regressions: dict[str, Logistic]
    attention: GatedAttention | None

    def conclude(self, cells: Cells) -> dict[Read, Floats]:
        """The probabilities (K,) of a slide by each pooling and readout."""
        found: dict[Read, Floats] = {(p, "plain"): plain(pool(cells.evidence, cells.salience, p)) for p in PLAIN}
        for pooling, regression in self.regressions.items():
            pooled = pool(cells.evidence, cells.salience, pooling)
            found[pooling, "fitted"] = regression.probabilities(pooled[None])[0]
        if self.attention is not None:
            found[ATTENTION, "fitted"] = self.attention.probabilities(cells.vectors)
        return found


def fit(train: Labelled, val: Labelled, classes: int, seed: int) -> Readouts:
    """Fit on some slides, with others to choose how strongly. Without two classes in `train` nothing is fitted."""
    if len(set(train.labels)) < 2:
        return Readouts({}, None)
    features = [_features(part.files) for part in (train, val)]
    labels, truth = (np.array(part.labels, np.int64) for part in (train, val))
    regressions = {
        pooling: fit_chosen(features[0][pooling], labels, classes, (features[1][pooling], truth))
        for pooling in POOLINGS
    }
    bags, others = ([partial(read_vectors, path) for path in part.files] for part in (train, val))
    return Readouts(regressions, fit_gated(bags, train.labels, classes, (others, val.labels), seed))


def _features(files: Sequence[Path]) -> dict[str, Floats]:
    rows: dict[str, list[Floats]] = {pooling: [] for pooling in POOLINGS}
    for path in files:
        cells = read_cells(path)
        for pooling in POOLINGS:
            rows[pooling].append(pool(cells.evidence, cells.salience, pooling))
    return {pooling: np.array(values) for pooling, values in rows.items()}
