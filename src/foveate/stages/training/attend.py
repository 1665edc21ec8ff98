"""Phase 3: the whole agent, by REINFORCE on rollouts over the slides."""

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from foveate.attention.agent import Agent
from foveate.attention.learner import Learner, LossWeights
from foveate.errors import FoveateError
from foveate.progress import progress
from foveate.slides.overview_file import StoredOverview
from foveate.stages.augment import variety
from foveate.stages.batch import Batch, make_batch
from foveate.stages.rollout import Roller, Rollout, halves, side_by_side
from foveate.stages.training.best import Best
from foveate.stages.training.pace import Pace, pace, rate
from foveate.stages.training.session import Phase, Session, mean_of
from foveate.stages.training.survey import LesionCells
from foveate.stages.training.validation import validate

STREAM = 2
BEST = "best.weights.h5"
BATCH = {"overview": "image", "tissue": "tissue", "candidates": "candidates"}  # of the model's inputs


class Attend(Phase):
    """Rolls out, replays, updates; the epoch with the lowest validation loss is kept.

    context, sight : whether the context network, and what turns pixels into evidence, learn here.
    """

    name = "attend"

    def __init__(self, session: Session, agent: Agent, *, context: bool, sight: bool) -> None:
        self._session, self._agent, self._context, self._sight = session, agent, context, sight
        settings = session.config.train
        # only a sight that was taught, and stays as it is, can say where lesions are
        self._lesion_cells = session.lesion_cells if sight else LesionCells(session, agent).of
        self.epochs = settings.epochs
        learns = {"context": context, "query": True, "height": True, "core": True, "sight": sight}
        agent.learn_only(*(part for part, does in learns.items() if does))
        weights = LossWeights(
            settings.reinforce,
            settings.baseline,
            settings.guidance,
            settings.entropy,
            settings.discount,
        )
        self.learner = Learner(agent, weights)
        self.learner.compile(keras.optimizers.Adam(settings.learning_rate, global_clipnorm=5.0))
        self._best = Best(session, agent, BEST)
        self._copies, self._count = settings.copies, session.config.glimpse.count
        copies = self._copies
        self._rollers = {
            "sampled": Roller(agent, session.sensor, "sampled", copies),
            "greedy": Roller(agent, session.sensor, "greedy"),
        }
        shape = (settings.batch * copies, self._count, *session.sensor.shape)
        self._pixels = np.empty(shape, np.uint8)  # filled anew for every update

    def epoch(self, number: int) -> dict[str, float]:
        """One pass over class-balanced batches, then the validation slides."""
        session, settings = self._session, self._session.config.train
        rng = np.random.default_rng([settings.seed, STREAM, number])
        learning_rate = rate(settings.learning_rate, number / self.epochs, self._pace().halvings)
        self.learner.optimizer.learning_rate = learning_rate
        self.learner.anneal(number / self.epochs)
        waited = self._waited_s()
        batches, done = list(self._batches(rng)), []
        title = f"attend {number + 1}/{self.epochs}"
        for slides, coming in zip(progress(batches, title), [*batches[1:], session.val[: settings.batch]], strict=True):
            done.append(self._update(slides, rng, coming))
        val = validate(session, self._agent, self._rollers["greedy"])
        self._best.offer(val)
        rollouts = len(batches) * settings.batch * settings.copies
        glimpses = (rollouts + len(session.val)) * self._count
        figures = {"glimpses": float(glimpses), "waited_s": self._waited_s() - waited}
        return {**mean_of(done), **val, "learning_rate": learning_rate, **figures}

    def over(self) -> bool:
        """Whether the validation loss has stood still for too long."""
        return self._pace().over

    def _pace(self) -> Pace:
        rows = [row for row in self._session.state.history if row["phase"] == self.name]
        return pace([float(row["val_loss"]) for row in rows if "val_loss" in row], self._session.config.train.patience)

    def _waited_s(self) -> float:
        return sum(roller.waited_s for roller in self._rollers.values())

    def _update(
        self, slides: list[StoredOverview], rng: np.random.Generator, coming: Sequence[StoredOverview] = ()
    ) -> dict[str, float]:
        """One update on rollouts of two halves of a batch: while one is read, the other is on the device.

        coming: what is looked at next; it is opened while the readers have nothing else to do.
        """
        parts = halves(slides)
        work, batches = [], []
        left = self._pixels
        for part in parts:
            change = variety(len(part), rng)
            batches.append(self._batch(part, change.orientation))
            out, left = np.split(left, [len(part) * self._copies])
            work.append(self._rollers["sampled"].turns(batches[-1], self._count, rng.spawn(1)[0], change, out))
        seen = list(side_by_side(work))
        failed = self._session.drop_failed((len(p), one.errors) for p, one in zip(parts, seen, strict=True))
        x = {
            **self._looked_over(batches, seen),
            **{name: np.concatenate([getattr(r, name) for r in seen]) for name in ("where", "choice")},
            **self._looked_at(seen),
            "label": np.array([self._session.label[o.slide] for o in slides], np.int32),
            "weight": np.array([k not in failed for k in range(len(slides))], np.float32),
            "lesion": np.concatenate([b.at_candidates([self._lesion_cells(o) for o in b.overviews]) for b in batches]),
        }
        self._session.sensor.open_ahead(coming)
        return self.learner.train_on_batch(x, return_dict=True)

    def _looked_over(self, batches: Sequence[Batch], seen: Sequence[Rollout]) -> dict[str, Any]:
        """The overviews where the context network learns; otherwise the scenes that it made of them."""
        if self._context:
            return {name: np.concatenate([getattr(b, of) for b in batches]) for name, of in BATCH.items()}
        return {"scene": {name: ops.concatenate([one.scene[name] for one in seen]) for name in seen[0].scene}}

    def _looked_at(self, seen: Sequence[Rollout]) -> dict[str, Any]:
        """The pixels where sight learns; otherwise what was made of them, so that it is not made once more."""
        if self._sight:
            return {"pixels": self._pixels[: sum(len(one.choice) for one in seen)]}
        return {name: ops.concatenate([one.seen[name] for one in seen]) for name in seen[0].seen}

    def _batch(self, slides: Sequence[StoredOverview], orientation: NDArray[np.int64] | None = None) -> Batch:
        session = self._session
        return make_batch(slides, session.shape, session.config.tissue.cell_share, orientation)

    def _batches(self, rng: np.random.Generator) -> Iterator[list[StoredOverview]]:
        """Full batches; every class is drawn equally often, so that "always negative" earns nothing."""
        session = self._session
        by_class: dict[int, list[StoredOverview]] = {}
        for overview in session.train:
            by_class.setdefault(session.label[overview.slide], []).append(overview)
        if not by_class:
            raise FoveateError("no training slide can be read; see the log")
        size = session.config.train.batch
        count = -(-len(session.train) // size) * size
        turns = [[of[k] for k in rng.permutation(len(of))] for _, of in sorted(by_class.items())]
        drawn = [turns[k % len(turns)][k // len(turns) % len(turns[k % len(turns)])] for k in range(count)]
        order = rng.permutation(count)
        for first in range(0, count, size):
            yield [drawn[k] for k in order[first : first + size]]
