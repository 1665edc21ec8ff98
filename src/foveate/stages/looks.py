"""What is looked at in rollouts: glimpses at the places that were chosen, turned and stained as their slides are."""

import time
from collections.abc import Generator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from foveate.errors import SlideError
from foveate.slides.overview_file import StoredOverview
from foveate.slides.sensor import GlimpseSensor, Squares
from foveate.stages.augment import Variety, stain, turned_glimpses, turned_vectors
from foveate.stages.batch import Batch

WHERE_UM = 10_000.0  # locations reach the model in centimetres from the middle of the overview
Done = TypeVar("Done")
Turns = Generator[None, None, Done]  # work that gives the turn away while it waits for pixels


class Looks:
    """Reads the glimpses that rollouts over a batch choose.

    errors: slide, as a row of the batch -> why its glimpses could not be read. waited_s: for pixels, with nothing else
    to do.

    Parameters
    ----------
    batch : glimpses are turned as its slides are.
    change : where given, the lattice of cells is shifted and glimpses are stained.
    """

    def __init__(self, sensor: GlimpseSensor, batch: Batch, change: Variety | None = None) -> None:
        self._sensor, self._batch, self._change = sensor, batch, change
        self._middle = np.stack([middle_um(o) for o in batch.overviews])
        self.errors: dict[int, SlideError] = {}
        self.waited_s = 0.0

    def take(
        self, slide: NDArray[np.int64], choice: NDArray[np.int32], squares: Squares | None = None
    ) -> Turns[tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]]:
        """Look at candidates (n,) of rows (n,) of the batch; gives the turn away while pixels are read.

        squares: other ones than those of a glimpse.

        Returns pixels (n, S, g, g, 3), locations (n, 2) x, y in um, and where that is as the model gets it (n, 2).
        """
        location = self._locate(slide, choice)
        # rollouts that look at the same place share what is read
        seen, first, back = np.unique(np.stack([slide, choice], 1), axis=0, return_index=True, return_inverse=True)
        read = self._sensor.start([self._batch.overviews[k] for k in seen[:, 0]], location[first], squares=squares)
        yield
        began = time.perf_counter()
        glimpses = read()
        self.waited_s += time.perf_counter() - began
        self.errors = {int(seen[k, 0]): error for k, error in glimpses.errors.items()} | self.errors
        pixels = self._vary(glimpses.pixels, seen[:, 0])[back.reshape(-1)]
        where = (location - self._middle[slide]) / WHERE_UM
        where = turned_vectors(where, self._batch.orientation[slide])
        return pixels, location.astype(np.float32), where.astype(np.float32)

    def _vary(self, pixels: NDArray[np.uint8], slide: NDArray[np.int64]) -> NDArray[np.uint8]:
        if self._change is not None:
            pixels = stain(pixels, self._change.exponents[slide])
        orientation = self._batch.orientation[slide]
        return turned_glimpses(pixels, orientation) if orientation.any() else pixels

    def _locate(self, slide: NDArray[np.int64], choice: NDArray[np.int32]) -> NDArray[np.float64]:
        at = self._batch.home[slide, choice].astype(np.float64)
        if self._change is not None:
            at += self._change.shift[slide]
        overviews = self._batch.overviews
        return np.stack([overviews[k].grid.centre_um(a) for k, a in zip(slide.tolist(), at, strict=True)])


def middle_um(overview: StoredOverview) -> NDArray[np.float64]:
    """(2,) um (x, y) of the overview's middle, from which the model is told where it looks."""
    height, width = overview.thumbnail.shape[:2]
    return np.array([width, height]) * overview.mpp / 2 + overview.origin_um
