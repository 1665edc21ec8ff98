"""Phase 4: when enough was seen, at a price per glimpse. Nothing but the stop network learns.

It comes after the epoch of the whole agent was chosen: that is often an early one, when a stop network that learned
beside the others would not have learned to stop.
"""

import keras
import numpy as np
from numpy.typing import NDArray

from foveate.attention.agent import Agent
from foveate.attention.learner import StopLearner
from foveate.attention.steps import compiled
from foveate.patients.temperature import posterior_log
from foveate.progress import progress
from foveate.stages.augment import variety
from foveate.stages.batch import make_batch
from foveate.stages.rollout import Roller, side_by_side
from foveate.stages.training.best import Best
from foveate.stages.training.session import Phase, Session
from foveate.stages.training.validation import validate

STREAM = 4
BEST = "stop.weights.h5"
EPOCHS = 8
UPDATES = 100  # an epoch, on the same rollouts: they cost much more to make than to learn from
RATE = 3e-3


class Stop(Phase):
    """Rolls out greedily, as a prediction does, but to the end; so the return of every stop is known.

    It learns on all training slides in the shares that they have, from the answers as a prediction says them: with
    the prior and the temperature. The epoch with the lowest validation loss, glimpses at their price, is kept; the
    first candidate is what has learned nothing yet, and looks on.
    """

    name = "stop"
    epochs = EPOCHS

    def __init__(self, session: Session, agent: Agent) -> None:
        self._session, self._agent, self._price = session, agent, session.config.train.price
        agent.learn_only("stop")
        self.learner = StopLearner(agent, self._price)
        self.learner.compile(keras.optimizers.Adam(RATE, global_clipnorm=5.0))
        self._whole = Roller(agent, session.sensor, "greedy")
        self._ending = Roller(agent, session.sensor, "greedy", stop=True)
        self._replay = compiled(agent, lambda x: {name: agent(x)[name] for name in ("strongest", "logits")})
        self._best = Best(session, agent, BEST, untrained=True)

    def epoch(self, number: int) -> dict[str, float]:
        """One pass over the training slides, then the validation slides."""
        session = self._session
        rng = np.random.default_rng([session.config.train.seed, STREAM, number])
        self._best.first(self.name, self._validate)
        waited = self._waited_s()
        x = self._rollouts(rng, f"stop {number + 1}/{self.epochs}")
        for _ in range(UPDATES):
            self.learner.train_on_batch(x)
        self.learner.reset_metrics()
        figures = self.learner.test_on_batch(x, return_dict=True)
        val = self._validate()
        self._best.offer(val)
        glimpses = x["label"].size * session.config.glimpse.count + len(session.val) * val.get("val_glimpses", 0.0)
        return {**figures, **val, "glimpses": float(glimpses), "waited_s": self._waited_s() - waited}

    def _validate(self) -> dict[str, float]:
        return validate(self._session, self._agent, self._ending, self._price)

    def _waited_s(self) -> float:
        return self._whole.waited_s + self._ending.waited_s

    def _rollouts(self, rng: np.random.Generator, title: str) -> dict[str, NDArray[np.generic]]:
        """What `StopLearner` takes, of every training slide that can be read."""
        session, size = self._session, self._session.config.train.batch
        slides = session.train
        slides = [slides[k] for k in rng.permutation(len(slides))]
        parts = [slides[first : first + size] for first in range(0, len(slides), size)]
        changes = [variety(len(part), rng) for part in parts]
        share, steps = session.config.tissue.cell_share, session.config.glimpse.count
        work = side_by_side(
            self._whole.turns(make_batch(part, session.shape, share, change.orientation), steps, change=change)
            for part, change in zip(parts, changes, strict=True)
        )
        strongest, logits, labels = [], [], []
        for part in progress(parts, title):
            seen = next(work)
            failed = session.drop_failed([(len(part), seen.errors)])
            rows = [row for row in range(len(part)) if row not in failed]
            replay = self._replay({"scene": seen.scene, **seen.seen, "where": seen.where, "choice": seen.choice})
            strongest.append(keras.ops.convert_to_numpy(replay["strongest"])[rows])
            logits.append(keras.ops.convert_to_numpy(replay["logits"])[rows])
            labels += [session.label[part[row].slide] for row in rows]
        said = posterior_log(np.concatenate(logits), session.prior, self._agent.settings["temperature"])
        return {"strongest": np.concatenate(strongest), "logits": said.astype(np.float32), "label": np.array(labels)}
