"""Slides side by side, as the agent gets them: overviews on one grid, and the cells that can be looked at."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from foveate.attention.context import REACH
from foveate.slides.overview_file import StoredOverview
from foveate.slides.raster import cut_out
from foveate.stages.augment import turned, upright

GRID_STEP = 16  # grids are padded to a multiple of this many cells, so that few shapes are compiled
FEWEST = 64  # candidates; above it their number is 2^k or 1.5 * 2^k


class Shape(NamedTuple):
    """Rows and columns of a grid of cells, and the room for candidates."""

    rows: int
    columns: int
    candidates: int


@dataclass(frozen=True)
class Batch:
    """B slides on one grid of R x C cells, padded with glass at the right and the bottom, then turned.

    Of each slide there is the box of its tissue cells and what is within REACH of them, glass where the slide ends.
    What is beyond is not looked at.

    image: (B, R * cell_px, C * cell_px, 3) uint8. tissue: (B, R, C) bool. candidates: (B, N) int32, the tissue cells
    as indices into R * C, row by row; -1 fills up. home: (B, N, 2) row and column of each on the overview's own grid.
    orientation: (B,) 0 to 7, see `augment.turned`.
    """

    overviews: Sequence[StoredOverview]
    image: NDArray[np.uint8]
    tissue: NDArray[np.bool_]
    candidates: NDArray[np.int32]
    home: NDArray[np.int64]
    orientation: NDArray[np.int64]

    def alone(self, row: int) -> "Batch":
        """One slide on a grid of its own, views of what is here; its candidates keep their places in the list.

        The batch must be upright.
        """
        overview, px = self.overviews[row], self.overviews[row].cell_px
        own, found = slice(row, row + 1), self.candidates[row] >= 0
        rows, columns = _box(self.tissue[row])  # they begin at 0
        shape = _padded(rows.stop, columns.stop, int(found.sum()))
        at = np.divmod(self.candidates[own, : shape.candidates], self.tissue.shape[2])
        cells = at[0] * shape.columns + at[1]
        return Batch(
            [overview],
            self.image[own, : shape.rows * px, : shape.columns * px],
            self.tissue[own, : shape.rows, : shape.columns],
            np.where(found[: shape.candidates], cells, -1).astype(np.int32),
            self.home[own, : shape.candidates],
            self.orientation[own],
        )

    def at_candidates(self, maps: Sequence[NDArray[np.int32]]) -> NDArray[np.int32]:
        """(B, N) of maps over each overview's cells before the turn, 0 where there is no candidate."""
        out = np.zeros(self.candidates.shape, np.int32)
        for row, cells in enumerate(maps):
            found = self.candidates[row] >= 0
            rows, columns = self.home[row, found].T
            out[row, found] = cells[rows, columns]
        return out

    def on_grids(self, values: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Values of the candidates (B, N) as maps of the cells of each overview, 0 where there is no candidate."""
        out = [np.zeros(overview.cell_tissue.shape, np.float32) for overview in self.overviews]
        for row, found in enumerate(self.candidates >= 0):
            rows, columns = self.home[row, found].T
            out[row][rows, columns] = values[row, found]
        return out


def tissue_cells(overview: StoredOverview, share: float) -> NDArray[np.bool_]:
    """(rows, columns) cells of which at least `share` is tissue; the fullest ones where none reaches it."""
    shares = overview.cell_tissue
    return shares >= min(share, float(shares.max()))


def common_shape(overviews: Sequence[StoredOverview], share: float) -> Shape:
    """The shape that holds what is looked at of each overview: the grid rounded up to GRID_STEP, the candidates to the
    next size.
    """
    cells = [tissue_cells(o, share) for o in overviews]
    sides = [[side.stop - side.start for side in _box(tissue)] for tissue in cells]
    rows, columns = np.max(sides, axis=0)
    return _padded(int(rows), int(columns), max(int(tissue.sum()) for tissue in cells))


def _box(tissue: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns of the tissue cells, and REACH more on each side, also where the grid ends.

    What is beyond changes no feature of a tissue cell.
    """
    found = [np.flatnonzero(tissue.any(1 - axis)) for axis in range(2)]
    rows, columns = (slice(int(at[0]) - REACH, int(at[-1]) + 1 + REACH) for at in found)
    return rows, columns


def _padded(rows: int, columns: int, candidates: int) -> Shape:
    room = next(size for k in range(64) for size in (FEWEST << k, (FEWEST << k) * 3 // 2) if size >= candidates)
    return Shape(-(-rows // GRID_STEP) * GRID_STEP, -(-columns // GRID_STEP) * GRID_STEP, room)


def make_batch(
    overviews: Sequence[StoredOverview],
    shape: Shape,
    cell_share: float,
    orientation: NDArray[np.int64] | None = None,
) -> Batch:
    """Put overviews on one grid. Those that are turned by a quarter need a square one."""
    px, count = overviews[0].cell_px, len(overviews)
    turns = np.zeros(count, np.int64) if orientation is None else orientation
    image = np.empty((count, shape.rows * px, shape.columns * px, 3), np.uint8)
    tissue = np.empty((count, shape.rows, shape.columns), bool)
    candidates = np.full((count, shape.candidates), -1, np.int32)
    home = np.zeros((count, shape.candidates, 2), np.int64)
    for row, overview in enumerate(overviews):
        whole = tissue_cells(overview, cell_share)
        rows, columns = _box(whole)
        first = (rows.start, columns.start)
        for values, unit, around, out in (
            (overview.thumbnail, px, overview.background_rgb, image[row]),
            (whole, 1, False, tissue[row]),
        ):
            within = values[: rows.stop * unit, : columns.stop * unit]
            cut_out(within, columns.start * unit, rows.start * unit, out, around)
        if turns[row]:
            image[row], tissue[row] = (turned(values, int(turns[row])) for values in (image[row], tissue[row]))
        places = np.argwhere(tissue[row])
        candidates[row, : len(places)] = places[:, 0] * shape.columns + places[:, 1]
        home[row, : len(places)] = upright(places, int(turns[row]), shape.rows) + first
    return Batch(overviews, image, tissue, candidates, home, turns)
