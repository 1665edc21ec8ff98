"""Training an agent on a task, epoch by epoch, with a checkpoint after each."""

import logging
import math
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from tensorboardX import SummaryWriter
from tqdm import tqdm

from foveate.attention.array_agent import ArrayAgent
from foveate.attention.array_learner import ArrayLearner, Rollouts, compiles
from foveate.digits.feed import VALIDATION, Batch, Feed, fixed
from foveate.digits.glimpse_paths import GlimpsePaths
from foveate.digits.marks import answers, rolled
from foveate.digits.mnist import Mnist
from foveate.digits.pictures import path_strip
from foveate.digits.tasks import Task
from foveate.errors import FoveateError
from foveate.files import write_json
from foveate.stages.determinism import seeded
from foveate.stages.training.checkpoint import Checkpoint

log = logging.getLogger(__name__)
PICTURES = 10  # times in a training that TensorBoard gets the glimpse paths
SHOWN = 8  # examples in them
STEPS_AT_ONCE = 10  # of TensorFlow's graph, before Python looks at it again
LEAST = 0.01  # of the rate, at the end
Row = dict[str, float]


def settle(seed: int) -> None:
    """Seed every generator, and set the backend up for agents of arrays."""
    seeded(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # it gives up on relu(a + b) with an error, for the whole graph
        tf.config.optimizer.set_experimental_options({"remapping": False})


def make_agent(task: Task, seed: int) -> ArrayAgent:
    """A new agent with random weights."""
    agent = ArrayAgent(classes=len(task.classes), seed=seed, **task.agent)
    group, height, width = task.shape
    agent.build({"images": (None, group, height, width, 1)})
    return agent


def train(
    task: Task, data: Mnist, seed: int, greedy: Rollouts, checkpoint: Checkpoint, out: Path, *, show: bool
) -> None:
    """Train an agent to the end, from the last checkpoint if there is one.

    greedy: the agent as it looks when it is validated. show: a progress bar beside the log line of an epoch. Writes
    history.json and tensorboard/ into `out`.
    """
    recipe = task.recipe
    learner = ArrayLearner(greedy.agent, task.loss, recipe.copies)
    steps = recipe.epochs * (recipe.epoch // recipe.batch)
    rate = keras.optimizers.schedules.CosineDecay(recipe.rate, steps, alpha=LEAST)
    optimizer = keras.optimizers.Adam(rate, global_clipnorm=recipe.clip)
    at_once = 1 if compiles() else STEPS_AT_ONCE
    learner.compile(optimizer=optimizer, jit_compile=compiles(), steps_per_execution=at_once)
    optimizer.build(learner.trainable_variables)
    state = checkpoint.load()
    if state is not None:
        checkpoint.restore(learner, state)
        log.info("goes on after epoch %d of %d", state["epoch"], recipe.epochs)
    history: list[Row] = [] if state is None else state["history"]
    validation = fixed(task, data.validation, VALIDATION)
    journal = Journal(task, seed, history, greedy, checkpoint, validation, out, show=show)
    for epoch in range(len(history), recipe.epochs):
        feed = Feed(task, data.train, seed, epoch)
        learner.fit(feed, initial_epoch=epoch, epochs=epoch + 1, shuffle=False, callbacks=[journal], verbose=0)


class Journal(keras.callbacks.Callback):
    """What happens around an epoch: random numbers of its own, a progress bar, the record, the checkpoint."""

    def __init__(
        self,
        task: Task,
        seed: int,
        history: list[Row],
        greedy: Rollouts,
        checkpoint: Checkpoint,
        validation: Batch,
        out: Path,
        *,
        show: bool,
    ) -> None:
        super().__init__()
        self.task, self.seed, self.history, self.checkpoint = task, seed, history, checkpoint
        self.greedy, self.validation, self.out, self.show = greedy, validation, out, show

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        seeds = self.model.agent.seeds
        numbers = np.random.default_rng([self.seed, epoch]).integers(2**31, size=2)
        seeds.state.assign(numbers.astype(seeds.state.dtype))
        self.began = time.perf_counter()
        recipe = self.task.recipe
        total, text = recipe.epoch // recipe.batch, f"epoch {epoch + 1} of {recipe.epochs}"
        self.bar = tqdm(total=total, desc=text, leave=False, disable=not self.show)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.bar.update(batch + 1 - self.bar.n)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.bar.close()
        row: Row = {name: float(value) for name, value in (logs or {}).items()}
        bad = [name for name, value in row.items() if not math.isfinite(value)]
        if bad:
            what = f"epoch {epoch + 1}: {', '.join(bad)}: not a finite number, the training has diverged"
            raise FoveateError(f"{what}; try a lower rate, for example --recipe '{{\"rate\": 0.0003}}'")
        row |= self._validated()
        row |= {"epoch": epoch + 1.0, "seconds": time.perf_counter() - self.began}
        self.history.append(row)
        self.checkpoint.save(self.model, {"phase": "train", "epoch": epoch + 1, "history": self.history})
        write_json(self.out / "history.json", self.history)
        self._board(epoch + 1, row)
        log.info(
            "epoch %d of %d: accuracy %.4f, validation %.4f, %.1f glimpses, %.0f s",
            epoch + 1, self.task.recipe.epochs, row["accuracy"], row["val_accuracy"], row["val_glimpses"],
            row["seconds"],
        )  # fmt: skip

    def _board(self, epoch: int, row: Row) -> None:
        # the name's other part is the time in seconds: two short epochs would share it, and the second be left alone
        with SummaryWriter(str(self.out / "tensorboard"), flush_secs=1, filename_suffix=f".{epoch:04d}") as writer:
            for name, value in row.items():
                writer.add_scalar(name, value, epoch)
            if epoch == self.task.recipe.epochs or epoch % max(1, self.task.recipe.epochs // PICTURES) == 0:
                strip = path_strip(glimpse_paths(self.task, self.greedy, self.validation, SHOWN))
                writer.add_image("glimpse_paths", strip, epoch, dataformats="HWC")

    def _validated(self) -> Row:
        images, labels = self.validation
        answer, glimpses = answers(self.greedy, images)
        return {"val_accuracy": float((answer.argmax(-1) == labels).mean()), "val_glimpses": glimpses}


def glimpse_paths(task: Task, greedy: Rollouts, batch: Batch, count: int) -> GlimpsePaths:
    """How an agent looks at the first `count` images."""
    images, labels = {name: value[:count] for name, value in batch[0].items()}, batch[1][:count]
    out: dict[str, Any] = rolled(greedy, images)
    return GlimpsePaths(
        images=images["images"][..., 0],
        where=out["where"],
        picked=out["picked"],
        probabilities=np.asarray(ops.softmax(out["logits"], axis=-1)),
        taken=out["looked"].sum(axis=1).astype(int),
        labels=labels,
        names=task.classes,
        px=task.agent["px"],
        scales=task.agent["scales"],
    )
