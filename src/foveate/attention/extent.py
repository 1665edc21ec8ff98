"""How far apart tumor was seen: a memory of fixed size, whatever the number of fixations.

Macrometastases are told from micrometastases by their largest diameter, 2 mm, and no glimpse shows that. Kept are the
farthest places along the axes of a fan of directions (the support function of what was seen), so the largest distance
between two of them is known to 2 %.
"""

from typing import Any

import numpy as np
from keras import ops

AXES = 8
NOWHERE = -1e6  # cells: farther back than any place, where nothing was seen yet
SURE = 0.5  # probability of tumor from which on a glimpse counts as having seen it
SCALE = 5.0  # of the feature, so that the answer heeds it within few steps of Adam


def nowhere(rows: Any, dtype: Any) -> Any:
    """The memory (rows, 2 * AXES) before anything was seen."""
    return ops.full((rows, 2 * AXES), NOWHERE, dtype)


def reached(reach: Any, evidence: Any, place: Any) -> Any:
    """The memory after a glimpse.

    reach: (B, 2 * AXES). evidence: (B, K) log-probabilities of the classes, that of nothing found first. place: (B, 2)
    row and column of the cell. No gradient flows: what was seen either counts or not.
    """
    angle = np.pi / AXES * np.arange(AXES)
    axes = np.stack([np.sin(angle), np.cos(angle)])
    ahead = ops.matmul(place, ops.convert_to_tensor(np.concatenate([axes, -axes], 1), reach.dtype))
    seen = ops.exp(ops.stop_gradient(evidence[:, :1])) < 1 - SURE
    return ops.where(seen, ops.maximum(reach, ahead), reach)


def extent(reach: Any) -> Any:
    """(B, 1) the largest distance, in cells, between places where tumor was seen; 0 with fewer than two."""
    across = ops.max(reach[:, :AXES] + reach[:, AXES:], axis=1, keepdims=True)
    return ops.maximum(across, 0.0)


def feature(reach: Any, cell_um: float) -> Any:
    """(B, 1) what the answer reads: `SCALE` times log(1 + extent in mm)."""
    return SCALE * ops.log1p(extent(reach) * (cell_um / 1000))
