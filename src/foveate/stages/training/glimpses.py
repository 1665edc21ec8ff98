"""Phase 2: what is seen. The glimpse network on annotated and normal cells, as the policy will see them."""

import keras
import numpy as np
from keras import ops

from foveate.attention.agent import Agent
from foveate.attention.learner import GlimpseLearner
from foveate.attention.steps import Steps
from foveate.patients.stages import SLIDE_CLASSES
from foveate.progress import progress
from foveate.stages.augment import stain, stain_exponents, turned_glimpses
from foveate.stages.batch import make_batch
from foveate.stages.training.patches import PatchSampler
from foveate.stages.training.session import Phase, Session, mean_of

STREAM, BATCH = 1, 64


class Glimpses(Phase):
    """Teaches the glimpse network which lesion, if any, a glimpse shows."""

    name = "glimpses"

    def __init__(self, session: Session, agent: Agent) -> None:
        self._session, self._agent = session, agent
        settings = session.config.train
        self._count = settings.pretrain_patches * len(session.enrolled)
        self._sampler: PatchSampler | None = None
        self.epochs = settings.pretrain_epochs if session.annotated else 0
        agent.learn_only("sight")
        self.learner = GlimpseLearner(agent)
        steps = max(1, self.epochs * -(-self._count // BATCH))
        rate = keras.optimizers.schedules.CosineDecay(settings.pretrain_rate, steps)
        self.learner.compile(
            keras.optimizers.Adam(rate, global_clipnorm=5.0),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        )

    def epoch(self, number: int) -> dict[str, float]:
        """One pass over freshly drawn places."""
        session = self._session
        if self._sampler is None:
            self._sampler = self._make_sampler()
        rng = np.random.default_rng([session.config.train.seed, STREAM, number])
        draws = self._sampler.draw(self._count, rng)
        done = []
        parts = [slice(first, first + BATCH) for first in range(0, self._count, BATCH)]
        slides = self._sampler.overviews
        reads = session.sensor.read_ahead(
            ([slides[k] for k in draws.slide[rows]], draws.location_um[rows]) for rows in parts
        )
        for rows, seen in zip(progress(parts, f"glimpses {number + 1}/{self.epochs}"), reads, strict=True):
            label = draws.label[rows]
            for error in seen.errors.values():
                session.drop(error)
            kept = [k for k in range(len(label)) if k not in seen.errors]
            if kept:
                pixels = turned_glimpses(
                    stain(seen.pixels[kept], stain_exponents(len(kept), rng)), rng.integers(8, size=len(kept))
                )
                done.append(self.learner.train_on_batch(pixels, label[kept], return_dict=True))
        return {**mean_of(done), "glimpses": float(self._count)}

    def _make_sampler(self) -> PatchSampler:
        session, size = self._session, self._session.config.train.batch
        slides, steps = session.enrolled, Steps(self._agent, "greedy")
        salience = []
        for first in range(0, len(slides), size):
            batch = make_batch(slides[first : first + size], session.shape, session.config.tissue.cell_share)
            scene, memory = steps.begin(batch.image, batch.tissue, batch.candidates)
            log_p = steps.choose(scene, memory, np.zeros(len(batch.image), np.float32))[2]
            salience += list(batch.on_grid(np.exp(ops.convert_to_numpy(log_p))))
        labels = [SLIDE_CLASSES[session.label[o.slide]] for o in slides]
        return PatchSampler(slides, labels, salience, session.config.tissue.cell_share)
