"""What low power shows: the scout, on squares of cells around annotated lesions and normal cells."""

import keras
import numpy as np
from numpy.typing import NDArray

from foveate.attention.agent import Agent
from foveate.attention.learner import ScoutLearner
from foveate.progress import progress
from foveate.slides.overview_file import StoredOverview
from foveate.stages.augment import stain, stain_exponents, turned, turned_glimpses
from foveate.stages.batch import tissue_cells
from foveate.stages.training.pace import warmed_up
from foveate.stages.training.patches import PatchSampler
from foveate.stages.training.ranking import patch_sampler
from foveate.stages.training.session import Phase, Session, mean_of

STREAM, BATCH = 6, 64
Cells = NDArray[np.int64]
UNKNOWN = -1  # of a cell that cannot be looked at


class Scouts(Phase):
    """Teaches the scout which cells of a square hold annotated tumor."""

    name = "scouts"

    def __init__(self, session: Session, agent: Agent) -> None:
        if agent.scout is None:
            raise ValueError("this agent has no scout")
        self._session, self._agent, self._scout = session, agent, agent.scout
        settings = session.config.train
        self._count = settings.pretrain_patches * len(session.enrolled)
        self._sampler: PatchSampler | None = None
        self.epochs = settings.scout_epochs
        agent.learn_only("scout")
        self.learner = ScoutLearner(agent)
        rate = warmed_up(settings.pretrain_rate, max(1, self.epochs * -(-self._count // BATCH)))
        self.learner.compile(keras.optimizers.Adam(rate, global_clipnorm=5.0))

    def epoch(self, number: int) -> dict[str, float]:
        """One pass over freshly drawn squares."""
        session, scout = self._session, self._scout
        rng = np.random.default_rng([session.config.train.seed, STREAM, number])
        if self._sampler is None:
            self._sampler = patch_sampler(session, self._agent)
        draws, slides = self._sampler.draw(self._count, rng), session.enrolled
        # what was drawn lies anywhere in the square: where lesions lie in it must tell nothing
        off = rng.integers(-scout.reach, scout.reach + 1, (self._count, 2))
        middles = off + [_cell(slides[k], at) for k, at in zip(draws.slide, draws.location_um, strict=True)]
        parts = [slice(first, first + BATCH) for first in range(0, self._count, BATCH)]
        at = np.array([slides[k].grid.centre_um(cell) for k, cell in zip(draws.slide, middles, strict=True)])
        reads = session.sensor.read_ahead(
            (([slides[k] for k in draws.slide[rows]], at[rows]) for rows in parts), ((scout.mpp,), scout.px)
        )
        done = []
        for rows, seen in zip(progress(parts, f"scouts {number + 1}/{self.epochs}"), reads, strict=True):
            for error in seen.errors.values():
                session.drop(error)
            kept = [k for k in range(len(seen.pixels)) if k not in seen.errors]
            if kept:
                tumor = [self._tumor(slides[draws.slide[rows][k]], middles[rows][k]) for k in kept]
                turns = rng.integers(8, size=len(kept))
                pixels = turned_glimpses(stain(seen.pixels[kept], stain_exponents(len(kept), rng)), turns)[:, 0]
                tumor = [turned(one, turn) for one, turn in zip(tumor, turns.tolist(), strict=True)]
                done.append(self.learner.train_on_batch(pixels, np.stack(tumor), return_dict=True))
        return {**mean_of(done), "glimpses": float(self._count)}

    def _tumor(self, overview: StoredOverview, middle: Cells) -> NDArray[np.int32]:
        """(C, C) of the cells around one: 1 with tumor, 0 without, UNKNOWN beyond the tissue."""
        known = tissue_cells(overview, self._session.config.tissue.cell_share)
        cells = np.where(known, self._session.lesion_cells(overview) > 0, UNKNOWN).astype(np.int32)
        reach = self._scout.reach
        wide = np.pad(cells, 2 * reach, constant_values=UNKNOWN)
        row, column = middle + reach
        return wide[row : row + self._scout.cells, column : column + self._scout.cells]


def _cell(overview: StoredOverview, location_um: NDArray[np.floating]) -> Cells:
    """Row and column of the cell at a location x, y."""
    column, row = np.floor((location_um - overview.origin_um) / overview.cell_um).astype(np.int64)
    return np.array([row, column])
