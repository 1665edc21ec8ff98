"""How much of a slide's tissue was seen."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from foveate.slides.overview_file import StoredOverview


def tissue_seen(
    overview: StoredOverview, places_um: NDArray[np.floating], side_um: float, after: Sequence[int]
) -> NDArray[np.float64]:
    """Share of the tissue's area that the first n squares cover together, for each n of `after`: (len(after),).

    places_um: (T, 2) middles (x, y) of squares of side `side_um`, um from the level-0 corner. What two of them cover
    counts once, and glass does not. The area is that of the overview's tissue mask, of whose pixels a square may cover
    a part; of a pixel that two squares cover in part, the larger part counts. 0 where there is no tissue.
    """
    mask = overview.tissue
    seen = np.zeros(mask.shape, np.float32)
    areas = [0.0]
    corners = (np.asarray(places_um, np.float64) - overview.origin_um - side_um / 2) / overview.mpp
    side = side_um / overview.mpp
    for x, y in corners.tolist():
        (rows, down), (columns, across) = _overlap(y, side, mask.shape[0]), _overlap(x, side, mask.shape[1])
        before, tissue = seen[rows, columns], mask[rows, columns]
        more = np.maximum(np.outer(down, across) - before, 0)
        areas.append(areas[-1] + float(more[tissue].sum()))
        before += more
    total = int(mask.sum())
    return np.array([areas[n] / total if total else 0.0 for n in after])


def _overlap(start: float, length: float, size: int) -> tuple[slice, NDArray[np.float32]]:
    """Which of `size` pixels in a row a stretch touches, and the share of each that it covers."""
    first, last = max(0, math.floor(start)), min(size, math.ceil(start + length))
    pixels = np.arange(first, max(first, last), dtype=np.float64)
    shares = np.minimum(pixels + 1, start + length) - np.maximum(pixels, start)
    return slice(first, max(first, last)), shares.astype(np.float32)
