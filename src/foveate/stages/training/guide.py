"""Where to look: the context network and the policy's first choice, from annotated lesions.

It reads overviews only, so it is cheap. What tumor is cannot be seen there; what deserves a look can. Without
annotations the glimpse network, which was taught before, looks once at places of the slides that bear tumor, and says
which of them are lesions.
"""

import keras
import numpy as np
from numpy.typing import NDArray

from foveate.attention.agent import Agent
from foveate.attention.learner import GuideLearner
from foveate.progress import progress
from foveate.slides.overview_file import StoredOverview
from foveate.stages.batch import make_batch
from foveate.stages.training.bags import bears_tumor
from foveate.stages.training.session import Phase, Session, mean_of
from foveate.stages.training.survey import Survey

STREAM, SURVEY = 0, 4
SURVEYED = 20  # places of a slide, times those of an epoch of sight
Map = NDArray[np.int32]  # of an overview's cells


class Guide(Phase):
    """Raises the policy's mass on annotated lesion cells, over overviews in all orientations."""

    name = "guide"

    def __init__(self, session: Session, agent: Agent) -> None:
        self._session, self._agent = session, agent
        self._found: dict[str, tuple[Map, Map]] | None = None
        self._slides = [
            o
            for o in session.enrolled
            if (session.lesion_cells(o).any() if session.annotated else bears_tumor(session.label[o.slide]))
        ]
        self._normal = [o for o in session.enrolled if not session.label[o.slide]]
        settings = session.config.train
        self.epochs = settings.guide_epochs if self._slides else 0
        agent.learn_only("context", "query")
        self.learner = GuideLearner(agent)
        self._size = max(1, settings.batch // 2) if self._normal else settings.batch
        steps = -(-len(self._slides) // self._size) * max(1, self.epochs)
        rate = keras.optimizers.schedules.CosineDecay(2e-3, max(1, steps))
        self.learner.compile(keras.optimizers.Adam(rate, global_clipnorm=5.0))

    def epoch(self, number: int) -> dict[str, float]:
        """One pass over the slides with lesions, with as many negative ones."""
        session, size = self._session, self._size
        rng = np.random.default_rng([session.config.train.seed, STREAM, number])
        order = rng.permutation(len(self._slides))
        done = []
        for first in progress(range(0, len(order), size), f"guide {number + 1}/{self.epochs}"):
            slides = [self._slides[k] for k in order[first : first + size]]
            slides += [self._normal[k] for k in rng.permutation(len(self._normal))[: len(slides)]]
            batch = make_batch(
                slides, session.shape, session.config.tissue.cell_share, rng.integers(8, size=len(slides))
            )
            lesions, known = zip(*(self._lesions(o) for o in slides), strict=True)
            x = {
                "overview": batch.image,
                "tissue": batch.tissue,
                "candidates": np.where(batch.at_candidates(known), batch.candidates, -1),
                "lesion": batch.at_candidates(lesions),
            }
            done.append(self.learner.train_on_batch(x, return_dict=True))
        return mean_of(done)

    def _lesions(self, overview: StoredOverview) -> tuple[Map, Map]:
        """The lesions of an overview's cells, see `Session.lesion_cells`, and 1 where it is known what a cell is."""
        session = self._session
        if session.annotated or not session.label[overview.slide]:
            lesions = session.lesion_cells(overview)
            return lesions, np.ones_like(lesions)
        if self._found is None:
            self._found = self._find()
        return self._found[overview.slide]

    def _find(self) -> dict[str, tuple[Map, Map]]:
        """By slide, the cells that sight holds for tumor, as one lesion, and those that it has seen."""
        settings, survey = self._session.config.train, Survey(self._session, self._agent)
        rng = np.random.default_rng([settings.seed, SURVEY])  # the same after a resume, as sight is
        places = survey.bags.survey(SURVEYED * settings.pretrain_patches, 0, rng)
        found = survey.bags.found(places, survey.tumor(places))
        lesion = np.zeros(len(places.slide), bool)
        lesion[np.concatenate(found)] = True
        maps = {}
        for k in np.unique(places.slide).tolist():
            overview, own = survey.bags.overviews[k], places.slide == k
            lesions, known = (np.zeros(overview.cell_tissue.shape, np.int32) for _ in range(2))
            known[tuple(places.cell[own].T)] = 1
            lesions[tuple(places.cell[own & lesion].T)] = 1
            maps[overview.slide] = lesions, known
        return maps
