"""Rollouts on slides: the agent chooses, the sensor reads, the agent absorbs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveate.attention.agent import Agent, FirstLook, Fixation
from foveate.errors import SlideError
from foveate.slides.overview_file import StoredOverview
from foveate.slides.sensor import GlimpseSensor
from foveate.stages.augment import Variety, stain

WHERE_UM = 10_000.0  # locations reach the model in centimetres from the middle of the overview
GRID_STEP = 16  # grids are padded to a multiple of this many cells, so that few shapes are compiled

# log-probabilities (B, N) and allowed cells (B, N) to one cell a row
Chooser = Callable[[NDArray[np.float32], NDArray[np.bool_]], NDArray[np.int64]]


@dataclass(frozen=True)
class Batch:
    """Overviews of B slides on one grid of R x C cells, padded with glass at the right and the bottom.

    image: (B, R * cell_px, C * cell_px, 3) uint8. tissue: (B, R, C) bool.
    """

    overviews: Sequence[StoredOverview]
    image: NDArray[np.uint8]
    tissue: NDArray[np.bool_]


@dataclass(frozen=True)
class Rollout:
    """B slides, T fixations.

    location_um (B, T, 2) x, y; where (B, T, 2) as the model gets it; cell (B, T) index into R x C; probability
    (B, T) of the cell under the policy; logits (B, T, K); pixels (B, T, S, g, g, 3); errors: row -> why its
    glimpses could not be read (its other values mean nothing then).
    """

    location_um: NDArray[np.float32]
    where: NDArray[np.float32]
    cell: NDArray[np.int32]
    probability: NDArray[np.float32]
    logits: NDArray[np.float32]
    pixels: NDArray[np.uint8]
    errors: dict[int, SlideError]


def tissue_cells(overview: StoredOverview, share: float) -> NDArray[np.bool_]:
    """(rows, columns) cells of which at least `share` is tissue; the fullest ones where none reaches it."""
    shares = overview.cell_tissue
    return shares >= min(share, float(shares.max()))


def grid_shape(overviews: Sequence[StoredOverview]) -> tuple[int, int]:
    """Rows and columns that hold every overview, rounded up to GRID_STEP."""
    rows, columns = np.max([o.cell_tissue.shape for o in overviews], axis=0)
    return int(-(-rows // GRID_STEP) * GRID_STEP), int(-(-columns // GRID_STEP) * GRID_STEP)


def make_batch(overviews: Sequence[StoredOverview], grid: tuple[int, int], cell_share: float) -> Batch:
    """Put overviews on one grid of (rows, columns)."""
    px = overviews[0].cell_px
    image = np.empty((len(overviews), grid[0] * px, grid[1] * px, 3), np.uint8)
    tissue = np.zeros((len(overviews), *grid), bool)
    for row, overview in enumerate(overviews):
        height, width = overview.thumbnail.shape[:2]
        image[row] = overview.background_rgb
        image[row, :height, :width] = overview.thumbnail
        cells = tissue_cells(overview, cell_share)
        tissue[row, : cells.shape[0], : cells.shape[1]] = cells
    return Batch(overviews, image, tissue)


def greedy(log_p: NDArray[np.float32], allowed: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The likeliest cell of each row."""
    del allowed
    return log_p.argmax(1)


def sampled(rng: np.random.Generator) -> Chooser:
    """A cell drawn from the policy (Gumbel-max)."""
    return lambda log_p, allowed: (log_p + rng.gumbel(size=log_p.shape)).argmax(1)


def uniform(rng: np.random.Generator) -> Chooser:
    """A cell drawn from the tissue with equal chances, whatever the policy says: the trivial baseline."""
    return lambda log_p, allowed: np.where(allowed, rng.random(log_p.shape), -1).argmax(1)


class Roller:
    """Rolls an agent out over slides, step by step."""

    def __init__(self, agent: Agent, sensor: GlimpseSensor) -> None:
        self._sensor = sensor
        self._first, self._fixation = FirstLook(agent), Fixation(agent)

    def run(self, batch: Batch, steps: int, choose: Chooser, change: Variety | None = None) -> Rollout:
        """Make `steps` fixations on every slide of the batch.

        change: where given, glimpses lie anywhere in their cells, are stained otherwise, and mirrored in place.
        """
        _, rows, columns = batch.tissue.shape
        allowed = batch.tissue.reshape(-1, rows * columns)
        memory = self._first.predict_on_batch({"overview": batch.image, "tissue": batch.tissue})
        middle = np.stack([_middle_um(o) for o in batch.overviews])
        made: list[tuple[Any, ...]] = []
        errors: dict[int, SlideError] = {}
        for _ in range(steps):
            log_p = memory.pop("log_p")
            cell = choose(log_p, allowed).astype(np.int32)
            at = np.stack([cell // columns, cell % columns], 1).astype(np.float64)
            if change is not None:
                at += change.rng.random(at.shape) - 0.5
            location = np.stack([o.grid.centre_um(a) for o, a in zip(batch.overviews, at, strict=True)])
            where = ((location - middle) / WHERE_UM).astype(np.float32)
            seen = self._sensor.read(batch.overviews, location)
            errors = {**seen.errors, **errors}
            pixels = seen.pixels
            if change is not None:
                where, pixels = where * change.mirror.astype(np.float32), stain(pixels, change.exponents)
            memory |= {
                "pixels": pixels,
                "where": where,
                "cell": cell,
                "allowed": allowed,
                "tissue": batch.tissue,
            }
            memory |= self._fixation.predict_on_batch(memory)
            allowed = memory["allowed"]
            probability = np.exp(np.take_along_axis(log_p, cell[:, None].astype(np.int64), 1)[:, 0])
            made.append((location.astype(np.float32), where, cell, probability, memory.pop("logits"), pixels))
        location_um, where_t, cells, probabilities, logits, glimpses = (np.stack(c, 1) for c in zip(*made, strict=True))
        return Rollout(location_um, where_t, cells, probabilities, logits, glimpses, errors)


def _middle_um(overview: StoredOverview) -> NDArray[np.float64]:
    height, width = overview.thumbnail.shape[:2]
    return np.array([width, height]) * overview.mpp / 2 + overview.origin_um
