"""Slides side by side, as the agent gets them: overviews on one grid, and the cells that can be looked at."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from foveate.attention.context import REACH
from foveate.slides.overview_file import StoredOverview
from foveate.slides.raster import cut_out
from foveate.stages.augment import turned, upright

GRID_STEP = 16  # grids are padded to a multiple of this many cells, so that few shapes are compiled
FEWEST = 64  # candidates; above it their number is 2^k or 1.5 * 2^k
Box = tuple[slice, slice]  # rows and columns of cells; a slice may begin before and end behind the grid


class Shape(NamedTuple):
    """Rows and columns of a grid of cells, and the room for candidates."""

    rows: int
    columns: int
    candidates: int


@dataclass(frozen=True)
class Batch:
    """B slides on one grid of R x C cells, padded with glass at the right and the bottom, then turned.

    Of each slide there is the box of its tissue cells and what is within REACH of them, glass where the slide ends.
    What is beyond changes nothing.

    tissue: (B, R, C) bool. candidates: (B, N) int32, the tissue cells as indices into R * C, row by row; -1 fills up.
    home: (B, N, 2) row and column of each on the overview's own grid. orientation: (B,) 0 to 7, see `augment.turned`.
    boxes: of each slide, on its own grid.
    """

    overviews: Sequence[StoredOverview]
    tissue: NDArray[np.bool_]
    candidates: NDArray[np.int32]
    home: NDArray[np.int64]
    orientation: NDArray[np.int64]
    boxes: Sequence[Box]

    @cached_property
    def image(self) -> NDArray[np.uint8]:
        """(B, R * cell_px, C * cell_px, 3), made when it is asked for: who looks at each slide alone needs none.

        That of a single slide is a part of its thumbnail, not a copy, where the slide is large enough.
        """
        px = self.overviews[0].cell_px
        count, rows, columns = self.tissue.shape
        if count == 1 and not self.orientation[0] and (part := self._part(px)) is not None:
            return part[None]
        image = np.empty((count, rows * px, columns * px, 3), np.uint8)
        for out, overview, box, turns in zip(image, self.overviews, self.boxes, self.orientation.tolist(), strict=True):
            _place(overview.thumbnail, box, px, overview.background_rgb, out)
            if turns:
                out[:] = turned(out, turns)
        return image

    def _part(self, px: int) -> NDArray[np.uint8] | None:
        """The thumbnail of the first slide from the box's corner on, of the grid's size, if it has all of that."""
        _, *cells = self.tissue.shape
        first = [side.start for side in self.boxes[0]]
        own = self.overviews[0].thumbnail
        if min(first) < 0 or any((a + n) * px > size for a, n, size in zip(first, cells, own.shape, strict=False)):
            return None
        return np.asarray(own[tuple(slice(a * px, (a + n) * px) for a, n in zip(first, cells, strict=True))])

    def alone(self, row: int) -> "Batch":
        """One slide on a grid of its own; its candidates keep their places in the list.

        The batch must be upright.
        """
        own, found, box = slice(row, row + 1), self.candidates[row] >= 0, self.boxes[row]
        shape = _padded(*_sides(box), int(found.sum()))
        at = np.divmod(self.candidates[own, : shape.candidates], self.tissue.shape[2])
        cells = at[0] * shape.columns + at[1]
        return Batch(
            [self.overviews[row]],
            self.tissue[own, : shape.rows, : shape.columns],
            np.where(found[: shape.candidates], cells, -1).astype(np.int32),
            self.home[own, : shape.candidates],
            self.orientation[own],
            [box],
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
    rows, columns = np.max([_sides(_box(tissue)) for tissue in cells], axis=0)
    return _padded(int(rows), int(columns), max(int(tissue.sum()) for tissue in cells))


def _box(tissue: NDArray[np.bool_]) -> Box:
    """Rows and columns of the tissue cells, and REACH more on each side, also where the grid ends.

    What is beyond changes no feature of a tissue cell.
    """
    found = [np.flatnonzero(tissue.any(1 - axis)) for axis in range(2)]
    rows, columns = (slice(int(at[0]) - REACH, int(at[-1]) + 1 + REACH) for at in found)
    return rows, columns


def _sides(box: Box) -> tuple[int, int]:
    return box[0].stop - box[0].start, box[1].stop - box[1].start


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
    count, boxes = len(overviews), []
    turns = np.zeros(count, np.int64) if orientation is None else orientation
    tissue = np.empty((count, shape.rows, shape.columns), bool)
    candidates = np.full((count, shape.candidates), -1, np.int32)
    home = np.zeros((count, shape.candidates, 2), np.int64)
    for row, overview in enumerate(overviews):
        whole = tissue_cells(overview, cell_share)
        box = _box(whole)
        _place(whole, box, 1, False, tissue[row])
        if turns[row]:
            tissue[row] = turned(tissue[row], int(turns[row]))
        places = np.argwhere(tissue[row])
        candidates[row, : len(places)] = places[:, 0] * shape.columns + places[:, 1]
        first = (box[0].start, box[1].start)
        home[row, : len(places)] = upright(places, int(turns[row]), shape.rows) + first
        boxes.append(box)
    return Batch(overviews, tissue, candidates, home, turns, boxes)


def _place(whole: NDArray[Any], box: Box, px: int, around: Any, out: NDArray[Any]) -> None:
    """Fill `out` (h, w, ...) with the box of cells of px x px pixels of `whole` (H, W, ...), and `around` elsewhere."""
    rows, columns = box
    within = whole[: rows.stop * px, : columns.stop * px]
    cut_out(within, columns.start * px, rows.start * px, out, around)
