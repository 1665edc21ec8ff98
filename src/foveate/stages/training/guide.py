"""Where to look: the context network and the policy's first choice, from annotated lesions.

It reads overviews only, so it is cheap. What tumor is cannot be seen there; what deserves a look can. Without
annotations the glimpse network, which was taught before, looks once at places of the slides that bear tumor, and says
which of them are lesions.
"""

import keras
import numpy as np

from foveate.attention.agent import Agent
from foveate.attention.learner import MAX_LESIONS, GuideLearner
from foveate.progress import progress
from foveate.stages.batch import make_batch
from foveate.stages.training.bags import bears_tumor
from foveate.stages.training.session import Phase, Session, mean_of
from foveate.stages.training.survey import LesionCells

STREAM = 0


class Guide(Phase):
    """Raises the policy's mass on annotated lesion cells, over overviews in all orientations."""

    name = "guide"

    def __init__(self, session: Session, agent: Agent) -> None:
        self._session, self._lesions = session, LesionCells(session, agent)
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
            known = batch.at_candidates([self._lesions.known(o) for o in slides])
            lesion = batch.at_candidates([self._lesions.of(o) for o in slides])
            x = {
                "overview": batch.image,
                "tissue": batch.tissue,
                "candidates": np.where((known > 0) & (lesion <= MAX_LESIONS), batch.candidates, -1),
                "lesion": lesion,
            }
            done.append(self.learner.train_on_batch(x, return_dict=True))
        return mean_of(done)
