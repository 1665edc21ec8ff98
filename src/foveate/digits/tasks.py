"""The tasks of `foveate digits`: what the images are, which model looks at them, and how it is trained."""

import dataclasses
import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from foveate.attention.array_agent import ArrayAgent
from foveate.attention.array_learner import HybridLoss
from foveate.attention.settings import above, at_least, whole
from foveate.digits.canvas import cluttered, translated
from foveate.digits.groups import GroupRule, draw
from foveate.digits.mnist import Digits
from foveate.errors import FoveateError

Images = np.ndarray[Any, np.dtype[np.uint8]]
Labels = np.ndarray[Any, np.dtype[np.int32]]
Rows = np.ndarray[Any, np.dtype[np.int64]]
Settings = TypeVar("Settings", "Recipe", HybridLoss)
Draw = Callable[[Digits, Rows, np.random.Generator], tuple[Images, Labels]]


@dataclass(frozen=True)
class Recipe:
    """How a task is trained.

    epoch : images, or groups, an epoch. copies : rollouts M of each in training. rate : of Adam; it falls along a
    cosine to a hundredth. clip : largest norm of the gradient. shift : training images are moved by up to so many px.
    warp : the digits in them are turned, stretched and slanted by up to so much, another way in every epoch.
    """

    epochs: int
    epoch: int = 55_000
    batch: int = 128
    copies: int = 1
    rate: float = 1e-3
    clip: float = 5.0
    shift: int = 0
    warp: float = 0.0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "copies"):
            whole(name, getattr(self, name))
        whole("epoch", self.epoch, self.batch)  # a batch
        whole("shift", self.shift, 0)
        at_least("warp", self.warp, 0, 0.5)
        for name in ("rate", "clip"):
            above(name, getattr(self, name), 0)


@dataclass(frozen=True)
class Task:
    """One task.

    draw : from digits, rows (B,) among them and a generator to images (B, N, H, W, 1) uint8 and labels (B,). A group
    draws its own digits; of the rows only their number counts.
    """

    text: str
    classes: tuple[str, ...]
    shape: tuple[int, int, int]  # N, H, W
    draw: Draw
    agent: dict[str, Any]
    recipe: Recipe
    loss: HybridLoss


def _single(paint: Callable[[Images, Digits, np.random.Generator], Images]) -> Draw:
    def draw_images(digits: Digits, rows: Rows, rng: np.random.Generator) -> tuple[Images, Labels]:
        images = paint(digits.images[rows], digits, rng)
        return images[:, None, ..., None], digits.labels[rows].astype(np.int32)

    return draw_images


def _grouped(rule: GroupRule) -> Draw:
    def draw_groups(digits: Digits, rows: Rows, rng: np.random.Generator) -> tuple[Images, Labels]:
        images, labels = draw(rule, digits, len(rows), rng)
        return images[..., None], labels

    return draw_groups


def _digit(side: int, px: int, scales: int, pieces: int | None, agent: dict[str, Any], recipe: Recipe) -> Task:
    """One digit on a canvas: as it is, at a random place, or among `pieces` of other digits."""
    if side == 28:
        paint = _single(lambda images, _, rng: images)
        text = "digits of 28 px"
    elif not pieces:
        paint = _single(lambda images, _, rng: translated(images, side, rng))
        text = f"digits at random places of {side} px"
    else:
        paint = _single(lambda images, digits, rng: cluttered(images, side, pieces, digits.images, rng))
        text = f"digits at random places of {side} px among {pieces} pieces of other digits"
    sensor = {"px": px, "scales": scales}
    return Task(text, tuple("0123456789"), (1, side, side), paint, {**sensor, **agent}, recipe, LOSS)


def _group(rule: GroupRule, steps: int, recipe: Recipe) -> Task:
    noise = " or ".join(map(str, rule.noise))
    text = f"groups of {rule.size} digits: how many of them are {noise}"
    agent = {"px": 8, "scales": 2, "steps": steps, "glimpse": DENSE, "core": LSTM, "start": 0.5}
    classes = tuple(map(str, rule.counts))
    return Task(text, classes, (rule.size, 28, 28), _grouped(rule), agent, recipe, GROUP_LOSS)


LSTM = {"name": "lstm", "units": 256}
RELU = {"name": "relu", "units": 256}
DENSE = {"name": "dense", "hidden": 128, "features": 256}
LOSS = HybridLoss(reinforce=0.1, reward="dense", normalise=False)
GROUP_LOSS = HybridLoss(reinforce=0.03, normalise=False)

# Mnih et al. 2014, section 4.1-4.2; Ba et al. 2015 for the context; Yarin 2017 for the groups
TASKS: dict[str, Task] = {
    "mnist28": _digit(
        28, 8, 1, None, {"steps": 6, "glimpse": DENSE, "core": RELU, "start": 0.5},
        Recipe(epochs=200, shift=1, warp=0.15),
    ),
    "translated60": _digit(
        60, 12, 3, None, {"steps": 8, "glimpse": DENSE, "core": LSTM, "start": 0.5}, Recipe(epochs=200, warp=0.15)
    ),
    "cluttered60": _digit(
        60, 12, 3, 4, {"steps": 8, "glimpse": DENSE, "core": LSTM, "start": 0.5}, Recipe(epochs=200)
    ),
    "cluttered100": _digit(
        100, 12, 4, 8,
        {"steps": 8, "glimpse": DENSE, "core": LSTM, "path": LSTM, "context": "convolutional"},
        Recipe(epochs=60),
    ),
    "group1": _group(GroupRule(5, (1, 2), (0, 1, 2)), 30, Recipe(epochs=20, epoch=20_000, shift=1)),
    "group2": _group(GroupRule(5, (0,), (0, 1, 2)), 15, Recipe(epochs=20, epoch=20_000, shift=1)),
    "group3": _group(GroupRule(4, (0,), (2, 1)), 24, Recipe(epochs=20, epoch=20_000, shift=1)),
}  # fmt: skip


def changed(task: Task, *, agent: str, recipe: str, loss: str) -> Task:
    """A task with other settings, each a JSON object. Raises FoveateError for what is not one or has unknown keys."""
    known = {
        "agent": [n for n in inspect.signature(ArrayAgent).parameters if n not in ("classes", "seed", "kwargs")],
        "recipe": [f.name for f in dataclasses.fields(Recipe)],
        "loss": [f.name for f in dataclasses.fields(HybridLoss)],
    }
    new = {}
    for name, text in (("agent", agent), ("recipe", recipe), ("loss", loss)):
        try:
            new[name] = json.loads(text)
        except json.JSONDecodeError as error:
            raise FoveateError(f"--{name} {text}: not JSON ({error}); expected an object") from None
        if not isinstance(new[name], dict) or set(new[name]) - set(known[name]):
            raise FoveateError(f"--{name} {text}: expected an object with keys among {', '.join(known[name])}")
    return dataclasses.replace(
        task,
        agent={**task.agent, **new["agent"]},
        recipe=_replaced("recipe", task.recipe, new["recipe"]),
        loss=_replaced("loss", task.loss, new["loss"]),
    )


EXPECTED = {float: "a number", int: "a whole number", bool: "true or false", str: "a text"}


def _replaced(name: str, settings: Settings, new: dict[str, Any]) -> Settings:
    for key, value in new.items():
        kind = type(getattr(settings, key))
        if not (type(value) is kind or (kind is float and type(value) is int)):
            raise FoveateError(f"--{name}: {key}: {value!r}; expected {EXPECTED[kind]}")
    try:
        return dataclasses.replace(settings, **new)
    except FoveateError as error:
        raise FoveateError(f"--{name}: {error}") from None
