"""What low power shows: the scout, on squares of cells around annotated lesions and normal cells."""

import keras
import numpy as np
from numpy.typing import NDArray

from foveate.attention.agent import Agent
from foveate.attention.learner import ScoutLearner
from foveate.slides.overview_file import StoredOverview
from foveate.slides.raster import cut_out
from foveate.stages.augment import stain, stain_exponents, turned, turned_glimpses
from foveate.stages.batch import tissue_cells
from foveate.stages.training.pace import warmed_up
from foveate.stages.training.patches import PatchSampler
from foveate.stages.training.ranking import patch_sampler
from foveate.stages.training.reading import batches, in_batches
from foveate.stages.training.session import Phase, Session, mean_of

STREAM = 6
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
        rate = warmed_up(settings.pretrain_rate, max(1, self.epochs * len(batches(self._count))))
        self.learner.compile(keras.optimizers.Adam(rate, global_clipnorm=5.0))

    def epoch(self, number: int) -> dict[str, float]:
        """One pass over freshly drawn squares."""
        session, scout = self._session, self._scout
        rng = np.random.default_rng([session.config.train.seed, STREAM, number])
        if self._sampler is None:
            # by the overview alone: what a scout that is still learning says would differ after a resume
            self._sampler = patch_sampler(session, self._agent, scout=False)
        draws, slides = self._sampler.draw(self._count, rng), session.enrolled
        # what was drawn lies anywhere in the square: where lesions lie in it must tell nothing
        off = rng.integers(-scout.reach, scout.reach + 1, (self._count, 2))
        drawn = [slides[k] for k in draws.slide]
        middles = off + [o.grid.cell_at(at) for o, at in zip(drawn, draws.location_um, strict=True)]
        at = np.array([o.grid.centre_um(cell) for o, cell in zip(drawn, middles, strict=True)])
        done, title = [], f"scouts {number + 1}/{self.epochs}"
        for rows, read in in_batches(session, draws.slide, at, title, ((scout.mpp,), scout.px)):
            turns = rng.integers(8, size=len(rows))
            pixels = turned_glimpses(stain(read, stain_exponents(len(rows), rng)), turns)[:, 0]
            tumor = [
                turned(self._tumor(drawn[k], middles[k]), turn) for k, turn in zip(rows, turns.tolist(), strict=True)
            ]
            done.append(self.learner.train_on_batch(pixels, np.stack(tumor), return_dict=True))
        return {**mean_of(done), "glimpses": float(self._count)}

    def _tumor(self, overview: StoredOverview, middle: Cells) -> NDArray[np.int32]:
        """(C, C) of the cells around one: 1 with tumor, 0 without, UNKNOWN beyond the tissue."""
        row, column = (middle - self._scout.reach).tolist()
        known, tumor = np.empty((2, self._scout.cells, self._scout.cells), np.int32)
        cut_out(tissue_cells(overview, self._session.config.tissue.cell_share), column, row, known, 0)
        cut_out(self._session.lesion_cells(overview), column, row, tumor, 0)
        return np.where(known, tumor > 0, UNKNOWN).astype(np.int32)
