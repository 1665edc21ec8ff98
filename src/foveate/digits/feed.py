"""Images of a task for `fit` and `predict`, drawn as they are needed: the same ones for the same seed."""

from typing import Any

import keras
import numpy as np

from foveate.digits.mnist import Digits
from foveate.digits.tasks import Images, Labels, Task

TRAIN, VALIDATION, TEST = 0, 1, 2  # streams of random numbers
Batch = tuple[dict[str, Images], Labels]


class Feed(keras.utils.PyDataset):
    """Training batches of a task. Every epoch shows other images, the same ones wherever a training was stopped.

    Parameters
    ----------
    first : the epoch to begin with.
    """

    def __init__(self, task: Task, digits: Digits, seed: int, first: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.task, self.digits, self.seed = task, digits, seed
        self._begin(first)

    def _begin(self, epoch: int) -> None:
        self.epoch = epoch
        self.order = np.random.default_rng([self.seed, TRAIN, epoch]).permutation(len(self.digits.labels))

    def __len__(self) -> int:
        return self.task.recipe.epoch // self.task.recipe.batch

    def __getitem__(self, index: int) -> Batch:
        size = self.task.recipe.batch
        rows = np.take(self.order, np.arange(index * size, (index + 1) * size), mode="wrap")
        rng = np.random.default_rng([self.seed, TRAIN, self.epoch, index])
        images, labels = self.task.draw(self.digits, rows, rng)
        return {"images": images}, labels

    def on_epoch_end(self) -> None:
        self._begin(self.epoch + 1)


def fixed(task: Task, digits: Digits, stream: int) -> Batch:
    """The validation or test images of a task, one for each digit: the same for every training."""
    images, labels = task.draw(digits, np.arange(len(digits.labels)), np.random.default_rng(stream))
    return {"images": images}, labels
