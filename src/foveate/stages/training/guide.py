"""Phase 1: where to look. The context network and the policy's first choice, from annotated lesions.

It reads overviews only, so it is cheap. What tumor is cannot be seen there; what deserves a look can.
"""

import keras
import numpy as np

from foveate.attention.agent import Agent
from foveate.attention.learner import GuideLearner
from foveate.progress import progress
from foveate.stages.rollout import make_batch
from foveate.stages.training.session import Session, mean_of

STREAM = 0


class Guide:
    """Raises the policy's mass on annotated lesion cells, over mirrored overviews."""

    name = "guide"

    def __init__(self, session: Session, agent: Agent) -> None:
        self._session = session
        self._slides = [o for o in session.enrolled if session.lesion_cells(o).any()]
        settings = session.config.train
        self.epochs = settings.guide_epochs if self._slides else 0
        agent.learn_only("context", "query")
        self.learner = GuideLearner(agent)
        steps = -(-len(self._slides) // settings.batch) * max(1, self.epochs)
        rate = keras.optimizers.schedules.CosineDecay(2e-3, max(1, steps))
        self.learner.compile(keras.optimizers.Adam(rate, global_clipnorm=5.0))

    def epoch(self, number: int) -> dict[str, float]:
        """One pass over the slides with annotated lesions."""
        session, size = self._session, self._session.config.train.batch
        rng = np.random.default_rng([session.config.train.seed, STREAM, number])
        order = rng.permutation(len(self._slides))
        done = []
        for first in progress(range(0, len(order), size), f"guide {number + 1}/{self.epochs}"):
            slides = [self._slides[k] for k in order[first : first + size]]
            batch = make_batch(slides, session.grid, session.config.tissue.cell_share)
            x = {
                "overview": batch.image,
                "tissue": batch.tissue,
                "lesion": np.stack([session.lesion_cells(o) for o in slides]),
            }
            for axis in (1, 2):
                if rng.integers(2):
                    x = {name: np.flip(values, axis) for name, values in x.items()}
            done.append(self.learner.train_on_batch(x, return_dict=True))
        return mean_of(done)
