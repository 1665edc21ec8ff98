import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from foveate.attention.agent import STRONGEST, WEAKEST, Agent, visit
from foveate.attention.steps import Steps

Run = Callable[..., dict[str, np.ndarray]]


def step_by_step(agent: Agent, x: dict[str, Any]) -> dict[str, np.ndarray]:
    """What `Agent.call` gives, from the steps of a rollout."""
    copies = len(x["choice"]) // len(x["candidates"])
    steps, chance = Steps(agent, "greedy", copies), np.zeros(len(x["choice"]), np.float32)
    scene, memory = steps.begin(x["overview"], x["tissue"], x["candidates"])
    log_p, logits, kept = [], [], []
    for t in range(x["choice"].shape[1]):
        log_p.append(ops.convert_to_numpy(steps.choose(scene, memory, chance)[2]))
        memory, answer, seen = steps.absorb(scene, memory, x["pixels"][:, t], x["where"][:, t], x["choice"][:, t])
        logits.append(ops.convert_to_numpy(answer))
        kept.append(seen)
    seen_t = {name: np.stack([ops.convert_to_numpy(seen[name]) for seen in kept], 1) for name in kept[0]}
    chosen = [np.take_along_axis(p, x["choice"][:, t, None], 1)[:, 0] for t, p in enumerate(log_p)]
    return {"logits": np.stack(logits, 1), "log_p": np.stack(log_p, 1), "log_pi": np.stack(chosen, 1), **seen_t}


def begun(agent: Agent, x: dict[str, Any], copies: int = 1) -> tuple[dict[str, Any], dict[str, Any]]:
    return agent.begin(*(ops.array(x[name]) for name in ("overview", "tissue", "candidates")), copies)


@pytest.fixture(scope="module")
def rollout(make_rollout: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """Four slides with 12, 9, 8 and 3 candidates, five steps; of the last one, places are seen again."""
    x = make_rollout(rows=4, steps=5, grid=(3, 4))
    x["candidates"][1] = [0, 1, 2, 4, 5, 6, 8, 9, 10, -1, -1, -1]
    x["candidates"][2] = [0, 1, 2, 3, 4, 5, 6, 7, -1, -1, -1, -1]
    x["candidates"][3] = [4, 5, 6, *[-1] * 9]
    x["tissue"][1, :, 3] = x["tissue"][2, 2] = x["tissue"][3] = False
    x["tissue"][3, 1, :3] = True
    x["choice"][:] = [[0, 11, 3, 8, 5], [1, 0, 8, 7, 4], [7, 2, 3, 6, 0], [2, 0, 1, 0, 2]]
    return x


def test_the_start_of_a_rollout(agent: Agent, rollout: dict[str, Any]) -> None:
    scene, memory = begun(agent, rollout, copies=2)
    shapes = [{name: tuple(value.shape) for name, value in part.items()} for part in (scene, memory)]
    assert shapes == [
        {"cells": (4, 12, 8), "salience": (4, 12), "places": (4, 12, 2), "open": (4, 12)},
        {"h": (8, 8), "c": (8, 8), "strongest": (8, 3), "inhibition": (8, 12), "allowed": (8, 12)},
    ]
    assert not np.asarray(memory["h"]).any()
    assert not np.asarray(memory["inhibition"]).any()
    assert (np.asarray(memory["strongest"]) == WEAKEST).all()
    np.testing.assert_array_equal(np.asarray(memory["allowed"]), (rollout["candidates"] >= 0).repeat(2, axis=0))
    assert np.asarray(scene["places"])[1, :9].tolist() == [[r, c] for r in range(3) for c in range(3)]


def test_what_is_seen_changes_the_memory(agent: Agent, rollout: dict[str, Any]) -> None:
    scene, before = begun(agent, rollout)
    vector, evidence = agent.glimpse_network(ops.array(rollout["pixels"][:, 0]), ops.array(rollout["where"][:, 0]))
    after = agent.absorb(scene, before, vector, evidence, ops.array(rollout["choice"][:, 0]))
    assert {k: tuple(v.shape) for k, v in after.items()} == {k: tuple(v.shape) for k, v in before.items()}
    for name in ("h", "c", "strongest"):
        assert (np.abs(np.asarray(after[name]) - np.asarray(before[name])).max(1) > 1e-3).all()
    np.testing.assert_array_equal(np.asarray(after["inhibition"]).argmax(1), rollout["choice"][:, 0])
    closed = np.asarray(before["allowed"]) & ~np.asarray(after["allowed"])
    assert [np.flatnonzero(row).tolist() for row in closed] == [[c] for c in rollout["choice"][:, 0].tolist()]


def test_what_a_scout_saw_counts_beside_the_glimpses_there(agent: Agent, rollout: dict[str, Any]) -> None:
    plain, memory = begun(agent, rollout, copies=2)
    scouted = np.zeros((4, 12), np.float32)
    scouted[0, 3], scouted[1, 1] = 2.5, -20
    scene = agent.informed(plain, ops.array(scouted))
    np.testing.assert_array_equal(np.asarray(scene["salience"]), np.asarray(plain["salience"]) + scouted)
    evidence = ops.array(np.tile([-1.0, 0.0, -2.0, -0.5], (8, 1)), "float32")  # 1, -1 and 0.5 against the first class
    choice = ops.array([3, 0, 1, 2, 0, 1, 4, 5])  # of two copies a slide
    after = agent.absorb(scene, memory, ops.zeros((8, 8)), evidence, choice)
    expected = np.tile([1.0, -1.0, 0.5], (8, 1))
    expected[0] += 2.5
    expected[2] = WEAKEST
    np.testing.assert_allclose(np.asarray(after["strongest"]), expected, rtol=1e-6)


def test_inhibition_adds_up(agent: Agent, rollout: dict[str, Any]) -> None:
    scene, start = begun(agent, rollout)
    marked = {**start, "inhibition": ops.ones((4, 12))}
    zeros, evidence, choice = ops.zeros((4, 8)), ops.zeros((4, 4)), ops.array([0, 5, 7, 2])
    one, more = (agent.absorb(scene, m, zeros, evidence, choice)["inhibition"] for m in (start, marked))
    np.testing.assert_allclose(np.asarray(more), np.asarray(one) + 1, rtol=1e-6)


def test_the_strongest_evidence_is_kept(agent: Agent, rollout: dict[str, Any]) -> None:
    scene, memory = begun(agent, {name: rollout[name][:1] for name in ("overview", "tissue", "candidates")})
    evidence = np.array([[-1, -2, -3, -9], [-2, -1, -3, -9], [-3, -3, -0.5, -9], [-20, -1, -22, -1]], np.float32)
    found = []
    for step in evidence:  # against the first class: -1 -2 -8; 1 -1 -7; 0 2.5 -6; 19 -2 19
        memory = agent.absorb(scene, memory, ops.zeros((1, 8)), ops.array(step[None]), ops.array([0]))
        found.append(np.asarray(memory["strongest"])[0].tolist())
    assert found == [[-1, -2, WEAKEST], [1, -1, WEAKEST], [1, 2.5, WEAKEST], [STRONGEST, 2.5, STRONGEST]]


def test_before_training_the_answer_is_the_strongest_evidence(make_agent: Callable[..., Agent]) -> None:
    agent = make_agent()
    agent.action_network.set_weights(
        [agent.action_network.kernel_initializer((11, 4), "float32"), agent.action_network.bias_initializer((4,))]
    )
    memory = {"h": ops.ones((1, 8)), "strongest": ops.array([[1.0, 4, -3]])}
    np.testing.assert_allclose(agent.answer(memory), [[0, 1, 4, -3]])


def test_the_answer_depends_on_the_strongest_evidence(agent: Agent, rollout: dict[str, Any]) -> None:
    _, memory = begun(agent, rollout)
    assert agent.answer(memory).shape == (4, 4)
    stronger = {**memory, "strongest": memory["strongest"] + ops.array([[0.0, 0, 4]])}
    assert np.abs(np.asarray(agent.answer(stronger)) - np.asarray(agent.answer(memory))).min() > 1e-4


def test_a_replay_gives_what_the_rollout_gave(agent: Agent, rollout: dict[str, Any], run: Run) -> None:
    replay, rolled = run(agent, rollout), step_by_step(agent, rollout)
    assert (replay["logits"].shape, replay["log_p"].shape, replay["baseline"].shape) == ((4, 5, 4), (4, 5, 12), (4, 5))
    allowed = rolled["log_p"] > -1e8
    np.testing.assert_array_equal(replay["log_p"] > -1e8, allowed)
    np.testing.assert_allclose(replay["log_p"][allowed], rolled["log_p"][allowed], atol=1e-5)
    np.testing.assert_allclose(replay["log_pi"], rolled["log_pi"], atol=1e-5)
    np.testing.assert_allclose(replay["logits"], rolled["logits"], atol=1e-5)
    seen = {name: rollout[name] for name in ("where", "choice")} | {n: rolled[n] for n in ("seen", "seen_logits")}
    images = {name: rollout[name] for name in ("overview", "tissue", "candidates")}
    for looked_over in (images, {"scene": begun(agent, rollout)[0]}):
        again = run(agent, seen | looked_over)
        for name in ("logits", "log_p", "log_pi", "baseline"):
            np.testing.assert_allclose(again[name], replay[name], atol=1e-5)
    # a rollout that says something: it differs between slides and steps
    assert np.ptp(replay["logits"], axis=0).min() > 1e-4
    assert np.ptp(replay["logits"], axis=1).min() > 1e-5
    assert np.ptp(replay["log_p"][0, :, [1, 2, 4]], axis=1).min() > 1e-3


def test_a_visited_place_cannot_be_chosen_until_all_were(agent: Agent, rollout: dict[str, Any], run: Run) -> None:
    possible = run(agent, rollout)["log_p"] > -1e8
    np.testing.assert_array_equal(possible[:, 0], rollout["candidates"] >= 0)
    for row in range(3):
        for t in range(1, 5):
            expected = rollout["candidates"][row] >= 0
            expected[rollout["choice"][row, :t]] = False
            np.testing.assert_array_equal(possible[row, t], expected)
    # three candidates in the order 2, 0, 1; then anew: 0
    cells = [np.flatnonzero(step).tolist() for step in possible[3]]
    assert cells == [[0, 1, 2], [0, 1], [1], [0, 1, 2], [1, 2]]


def test_visits() -> None:
    open_ = np.array([[True, True, False, True], [True, False, False, True], [False, False, True, False]])
    allowed = np.array([[True, False, False, True], [False, False, False, True], [False, False, True, False]])
    after = visit(ops.array(allowed), ops.array(open_), ops.array([0, 3, 2]))
    np.testing.assert_array_equal(np.asarray(after), [[False, False, False, True], open_[1], open_[2]])
    twice = visit(ops.array(allowed.repeat(2, 0)), ops.array(open_), ops.array([0, 3, 3, 0, 2, 2]))
    expected = [[False] * 3 + [True], [True] + [False] * 3, open_[1], allowed[1], open_[2], open_[2]]
    np.testing.assert_array_equal(np.asarray(twice), expected)


def test_copies_are_rollouts_of_their_own(agent: Agent, rollout: dict[str, Any], run: Run) -> None:
    """Two rollouts of each slide, in one replay and in a replay each."""
    rng = np.random.default_rng(0)
    scenes = {name: rollout[name] for name in ("overview", "tissue", "candidates")}
    rows = {name: rollout[name].repeat(2, axis=0) for name in ("pixels", "where", "choice")}
    rows["pixels"][1::2] = rng.integers(0, 256, rows["pixels"][1::2].shape)
    rows["choice"][1::2] = rollout["choice"][:, ::-1]
    together = run(agent, scenes | rows)
    for k in range(2):
        alone = run(agent, scenes | {name: value[k::2] for name, value in rows.items()})
        for name in alone:
            np.testing.assert_allclose(together[name][k::2], alone[name], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(step_by_step(agent, scenes | rows)["logits"], together["logits"], atol=1e-5)


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
    two = {name: v[:, :2] if name in ("pixels", "where", "choice") else v for name, v in rollout.items()}
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


def test_a_stop_network_changes_nothing_else(
    make_agent: Callable[..., Agent], agent: Agent, rollout: dict[str, Any], run: Run
) -> None:
    other = make_agent(stop=True)
    plain, stopping = run(agent, rollout), run(other, rollout)
    assert set(stopping) == set(plain)
    for name in plain:
        np.testing.assert_array_equal(stopping[name], plain[name])
    stop = ops.convert_to_numpy(other.stop_network(plain["strongest"]))
    assert stop.shape == (4, 5)
    assert np.ptp(stop, axis=0).min() > 1e-4  # it depends on what was seen
    assert np.ptp(stop, axis=1).min() > 1e-5


def test_a_rollout_stops_where_the_replay_says(
    make_agent: Callable[..., Agent], rollout: dict[str, Any], run: Run
) -> None:
    agent = make_agent(stop=True)
    first = run(agent, rollout)["strongest"][:, 0]
    middle = float(np.median(agent.stop_network(first)))
    agent.stop_network.logit.bias.assign_add([-middle])
    expected = ops.convert_to_numpy(agent.stop_network(first)) > 0
    assert expected.sum() == 2
    steps = Steps(agent, "greedy")
    scene, memory = steps.begin(rollout["overview"], rollout["tissue"], rollout["candidates"])
    seen = [rollout[name][:, 0] for name in ("pixels", "where", "choice")]
    memory, *_ = steps.absorb(scene, memory, *seen)
    np.testing.assert_array_equal(ops.convert_to_numpy(steps.enough(memory)), expected)


def test_enough_reads_the_strongest_evidence_alone(make_agent: Callable[..., Agent], rollout: dict[str, Any]) -> None:
    agent = make_agent(stop=True)
    _, memory = begun(agent, rollout)
    before = np.asarray(agent.enough(memory))
    assert before.shape == (4,)
    assert np.abs(np.asarray(agent.enough(memory | {"strongest": memory["strongest"] + 1})) - before).min() > 1e-4
    np.testing.assert_array_equal(np.asarray(agent.enough(memory | {"h": memory["h"] + 1})), before)


def test_without_a_stop_network_it_cannot_be_asked(agent: Agent, rollout: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no stop network"):
        agent.enough(begun(agent, rollout)[1])


def test_a_model_from_before_stop_networks_has_none(make_agent: Callable[..., Agent]) -> None:
    config = make_agent().get_config()
    del config["stop"]
    assert Agent.from_config(config).stop_network is None


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_a_temperature_is_above_zero(make_agent: Callable[..., Agent], temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature must be a number above 0"):
        make_agent(temperature=temperature)


def test_a_model_from_before_temperatures_has_temperature_one(make_agent: Callable[..., Agent]) -> None:
    config = make_agent(temperature=2.0).get_config()
    del config["temperature"]
    assert Agent.from_config(config).settings["temperature"] == 1.0


def test_settings_make_the_same_agent_again(make_agent: Callable[..., Agent]) -> None:
    agent = make_agent(prior=[0.7, 0.1, 0.1, 0.1], temperature=1.5, inhibition_um=200.0, stop=True, name="reader")
    config = json.loads(json.dumps(agent.get_config()))
    made = Agent.from_config(config)
    assert made.settings == agent.settings
    assert made.name == "reader"


def test_a_saved_agent_is_the_same_agent(
    make_agent: Callable[..., Agent], rollout: dict[str, Any], tmp_path: Path, run: Run
) -> None:
    agent = make_agent(seed=3, prior=[0.7, 0.1, 0.1, 0.1], stop=True)
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
    "sight": lambda a: [*a.glimpse_network.towers.towers, a.glimpse_network.seen, a.glimpse_network.evidence],
    "core": lambda a: [a.glimpse_network.what_and_where, a.core, a.action_network, a.baseline_network],
    "stop": lambda a: [a.stop_network] if a.stop_network else [],
}


CHOICES = [["context", "query"], ["sight"], ["context", "query", "height", "core"], ["stop"], [*PARTS], []]


@pytest.mark.parametrize("stop", [False, True])
@pytest.mark.parametrize("parts", CHOICES)
def test_only_the_named_parts_learn(make_agent: Callable[..., Agent], parts: list[str], stop: bool) -> None:
    agent = make_agent(stop=stop)
    every = {v.path for v in agent.trainable_variables}
    agent.learn_only("height", "sight")  # what was set before does not matter
    agent.learn_only(*parts)
    expected = {v.path for part in parts for layer in PARTS[part](agent) for v in layer.weights}
    assert {v.path for v in agent.trainable_variables} == expected
    assert expected == every or len(parts) < len(PARTS)
