import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from foveate.attention.agent import WEAKEST, Agent, FirstLook, Fixation, visit

Run = Callable[..., dict[str, np.ndarray]]


def step_by_step(agent: Agent, x: dict[str, Any]) -> dict[str, np.ndarray]:
    """What `Agent.call` gives, from the models that make a rollout."""
    first, fixation = FirstLook(agent), Fixation(agent)
    tissue = x["tissue"]
    memory = first.predict_on_batch({"overview": x["overview"], "tissue": tissue})
    memory["allowed"] = tissue.reshape(len(tissue), -1)
    log_p, logits = [], []
    for t in range(x["cell"].shape[1]):
        log_p.append(memory.pop("log_p"))
        seen = {"pixels": x["pixels"][:, t], "where": x["where"][:, t], "cell": x["cell"][:, t], "tissue": tissue}
        memory |= fixation.predict_on_batch(memory | seen)
        logits.append(memory.pop("logits"))
    chosen = [np.take_along_axis(p, x["cell"][:, t, None], 1)[:, 0] for t, p in enumerate(log_p)]
    return {"logits": np.stack(logits, 1), "log_p": np.stack(log_p, 1), "log_pi": np.stack(chosen, 1)}


@pytest.fixture(scope="module")
def rollout(make_rollout: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """Four slides of different tissue, five steps; the last slide has three tissue cells, so it is seen again."""
    x = make_rollout(rows=4, steps=5, grid=(3, 4))
    x["tissue"][1, :, 3] = x["tissue"][2, 2] = x["tissue"][3] = False
    x["tissue"][3, 1, :3] = True
    x["cell"][:] = [[0, 11, 3, 8, 5], [1, 0, 10, 9, 4], [7, 2, 3, 6, 0], [6, 4, 5, 4, 6]]
    return x


def test_the_start_of_a_rollout(agent: Agent, rollout: dict[str, Any]) -> None:
    memory = agent.begin(ops.array(rollout["overview"]), ops.array(rollout["tissue"]))
    shapes = {name: tuple(value.shape) for name, value in memory.items()}
    assert shapes == {
        "h": (4, 8), "c": (4, 8), "strongest": (4, 4), "cells": (4, 12, 8), "salience": (4, 12), "inhibition": (4, 12),
    }  # fmt: skip
    assert not np.asarray(memory["h"]).any()
    assert not np.asarray(memory["inhibition"]).any()
    assert (np.asarray(memory["strongest"]) == WEAKEST).all()


def test_what_is_seen_changes_the_memory(agent: Agent, rollout: dict[str, Any]) -> None:
    before = agent.begin(ops.array(rollout["overview"]), ops.array(rollout["tissue"]))
    vector, evidence = agent.glimpse_network(ops.array(rollout["pixels"][:, 0]), ops.array(rollout["where"][:, 0]))
    after = agent.absorb(before, vector, evidence, ops.array(rollout["cell"][:, 0]), columns=4)
    assert {k: tuple(v.shape) for k, v in after.items()} == {k: tuple(v.shape) for k, v in before.items()}
    for name in ("cells", "salience"):
        np.testing.assert_array_equal(np.asarray(after[name]), np.asarray(before[name]))
    for name in ("h", "c", "strongest"):
        assert (np.abs(np.asarray(after[name]) - np.asarray(before[name])).max(1) > 1e-3).all()
    np.testing.assert_array_equal(np.asarray(after["inhibition"]).argmax(1), rollout["cell"][:, 0])


def test_inhibition_adds_up(agent: Agent, rollout: dict[str, Any]) -> None:
    start = agent.begin(ops.array(rollout["overview"]), ops.array(rollout["tissue"]))
    marked = {**start, "inhibition": ops.ones((4, 12))}
    zeros, evidence, cell = ops.zeros((4, 8)), ops.zeros((4, 4)), ops.array([0, 5, 11, 3])
    one, more = (agent.absorb(m, zeros, evidence, cell, columns=4)["inhibition"] for m in (start, marked))
    np.testing.assert_allclose(np.asarray(more), np.asarray(one) + 1, rtol=1e-6)


def test_the_strongest_evidence_is_kept(agent: Agent, rollout: dict[str, Any]) -> None:
    memory = agent.begin(ops.array(rollout["overview"][:1]), ops.array(rollout["tissue"][:1]))
    evidence = np.array([[-1, -2, -3, -9], [-2, -1, -3, -9], [-3, -3, -0.5, -9]], np.float32)
    found = []
    for step in evidence:
        memory = agent.absorb(memory, ops.zeros((1, 8)), ops.array(step[None]), ops.array([0]), columns=4)
        found.append(np.asarray(memory["strongest"])[0])
    np.testing.assert_allclose(found, [[-1, -2, -3, WEAKEST], [-1, -1, -3, WEAKEST], [-1, -1, -0.5, WEAKEST]])


def test_the_answer_depends_on_the_strongest_evidence(agent: Agent, rollout: dict[str, Any]) -> None:
    memory = agent.begin(ops.array(rollout["overview"]), ops.array(rollout["tissue"]))
    stronger = {**memory, "strongest": memory["strongest"] + ops.array([[0.0, 0, 0, 4]])}
    assert agent.answer(memory).shape == (4, 4)
    assert np.abs(np.asarray(agent.answer(stronger)) - np.asarray(agent.answer(memory))).min() > 1e-4


def test_a_replay_gives_what_the_rollout_gave(agent: Agent, rollout: dict[str, Any], run: Run) -> None:
    replay, rolled = run(agent, rollout), step_by_step(agent, rollout)
    assert (replay["logits"].shape, replay["log_p"].shape, replay["baseline"].shape) == ((4, 5, 4), (4, 5, 12), (4, 5))
    allowed = rolled["log_p"] > -1e8
    np.testing.assert_array_equal(replay["log_p"] > -1e8, allowed)
    np.testing.assert_allclose(replay["log_p"][allowed], rolled["log_p"][allowed], atol=1e-5)
    np.testing.assert_allclose(replay["log_pi"], rolled["log_pi"], atol=1e-5)
    np.testing.assert_allclose(replay["logits"], rolled["logits"], atol=1e-5)
    # a rollout that says something: it differs between slides and steps
    assert np.ptp(replay["logits"], axis=0).min() > 1e-4
    assert np.ptp(replay["logits"], axis=1).min() > 1e-5
    assert np.ptp(replay["log_p"][0, :, [1, 2, 4]], axis=1).min() > 1e-3


def test_a_visited_cell_cannot_be_chosen_until_all_were(agent: Agent, rollout: dict[str, Any], run: Run) -> None:
    possible = run(agent, rollout)["log_p"] > -1e8
    np.testing.assert_array_equal(possible[:, 0], rollout["tissue"].reshape(4, 12))
    for row in range(3):
        for t in range(1, 5):
            expected = rollout["tissue"][row].ravel().copy()
            expected[rollout["cell"][row, :t]] = False
            np.testing.assert_array_equal(possible[row, t], expected)
    # cells 4, 5 and 6 in the order 6, 4, 5; then anew: 4
    cells = [np.flatnonzero(step).tolist() for step in possible[3]]
    assert cells == [[4, 5, 6], [4, 5], [5], [4, 5, 6], [5, 6]]


def test_visits() -> None:
    tissue = np.array([[True, True, False, True], [True, False, False, True], [False, False, True, False]])
    allowed = np.array([[True, False, False, True], [False, False, False, True], [False, False, True, False]])
    after = visit(ops.array(allowed), ops.array(tissue), ops.array([0, 3, 2]))
    np.testing.assert_array_equal(np.asarray(after), [[False, False, False, True], tissue[1], tissue[2]])


def test_the_baseline_knows_only_what_was_seen_before(agent: Agent, rollout: dict[str, Any], run: Run) -> None:
    other = {**rollout, "pixels": rollout["pixels"].copy()}
    other["pixels"][:, 2] = 255 - other["pixels"][:, 2]
    before, after = (run(agent, x) for x in (rollout, other))
    for name, last_alike in (("baseline", 2), ("log_p", 2), ("logits", 1)):
        change = np.abs(np.asarray(after[name]) - np.asarray(before[name])).reshape(4, 5, -1).max((0, 2))
        np.testing.assert_allclose(change[: last_alike + 1], 0, atol=1e-6)
        assert (change[last_alike + 1 :] > 1e-6).all()


def test_the_class_is_not_guessed_from_the_overview(agent: Agent, rollout: dict[str, Any], run: Run) -> None:
    other = {**rollout, "overview": 255 - rollout["overview"]}
    before, after = run(agent, rollout), run(agent, other)
    np.testing.assert_array_equal(np.asarray(after["logits"]), np.asarray(before["logits"]))
    assert np.abs(np.asarray(after["log_pi"]) - np.asarray(before["log_pi"])).max() > 1e-3


def test_more_steps_than_in_training(make_agent: Callable[..., Agent], rollout: dict[str, Any], run: Run) -> None:
    agent = make_agent()
    two = {name: v[:, :2] if name in ("pixels", "where", "cell") else v for name, v in rollout.items()}
    short = run(agent, two)
    long = step_by_step(agent, rollout)
    np.testing.assert_allclose(long["logits"][:, :2], short["logits"], atol=1e-5)
    assert long["logits"].shape == (4, 5, 4)
    assert np.isfinite(long["logits"]).all()


def test_another_grid_than_in_training(make_rollout: Callable[..., dict[str, Any]], agent: Agent, run: Run) -> None:
    x = make_rollout(rows=2, steps=2, grid=(6, 2))
    np.testing.assert_allclose(run(agent, x)["log_pi"], step_by_step(agent, x)["log_pi"], atol=1e-5)


def test_cells_of_more_pixels(
    make_agent: Callable[..., Agent], make_rollout: Callable[..., dict[str, Any]], run: Run
) -> None:
    fine = make_agent(overview_mpp=16.0)
    x = make_rollout(rows=2, steps=2)
    x["overview"] = x["overview"].repeat(2, 1).repeat(2, 2)
    assert run(fine, x)["log_p"].shape == (2, 2, 12)


def test_the_inhibition_s_spread_is_in_micrometres(make_agent: Callable[..., Agent]) -> None:
    assert make_agent(inhibition_um=320.0).policy.spread == 2.5  # cells of 128 um


def test_the_prior_is_put_back_by_bayes_rule(make_agent: Callable[..., Agent]) -> None:
    agent = make_agent(prior=[0.5, 0.25, 0.125, 0.125])
    logits = np.log([[1, 1, 1, 1], [1, 2, 4, 4], [8, 0.001, 0.001, 0.001]]).astype(np.float32)
    odds = np.array([[4, 2, 1, 1], [4, 4, 4, 4], [32, 0.002, 0.001, 0.001]])
    found = np.asarray(agent.probabilities(ops.array(logits)))
    np.testing.assert_allclose(found, odds / odds.sum(1, keepdims=True), rtol=1e-5)
    even = np.asarray(make_agent().probabilities(ops.array(logits[:, None] + 7)))[:, 0]
    np.testing.assert_allclose(even, np.exp(logits) / np.exp(logits).sum(1, keepdims=True), rtol=1e-5)


def test_the_temperature_weakens_the_evidence_and_not_the_prior(make_agent: Callable[..., Agent]) -> None:
    agent = make_agent(prior=[0.5, 0.25, 0.125, 0.125], temperature=2.0)
    logits = ops.array(np.log([[1, 1, 1, 1], [1, 4, 16, 64]]).astype(np.float32))
    odds = np.array([[4, 2, 1, 1], [4, 4, 4, 8]])  # by hand: 1, 2, 4, 8 times the prior
    np.testing.assert_allclose(agent.probabilities(logits), odds / odds.sum(1, keepdims=True), rtol=1e-5)
    odds = np.array([[4, 2, 1, 1], [4, 8, 16, 64]])
    raw = agent.probabilities(logits, calibrated=False)
    np.testing.assert_allclose(raw, odds / odds.sum(1, keepdims=True), rtol=1e-5)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_a_temperature_is_above_zero(make_agent: Callable[..., Agent], temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature must be a number above 0"):
        make_agent(temperature=temperature)


def test_a_model_from_before_temperatures_has_temperature_one(make_agent: Callable[..., Agent]) -> None:
    config = make_agent(temperature=2.0).get_config()
    del config["temperature"]
    assert Agent.from_config(config).settings["temperature"] == 1.0


def test_settings_make_the_same_agent_again(make_agent: Callable[..., Agent]) -> None:
    agent = make_agent(prior=[0.7, 0.1, 0.1, 0.1], temperature=1.5, inhibition_um=200.0, name="reader")
    config = json.loads(json.dumps(agent.get_config()))
    made = Agent.from_config(config)
    assert made.settings == agent.settings
    assert made.name == "reader"


def test_a_saved_agent_is_the_same_agent(
    make_agent: Callable[..., Agent], rollout: dict[str, Any], tmp_path: Path, run: Run
) -> None:
    agent = make_agent(seed=3, prior=[0.7, 0.1, 0.1, 0.1])
    agent.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    assert type(loaded) is Agent
    assert loaded.settings == agent.settings
    assert keras.saving.get_registered_name(Agent) == "foveate>Agent"
    before, after = run(agent, rollout), run(loaded, rollout)
    for name in before:
        np.testing.assert_array_equal(after[name], before[name])


PARTS: dict[str, Callable[[Agent], list[Any]]] = {
    "context": lambda a: [a.context_network],
    "query": lambda a: [a.policy.query],
    "height": lambda a: [a.policy.height],
    "sight": lambda a: [*a.glimpse_network.towers, a.glimpse_network.seen, a.glimpse_network.evidence],
    "core": lambda a: [a.glimpse_network.what_and_where, a.core, a.action_network, a.baseline_network],
}


CHOICES = [["context", "query"], ["sight"], ["context", "query", "height", "core"], [*PARTS], []]


@pytest.mark.parametrize("parts", CHOICES)
def test_only_the_named_parts_learn(make_agent: Callable[..., Agent], parts: list[str]) -> None:
    agent = make_agent()
    every = {v.path for v in agent.trainable_variables}
    agent.learn_only("height", "sight")  # what was set before does not matter
    agent.learn_only(*parts)
    expected = {v.path for part in parts for layer in PARTS[part](agent) for v in layer.weights}
    assert {v.path for v in agent.trainable_variables} == expected
    assert expected == every or len(parts) < len(PARTS)
