"""Slides side by side, as the agent gets them: overviews on one grid, and the cells that can be looked at."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from foveate.slides.overview_file import StoredOverview
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

    image: (B, R * cell_px, C * cell_px, 3) uint8. tissue: (B, R, C) bool. candidates: (B, N) int32, the tissue cells
    as indices into R * C, row by row; -1 fills up. home: (B, N, 2) row and column of each before the turn.
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
        rows, columns = overview.cell_tissue.shape
        shape = _padded(rows, columns, int(found.sum()))
        home = self.home[own, : shape.candidates]
        cells = home[..., 0] * shape.columns + home[..., 1]
        return Batch(
            [overview],
            self.image[own, : shape.rows * px, : shape.columns * px],
            self.tissue[own, : shape.rows, : shape.columns],
            np.where(found[: shape.candidates], cells, -1).astype(np.int32),
            home,
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

    def on_grid(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values of the candidates (B, N) as maps (B, R, C) of the cells before the turn, 0 elsewhere."""
        out = np.zeros(self.tissue.shape, np.float32)
        for row, found in enumerate(self.candidates >= 0):
            rows, columns = self.home[row, found].T
            out[row, rows, columns] = values[row, found]
        return out


def tissue_cells(overview: StoredOverview, share: float) -> NDArray[np.bool_]:
    """(rows, columns) cells of which at least `share` is tissue; the fullest ones where none reaches it."""
    shares = overview.cell_tissue
    return shares >= min(share, float(shares.max()))


def common_shape(overviews: Sequence[StoredOverview], share: float) -> Shape:
    """The shape that holds every overview: the grid rounded up to GRID_STEP, the candidates to the next size."""
    rows, columns = np.max([o.cell_tissue.shape for o in overviews], axis=0)
    return _padded(int(rows), int(columns), max(int(tissue_cells(o, share).sum()) for o in overviews))


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
    tissue = np.zeros((count, shape.rows, shape.columns), bool)
    candidates = np.full((count, shape.candidates), -1, np.int32)
    home = np.zeros((count, shape.candidates, 2), np.int64)
    for row, overview in enumerate(overviews):
        height, width = overview.thumbnail.shape[:2]
        cells = tissue_cells(overview, cell_share)
        image[row, :height, :width] = overview.thumbnail
        glass = np.tile(np.asarray(overview.background_rgb, np.uint8), (shape.columns * px, 1))  # a row of it
        image[row, height:], image[row, :height, width:] = glass, glass[width:]
        tissue[row, : cells.shape[0], : cells.shape[1]] = cells
        if turns[row]:
            image[row], tissue[row] = (turned(values, int(turns[row])) for values in (image[row], tissue[row]))
        places = np.argwhere(tissue[row])
        candidates[row, : len(places)] = places[:, 0] * shape.columns + places[:, 1]
        home[row, : len(places)] = upright(places, int(turns[row]), shape.rows)
    return Batch(overviews, image, tissue, candidates, home, turns)
