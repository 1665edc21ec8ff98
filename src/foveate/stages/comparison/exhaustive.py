"""Every tissue cell of a slide, read with the sensor of the model and seen by its glimpse network."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from keras import ops
from numpy.typing import NDArray

from foveate.attention.agent import Agent
from foveate.attention.steps import compiled
from foveate.errors import SlideError
from foveate.slides.coverage import tissue_seen
from foveate.slides.overview_file import StoredOverview
from foveate.stages.batch import common_shape, make_batch, tissue_cells
from foveate.stages.comparison.looking import MeteredSensor
from foveate.stages.looks import WHERE_UM, middle_um

CHUNK = 256
"""Cells that are seen at a time; of the last ones, a power of two, so that few shapes are compiled."""

SMALLEST = 16


@dataclass(frozen=True)
class Cells:
    """The N tissue cells of a slide, row by row.

    evidence: (N, K) log-probabilities of the classes from each glimpse alone. vectors: (N, features), the glimpse
    vectors. salience: (N,) log-probabilities of the policy before anything was seen. tissue: share of the tissue area
    in all glimpses, at the finest scale. costs: (3,), `looking.COSTS`, of evidence and vectors.
    """

    evidence: NDArray[np.float32]
    vectors: NDArray[np.float32]
    salience: NDArray[np.float32]
    tissue: float
    costs: NDArray[np.float64]


class CellSurvey:
    """Looks at everything.

    Parameters
    ----------
    cell_share : see `batch.tissue_cells`; the same cells that the policy chooses from.
    """

    def __init__(self, agent: Agent, threads: int, cell_share: float) -> None:
        settings = agent.settings
        self._agent, self._share, self._side_um = agent, cell_share, settings["scales_mpp"][0] * settings["glimpse_px"]
        self.sensor = MeteredSensor(**agent.sensor, threads=threads)
        self._see = compiled(agent, lambda pixels, where: agent.glimpse_network(pixels, where))
        size = SMALLEST
        while size <= CHUNK:  # compilation is no part of the cost
            self._see(np.zeros((size, *self.sensor.shape), np.uint8), np.zeros((size, 2), np.float32))
            size *= 2

    def read(self, overview: StoredOverview) -> Cells:
        """Read every tissue cell once. While some are seen, the next ones are read. Raises SlideError."""
        self.sensor.begin()
        places = overview.grid.centre_um(np.argwhere(tissue_cells(overview, self._share)))
        vectors, evidence = (np.concatenate(parts) for parts in zip(*self._seen(overview, places), strict=True))
        costs = self.sensor.spent()
        salience = self._salience(overview)[: len(places)]
        tissue = tissue_seen(overview, places, self._side_um, [len(places)])
        return Cells(evidence, vectors, salience, float(tissue[0]), costs)

    def _salience(self, overview: StoredOverview) -> NDArray[np.float32]:
        batch = make_batch([overview], common_shape([overview], self._share), self._share)
        scene, memory = self._agent.begin(batch.image, batch.tissue, batch.candidates)
        return np.asarray(ops.convert_to_numpy(self._agent.choose(scene, memory))[0])

    def _seen(
        self, overview: StoredOverview, places: NDArray[np.float64]
    ) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        parts = [places[first : first + CHUNK] for first in range(0, len(places), CHUNK)]
        with closing(self.sensor.read_ahead(([overview] * len(part), part) for part in parts)) as reads:
            for part, glimpses in zip(parts, reads, strict=True):
                for error in glimpses.errors.values():
                    raise SlideError(error.slide, error.reason, error.remedy)
                where = ((part - middle_um(overview)) / WHERE_UM).astype(np.float32)
                vectors, evidence = self._see(_padded(glimpses.pixels), _padded(where))
                yield ops.convert_to_numpy(vectors)[: len(part)], ops.convert_to_numpy(evidence)[: len(part)]


def _padded(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """Rows of zeros below, up to the next power of two."""
    size = max(SMALLEST, 1 << (len(values) - 1).bit_length())
    if size == len(values):
        return values
    return np.concatenate([values, np.zeros((size - len(values), *values.shape[1:]), values.dtype)])
