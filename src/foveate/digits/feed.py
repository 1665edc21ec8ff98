"""Images of a task for `fit` and `predict`, drawn as they are needed: the same ones for the same seed."""

import dataclasses
from typing import Any

import keras
import numpy as np

from foveate.digits.canvas import shifted, warped
from foveate.digits.mnist import Digits
from foveate.digits.tasks import Images, Labels, Task

TRAIN, VALIDATION, TEST = 0, 1, 2  # streams of random numbers
Batch = tuple[dict[str, Images], Labels]


class Feed(keras.utils.PyDataset):
    """The training batches of one epoch of a task, which shows other images than any other epoch.

    One epoch each, for Keras says that an epoch has ended before it has asked for the last batch.
    """

    def __init__(self, task: Task, digits: Digits, seed: int, epoch: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.task, self.seed, self.epoch = task, seed, epoch
        rng = np.random.default_rng([seed, TRAIN, epoch])
        self.order = rng.permutation(len(digits.labels))
        warp = task.recipe.warp
        self.digits = dataclasses.replace(digits, images=warped(digits.images, warp, rng)) if warp else digits

    def __len__(self) -> int:
        return self.task.recipe.epoch // self.task.recipe.batch

    def __getitem__(self, index: int) -> Batch:
        size = self.task.recipe.batch
        rows = np.take(self.order, np.arange(index * size, (index + 1) * size), mode="wrap")
        rng = np.random.default_rng([self.seed, TRAIN, self.epoch, index])
        images, labels = self.task.draw(self.digits, rows, rng)
        if self.task.recipe.shift:
            moved = shifted(images.reshape(-1, *images.shape[2:4]), self.task.recipe.shift, rng)
            images = moved.reshape(images.shape)
        return {"images": images}, labels


def fixed(task: Task, digits: Digits, stream: int) -> Batch:
    """The validation or test images of a task, one for each digit: the same for every training."""
    images, labels = task.draw(digits, np.arange(len(digits.labels)), np.random.default_rng(stream))
    return {"images": images}, labels
