"""Groups of digits that share one label: how many of them are noise (Yarin 2017)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveate.digits.mnist import Digits


@dataclass(frozen=True)
class GroupRule:
    """`size` images a group; those of the digits `noise` are noise; a group of class k has counts[k] of them."""

    size: int
    noise: tuple[int, ...]
    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.counts or len(set(self.counts)) < len(self.counts):
            raise ValueError(f"counts: expected a different number for each class. Received: {self.counts}")
        if min(self.counts) < 0 or max(self.counts) > self.size:
            raise ValueError(f"counts: expected 0 to {self.size}, the size of a group. Received: {self.counts}")


def draw(
    rule: GroupRule, digits: Digits, count: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Groups of images, (count, size, 28, 28), and their classes, (count,).

    Classes are drawn evenly, images evenly and with replacement among the noise and among the others, and their order
    in the group too. Raises ValueError when `digits` lacks either kind.
    """
    noise = np.isin(digits.labels, rule.noise)
    kinds = np.flatnonzero(~noise), np.flatnonzero(noise)
    if not all(map(len, kinds)):
        raise ValueError(
            f"digits: expected some labelled {rule.noise} and some others. Received: {np.unique(digits.labels)}"
        )
    labels = rng.integers(len(rule.counts), size=count, dtype=np.int32)
    is_noise = np.arange(rule.size) < np.asarray(rule.counts)[labels, None]
    is_noise = rng.permuted(is_noise, axis=1)
    other, noisy = (kind[rng.integers(len(kind), size=is_noise.shape)] for kind in kinds)
    return digits.images[np.where(is_noise, noisy, other)], labels
