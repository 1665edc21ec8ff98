from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from foveate.attention.array_agent import ArrayAgent
from foveate.attention.array_learner import ArrayLearner
from foveate.attention.picker import Picker


def agent(group: int = 1, **settings: Any) -> ArrayAgent:
    keras.utils.set_random_seed(0)
    made = ArrayAgent(**{"classes": 3, "steps": 4, "px": 4, "features": 8, "state": 8, "note": 4, **settings})
    made.build({"images": (None, group, 12, 12, 1)})
    return made


def inputs(rows: int, group: int = 1) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    present = np.ones((rows, group), bool)
    present[0, 1:] = False
    return {"images": rng.random((rows, group, 12, 12, 1), np.float32), "present": present}


@pytest.mark.parametrize("core", ["lstm", "gru", "relu"])
@pytest.mark.parametrize("group", [1, 3])
def test_shapes_and_ranges(group: int, core: str) -> None:
    made = agent(group, core=core)
    made.copies = 2
    out = {name: ops.convert_to_numpy(value) for name, value in made(inputs(5, group)).items()}
    assert out["logits"].shape == (10, 4, 3)
    assert out["log_pi"].shape == out["baseline"].shape == (10, 3)
    assert out["where"].shape == (10, 4, 2)
    assert np.abs(out["where"]).max() <= 1
    assert (out["where"][:, 0] == 0).all()
    assert (out["picked"][:2] == 0).all()  # the only image that the first group has
    assert out["picked"].max() == group - 1


def test_what_is_seen_depends_on_the_image_that_was_picked() -> None:
    made = agent(2)
    images = inputs(1, 2)
    images["present"][:] = True
    made.explore = "greedy"
    first = made(images)
    picked = ops.convert_to_numpy(first["picked"])[0]
    unseen = [k for k in range(2) if k not in picked]
    assert unseen  # a greedy untrained picker stays
    images["images"][0, unseen] = 0.5
    np.testing.assert_array_equal(ops.convert_to_numpy(made(images)["logits"]), ops.convert_to_numpy(first["logits"]))
    images["images"][0, picked[0]] = 0.5
    assert np.abs(ops.convert_to_numpy(made(images)["logits"] - first["logits"])).max() > 1e-4


def test_greedy_rollouts_are_all_alike_and_sampled_ones_follow_the_seed() -> None:
    made, other = agent(2), agent(2)
    made.copies = other.copies = 3
    first, second = made(inputs(2, 2)), other(inputs(2, 2))
    np.testing.assert_array_equal(ops.convert_to_numpy(first["where"]), ops.convert_to_numpy(second["where"]))
    where = ops.convert_to_numpy(first["where"])
    assert np.abs(where[3] - where[4]).max() > 1e-3  # copies of one row
    made.explore = "greedy"
    where = ops.convert_to_numpy(made(inputs(2, 2))["where"])
    np.testing.assert_allclose(where[3], where[4], atol=1e-6)


def test_saved_and_loaded_it_gives_the_same(tmp_path: Path) -> None:
    made = agent(2)
    made.explore = "greedy"
    made(inputs(2, 2))
    made.save(tmp_path / "agent.keras")
    loaded = keras.models.load_model(tmp_path / "agent.keras")
    loaded.explore = "greedy"
    expected = ops.convert_to_numpy(made(inputs(2, 2))["logits"])
    np.testing.assert_allclose(ops.convert_to_numpy(loaded(inputs(2, 2))["logits"]), expected, atol=1e-6)


def gradients(part: str) -> dict[str, float]:
    """Largest gradient of one part of the loss, by the layer that it reaches."""
    made = agent(3)
    learner = ArrayLearner(made)
    batch = {**inputs(8, 3), "label": np.arange(8) % 3}
    with tf.GradientTape() as tape:
        out = made(batch)
        if part == "log_pi":
            value = tf.reduce_sum(out["log_pi"] * np.random.default_rng(2).normal(size=(8, 3)).astype("float32"))
        elif part == "baseline":
            value = tf.reduce_sum(out["baseline"])
        else:
            value = learner.compute_loss(batch, None, {**out, "log_pi": ops.stop_gradient(out["log_pi"])})
    found = tape.gradient(value, [variable.value for variable in made.trainable_variables])
    reached: dict[str, float] = {}
    for variable, gradient in zip(made.trainable_variables, found, strict=True):
        layer = next(part for part in variable.path.split("/") if part in LAYERS)
        size = 0.0 if gradient is None else float(tf.reduce_max(tf.abs(gradient)))
        reached[layer] = max(reached.get(layer, 0.0), size)
    return reached


LAYERS = (
    "glimpse_network", "core", "location_network", "picker", "note_network", "action_network", "baseline_network",
)  # fmt: skip


def test_reinforce_reaches_the_location_network_and_the_picker_and_nothing_else() -> None:
    reached = gradients("log_pi")
    assert {name for name, size in reached.items() if size > 1e-6} == {"location_network", "picker"}


def test_the_baseline_reaches_itself_alone() -> None:
    assert {name for name, size in gradients("baseline").items() if size > 0} == {"baseline_network"}


def test_the_class_reaches_what_sees_and_remembers() -> None:
    reached = {name for name, size in gradients("class").items() if size > 1e-7}
    assert reached == {"glimpse_network", "core", "note_network", "action_network", "baseline_network"}


def test_the_picker_learns_a_bandit_in_which_only_it_matters() -> None:
    keras.utils.set_random_seed(0)
    picker, optimizer = Picker(16), keras.optimizers.Adam(0.02)
    notes = np.repeat(np.eye(5, dtype="float32")[None], 64, axis=0)  # each image has a mark of its own
    state, present = np.zeros((64, 2), "float32"), np.ones((64, 5), bool)
    picker.build((None, 2), (None, None, 5))
    seeds = keras.random.SeedGenerator(0)
    for _ in range(150):
        with tf.GradientTape() as tape:
            log_p = picker(state, notes, present)
            picked = picker.sample(log_p, seeds)
            reward = ops.cast(ops.equal(picked, 3), "float32")
            loss = -ops.mean(picker.log_prob(log_p, picked) * (reward - ops.mean(reward)))
        values = [variable.value for variable in picker.trainable_variables]
        optimizer.apply_gradients(zip(tape.gradient(loss, values), picker.trainable_variables, strict=True))
    assert float(ops.exp(picker(state, notes, present))[0, 3]) > 0.95


def test_a_place_that_tells_the_class_is_found() -> None:
    # the class is written in one corner, out of sight of the first glimpse
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 512)
    images = np.zeros((512, 1, 12, 12, 1), "float32")
    images[:, 0, 8:, 8:, 0] = label[:, None, None]
    made = agent(classes=2, steps=2, px=4, std=0.3, core="relu")
    made.copies = 4
    learner = ArrayLearner(made)
    learner.compile(optimizer=keras.optimizers.Adam(0.01))
    for k in range(240):
        rows = rng.integers(0, 512, 32)
        present = np.ones((32, 1), bool)
        learner.train_on_batch({"images": images[rows], "present": present, "label": label[rows]})
        if k == 200:
            for part in learner.parts.values():
                part.reset_state()
    assert float(learner.parts["accuracy"].result()) > 0.95
    made.explore = "greedy"
    where = ops.convert_to_numpy(made({"images": images[:4], "present": np.ones((4, 1), bool)})["where"])[:, 1]
    assert (where > 0.1).all()  # towards the lower right
