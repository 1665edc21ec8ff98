"""The training stage: one fold, from overviews and labels to a model file."""

import hashlib
import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from foveate.attention.agent import Agent
from foveate.attention.learner import GlimpseLearner, Learner, LossWeights
from foveate.cohort.samples import Fold, Sample
from foveate.config import Config
from foveate.errors import FoveateError, SlideError
from foveate.files import atomic, write_json
from foveate.patients.stages import SLIDE_CLASSES
from foveate.progress import progress
from foveate.slides.overview_file import StoredOverview
from foveate.slides.sensor import GlimpseSensor
from foveate.stages.checkpoint import Checkpoint, save_weights
from foveate.stages.cohort import open_cohort
from foveate.stages.determinism import seeded
from foveate.stages.history import log_scalars, write_history
from foveate.stages.patches import PatchSampler
from foveate.stages.rollout import Roller, greedy, grid_shape, make_batch, sampled, tissue_cells

log = logging.getLogger(__name__)

PRETRAIN, ATTEND = 0, 1  # phases, as they enter the random streams


@dataclass
class Training:
    """A training in progress: what a checkpoint holds besides the variables."""

    phase: str = "pretrain"
    epoch: int = 0  # finished epochs of this phase
    best: float | None = None  # lowest validation loss so far
    history: list[dict[str, float | str]] = field(default_factory=list)
    dropped: dict[str, str] = field(default_factory=dict)


class Trainer:
    """Trains the agent of one fold; every epoch ends in a checkpoint and starts from its own random stream."""

    def __init__(self, config: Config, samples: Sequence[Sample], fold: Fold, overviews: Path, out: Path) -> None:
        self.config, self.out = config, out
        rows = {s.slide: s for s in samples}
        self.train, self.val = (
            open_cohort([rows[name] for name in names if rows[name].label], overviews)
            for names in (fold.train, fold.val)
        )
        labels = {rows[o.slide].label for o in self.train}
        if len(labels) < 2:
            raise FoveateError(
                f"fold {fold.name}: {len(self.train)} labelled training slides could be read, with the classes "
                f"{', '.join(sorted(labels)) or 'none'}; training needs at least two classes"
            )
        self.label = {o.slide: SLIDE_CLASSES.index(rows[o.slide].label) for o in [*self.train, *self.val]}
        self.grid = grid_shape([*self.train, *self.val])
        self.sensor = GlimpseSensor(config.glimpse.scales_mpp, config.glimpse.px, config.train.threads)
        keys = [[o.slide, self.label[o.slide]] for o in self.train], [o.slide for o in self.val]
        key = json.dumps([asdict(config), *keys], sort_keys=True)
        self.checkpoint = Checkpoint(out / "checkpoint", hashlib.sha256(key.encode()).hexdigest())
        self.state = Training()

    def run(self) -> None:
        """Train to the end, from the last checkpoint if there is one."""
        seeded(self.config.train.seed)
        agent = make_agent(self.config)
        found = self.checkpoint.load()
        if found:
            self.state = Training(**{k: v for k, v in found.items() if k in Training.__dataclass_fields__})
            log.info("resuming after %s epoch %d", self.state.phase, self.state.epoch)
        self._check_scales()
        self._pretrain(agent, found)
        self._attend(agent, found)
        agent.load_weights(self.out / "checkpoint" / "best.weights.h5")
        with atomic(self.out / "model.keras") as partial:
            agent.save(partial)
        write_history(self.state.history, self.out / "history.csv")
        write_json(self.out / "dropped.json", self.state.dropped)

    def _check_scales(self) -> None:
        for overview in [*self.train, *self.val]:
            try:
                self.sensor.check(overview)
            except SlideError as error:
                self._drop(error)

    def _drop(self, error: SlideError) -> None:
        if error.slide not in self.state.dropped:
            log.warning("left out of training: %s", error)
            self.state.dropped[error.slide] = error.reason

    def _kept(self, overviews: Sequence[StoredOverview]) -> list[StoredOverview]:
        return [o for o in overviews if o.slide not in self.state.dropped]

    def _finish_epoch(self, model: keras.Model, row: dict[str, float | str]) -> None:
        self.state.history.append(row)
        self.checkpoint.save(model, asdict(self.state))
        write_history(self.state.history, self.out / "history.csv")
        log_scalars(row, self.out / "tensorboard")
        shown = {k: f"{v:.3g}" for k, v in row.items() if isinstance(v, float)}
        log.info("%s epoch %s: %s", row["phase"], row["epoch"], " ".join(f"{k}={v}" for k, v in shown.items()))

    # -- the glimpse network on annotated places

    def _pretrain(self, agent: Agent, found: dict[str, Any] | None) -> None:
        if self.state.phase != "pretrain":
            return
        learner = GlimpseLearner(agent.glimpse_network)
        schedule = self.config.train
        epochs = schedule.pretrain_epochs
        overviews = self._kept(self.train)
        sampler = PatchSampler(overviews, [SLIDE_CLASSES[self.label[o.slide]] for o in overviews])
        if not sampler.usable:
            log.info("no annotated lesions: the glimpse network is not pretrained")
            epochs = 0
        count = schedule.pretrain_patches * len(overviews)
        batch = 64
        steps = -(-count // batch)
        rate = keras.optimizers.schedules.CosineDecay(2e-3, max(1, epochs * steps))
        learner.compile(
            keras.optimizers.Adam(rate, global_clipnorm=5.0),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        )
        learner.optimizer.build(learner.trainable_variables)
        if found:
            self.checkpoint.restore(learner, found)
        for epoch in range(self.state.epoch, epochs):
            begun = time.perf_counter()
            rng = np.random.default_rng([schedule.seed, PRETRAIN, epoch])
            draws = sampler.draw(count, rng)
            learner.reset_metrics()
            means: dict[str, Any] = {}
            for first in progress(range(0, count, batch), f"pretrain {epoch + 1}/{epochs}"):
                rows = slice(first, first + batch)
                seen = self.sensor.read([overviews[k] for k in draws.slide[rows]], draws.location_um[rows])
                for error in seen.errors.values():
                    self._drop(error)
                kept = [k for k in range(len(seen.pixels)) if k not in seen.errors]
                if kept:
                    pixels = turned(seen.pixels[kept], rng)
                    means = learner.train_on_batch(pixels, draws.label[rows][kept], return_dict=True)
            seconds = time.perf_counter() - begun
            self.state.epoch = epoch + 1
            self._finish_epoch(
                learner,
                {
                    "phase": "pretrain",
                    "epoch": epoch + 1,
                    "loss": float(means["loss"]),
                    "accuracy": float(means["accuracy"]),
                    "glimpses_per_s": count / seconds,
                    "seconds": seconds,
                },
            )
        if epochs:
            agent.glimpse_network.freeze_sight()
        self.state.phase, self.state.epoch = "attend", 0

    # -- the whole agent by REINFORCE

    def _attend(self, agent: Agent, found: dict[str, Any] | None) -> None:
        settings, schedule = self.config.train, self.config
        if any(row["phase"] == "pretrain" for row in self.state.history):
            agent.glimpse_network.freeze_sight()
        weights = LossWeights(
            settings.reinforce, settings.baseline, settings.guidance, settings.entropy, settings.discount
        )
        learner = Learner(agent, weights)
        steps = -(-len(self.train) // settings.batch)
        rate = keras.optimizers.schedules.CosineDecay(settings.learning_rate, settings.epochs * steps, alpha=0.05)
        learner.compile(keras.optimizers.Adam(rate, global_clipnorm=5.0))
        learner.optimizer.build(learner.trainable_variables)
        if found and found["phase"] == "attend":
            self.checkpoint.restore(learner, found)
        roller = Roller(agent, self.sensor)
        for epoch in range(self.state.epoch, settings.epochs):
            begun = time.perf_counter()
            means = self._epoch(learner, roller, epoch)
            val = self._validate(roller)
            seconds = time.perf_counter() - begun
            self.state.epoch = epoch + 1
            if self.state.best is None or not self.val or val["val_loss"] < self.state.best:
                self.state.best = val["val_loss"]
                save_weights(agent, self.out / "checkpoint" / "best.weights.h5")
            count = steps * settings.batch * schedule.glimpse.count
            row: dict[str, float | str] = {"phase": "attend", "epoch": epoch + 1, **means, **val}
            row |= {
                "learning_rate": float(rate(learner.optimizer.iterations)),
                "glimpses_per_s": count / seconds,
                "seconds": seconds,
            }
            self._finish_epoch(learner, row)

    def _epoch(self, learner: Learner, roller: Roller, epoch: int) -> dict[str, float]:
        settings = self.config.train
        rng = np.random.default_rng([settings.seed, ATTEND, epoch])
        learner.reset_metrics()
        means: dict[str, Any] = {}
        batches = list(self._balanced_batches(rng))
        for overviews in progress(batches, f"train {epoch + 1}/{settings.epochs}"):
            batch = make_batch(overviews, self.grid, self.config.tissue.cell_share)
            seen = roller.run(batch, self.config.glimpse.count, sampled(rng), jitter=rng)
            for error in seen.errors.values():
                self._drop(error)
            means = learner.train_on_batch(
                {
                    "overview": batch.image,
                    "tissue": batch.tissue,
                    "pixels": seen.pixels,
                    "where": seen.where,
                    "cell": seen.cell,
                    "label": np.array([self.label[o.slide] for o in overviews], np.int32),
                    "weight": np.array([k not in seen.errors for k in range(len(overviews))], np.float32),
                    "lesion": np.stack([self._lesion_cells(o) for o in overviews]),
                },
                return_dict=True,
            )
        return {k: float(v) for k, v in means.items()}

    def _balanced_batches(self, rng: np.random.Generator) -> Iterator[list[StoredOverview]]:
        """Full batches; every class is drawn equally often, so that "always negative" earns nothing."""
        kept = self._kept(self.train)
        if not kept:
            raise FoveateError("no training slide can be read; see the log")
        by_class: dict[int, list[StoredOverview]] = {}
        for overview in kept:
            by_class.setdefault(self.label[overview.slide], []).append(overview)
        size = self.config.train.batch
        count = -(-len(self.train) // size) * size
        turns = [rng.permutation(len(of)) for of in by_class.values()]
        order = []
        for k in range(count):
            of, turn = list(by_class.values())[k % len(turns)], turns[k % len(turns)]
            order.append(of[turn[(k // len(turns)) % len(turn)]])
        order = [order[k] for k in rng.permutation(count)]
        for first in range(0, count, size):
            yield order[first : first + size]

    def _lesion_cells(self, overview: StoredOverview) -> np.ndarray:
        cells = np.zeros(self.grid, bool)
        if overview.lesions is not None and self.label[overview.slide]:
            px = overview.cell_px
            rows, columns = np.nonzero(overview.lesions.index)
            cells[rows // px, columns // px] = True
            tissue = tissue_cells(overview, self.config.tissue.cell_share)
            cells[: tissue.shape[0], : tissue.shape[1]] &= tissue
        return cells

    def _validate(self, roller: Roller) -> dict[str, float]:
        """Cross entropy and accuracy of the greedy policy on the validation slides."""
        nll, right = [], []
        kept = self._kept(self.val)
        size = self.config.train.batch
        for first in range(0, len(kept), size):
            overviews = kept[first : first + size]
            seen = roller.run(
                make_batch(overviews, self.grid, self.config.tissue.cell_share),
                self.config.glimpse.count,
                greedy,
            )
            for row, overview in enumerate(overviews):
                if row in seen.errors:
                    self._drop(seen.errors[row])
                    continue
                logits = seen.logits[row, -1].astype(np.float64)
                label = self.label[overview.slide]
                nll.append(np.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits[label])
                right.append(logits.argmax() == label)
        if not nll:
            return {"val_loss": 0.0, "val_accuracy": 0.0}
        return {"val_loss": float(np.mean(nll)), "val_accuracy": float(np.mean(right))}


def make_agent(config: Config) -> Agent:
    """A new agent with random weights, as the configuration says."""
    agent = Agent(
        scales_mpp=list(config.glimpse.scales_mpp),
        glimpse_px=config.glimpse.px,
        overview_mpp=config.overview.mpp,
        cell_um=config.overview.cell_um,
        classes=list(SLIDE_CLASSES),
        features=config.model.features,
        state=config.model.state,
        context=config.model.context,
    )
    agent.build()
    return agent


def turned(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each glimpse (n, S, g, g, 3) in one of the square's eight orientations."""
    out = np.empty_like(pixels)
    for row, (quarter, flip) in enumerate(rng.integers((4, 2), size=(len(pixels), 2))):
        glimpse = pixels[row, :, :, ::-1] if flip else pixels[row]
        out[row] = np.rot90(glimpse, quarter, axes=(1, 2))
    return out


def run(config: Config, samples: Sequence[Sample], fold: Fold, overviews: Path, out: Path) -> None:
    """Train the model of one fold.

    Reads `overviews/{slide}.h5` and the slides; writes into `out`: model.keras, history.csv, dropped.json
    (slides that could not be read and why), tensorboard/, checkpoint/.
    """
    trainer = Trainer(config, samples, fold, overviews, out)
    with trainer.sensor:
        trainer.run()
