"""How fast to learn, and when to stop: from the validation losses so far, so that a resumed training goes on alike."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import keras

LEAST = 0.05  # of the rate, at the end of the cosine
GIVEN_UP = 3  # times the patience without a better loss: the end
WARM_UP = 0.1  # of the steps, while the rate rises: Adam's first steps at the full one can silence an encoder for good


@dataclass(frozen=True)
class Pace:
    """halvings: of the learning rate, one for each `patience` epochs in a row without a better validation loss.

    over: nothing better came for so long that the training ends.
    """

    halvings: int
    over: bool


def pace(losses: Sequence[float], patience: int) -> Pace:
    """The pace after some validation losses, one an epoch. patience 0: never slower, never over."""
    best, since, halvings = math.inf, 0, 0
    for loss in losses if patience else ():
        since = 0 if loss < best else since + 1
        best = min(best, loss)
        halvings += since > 0 and since % patience == 0
    return Pace(halvings, bool(patience) and since >= GIVEN_UP * patience)


def rate(highest: float, done: float, halvings: int) -> float:
    """The learning rate of an epoch: along a cosine from `highest` to a twentieth of it, halved where loss stood still.

    done: share of the epochs that are over, 0 to 1.
    """
    cosine = (1 + math.cos(math.pi * done)) / 2
    return highest * (LEAST + (1 - LEAST) * cosine) * 0.5**halvings


def warmed_up(highest: float, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """From 0 up to the highest learning rate in a line, and down again along a cosine; few steps do not rise."""
    rising = round(WARM_UP * steps)
    return keras.optimizers.schedules.CosineDecay(0.0, steps - rising, warmup_target=highest, warmup_steps=rising)
