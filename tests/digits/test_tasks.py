import dataclasses

import numpy as np
import pytest

from foveate.digits.mnist import Digits
from foveate.digits.tasks import TASKS, Task, changed
from foveate.digits.training import make_agent
from foveate.errors import FoveateError

RNG = np.random.default_rng(0)
DIGITS = Digits(RNG.integers(1, 256, (40, 28, 28)).astype(np.uint8), np.repeat(np.arange(10), 4).astype(np.int32))


def drawn(task: Task, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return task.draw(DIGITS, np.array([3, 39, 8]), np.random.default_rng(seed))


@pytest.mark.parametrize("name", TASKS)
def test_images_and_labels_have_the_shape_that_the_model_is_made_for(name: str) -> None:
    task = TASKS[name]
    images, labels = drawn(task)
    assert images.shape == (3, *task.shape, 1)
    assert images.dtype == np.uint8
    assert labels.shape == (3,)
    assert labels.max() < len(task.classes)
    again, _ = drawn(task)
    np.testing.assert_array_equal(images, again)
    if name != "mnist28":
        assert (drawn(task, seed=1)[0] != images).any()


def test_digits_are_those_of_the_rows() -> None:
    images, labels = drawn(TASKS["mnist28"])
    assert labels.tolist() == [0, 9, 2]
    np.testing.assert_array_equal(images[:, 0, :, :, 0], DIGITS.images[[3, 39, 8]])


def test_translated_digits_lie_on_black_and_clutter_adds_to_them() -> None:
    plain, labels = drawn(TASKS["translated60"])
    assert labels.tolist() == [0, 9, 2]
    assert [(image > 0).sum() for image in plain] == [28 * 28] * 3
    clutter, _ = drawn(TASKS["cluttered60"])
    assert ((clutter > 0).sum(axis=(1, 2, 3, 4)) > 28 * 28).all()


@pytest.mark.parametrize(("name", "noise", "counts"), [("group1", {1, 2}, (0, 1, 2)), ("group3", {0}, (2, 1))])
def test_the_class_of_a_group_is_how_many_of_its_digits_are_noise(
    name: str, noise: set[int], counts: tuple[int, ...]
) -> None:
    images, labels = drawn(TASKS[name])
    for group, label in zip(images[..., 0], labels, strict=True):
        kinds = [int(DIGITS.labels[(DIGITS.images == image).all(axis=(1, 2))][0]) for image in group]
        assert sum(kind in noise for kind in kinds) == counts[label]
        assert TASKS[name].classes[label] == str(counts[label])


def test_settings_change_what_they_name() -> None:
    task = changed(TASKS["mnist28"], agent='{"steps": 7, "core": "gru"}', recipe='{"epochs": 2}', loss="{}")
    assert (task.agent["steps"], task.agent["core"], task.agent["px"]) == (7, "gru", 8)
    assert task.recipe == dataclasses.replace(TASKS["mnist28"].recipe, epochs=2)
    assert task.loss == TASKS["mnist28"].loss
    assert make_agent(task, 1).settings["steps"] == 7


@pytest.mark.parametrize(
    ("agent", "loss", "said"),
    [
        ("{", "{}", "--agent {: not JSON"),
        ("[1]", "{}", "--agent [1]: expected an object"),
        ('{"glimpses": 7}', "{}", '--agent {"glimpses": 7}: expected an object with keys among steps, px'),
        ("{}", '{"prize": 1}', "keys among classification, every_step"),
        ("{}", '{"reinforce": "much"}', "--loss: reinforce: 'much'; expected a number"),
        ("{}", '{"every_step": 1}', "--loss: every_step: 1; expected true or false"),
        ("{}", '{"reward": "sparse"}', "--loss: reward: 'sparse'; expected one of terminal, dense"),
    ],
)
def test_settings_that_are_not_there_are_named(agent: str, loss: str, said: str) -> None:
    with pytest.raises(FoveateError) as error:
        changed(TASKS["mnist28"], agent=agent, recipe="{}", loss=loss)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ('{"epochs": 0}', "epochs: 0; expected a whole number, at least 1"),
        ('{"epoch": 100}', "epoch: 100; expected a whole number, at least 128"),
        ('{"copies": 0}', "copies: 0; expected a whole number, at least 1"),
        ('{"shift": -1}', "shift: -1; expected a whole number, at least 0"),
        ('{"warp": 0.6}', "warp: 0.6; expected a number, at least 0 and at most 0.5"),
        ('{"rate": -1}', "rate: -1; expected a number above 0"),
        ('{"rate": NaN}', "rate: nan; expected a number above 0"),
        ('{"clip": 0}', "clip: 0; expected a number above 0"),
    ],
)
def test_a_recipe_that_trains_nothing_is_refused(recipe: str, said: str) -> None:
    with pytest.raises(FoveateError, match=f"^--recipe: {said}"):
        changed(TASKS["mnist28"], agent="{}", recipe=recipe, loss="{}")
