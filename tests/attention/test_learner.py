import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from foveate.attention import losses
from foveate.attention.agent import Agent
from foveate.attention.learner import (
    MAX_LESIONS,
    PARTS,
    GlimpseLearner,
    GuideLearner,
    Learner,
    LossWeights,
    StopLearner,
    hybrid_loss,
    unvisited_lesion,
)
from foveate.attention.steps import Steps

WEIGHTS = LossWeights(reinforce=0.1, baseline=0.5, guidance=0.3, entropy=0.02, discount=0.9)
EAGER = keras.backend.backend() == "tensorflow"  # which runs in a moment what JAX has to compile bit by bit
Run = Callable[..., dict[str, np.ndarray]]
Gradients = Callable[..., dict[str, np.ndarray]]
NETWORKS = ("context_network", "policy", "glimpse_network", "core", "action_network", "baseline_network")
LEARNED = ("cross_entropy", "reinforce", "guidance", "entropy", "baseline_error")
CHOOSING, SEEING = {"context_network", "policy"}, {"glimpse_network", "core", "action_network"}


@pytest.fixture
def x(make_rollout: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """Four slides, three steps, a lesion of two cells on two of them."""
    made = make_rollout(rows=4, steps=3)
    made["lesion"][0, 5:7] = made["lesion"][2, :2] = 1
    return made


def part(agent: Agent, x: dict[str, Any], weights: dict[str, Any]) -> Any:
    """The weighted sum of the parts of the loss of the replay."""
    rows, _ = hybrid_loss(x, agent(x), WEIGHTS, WEIGHTS.entropy)
    return sum(ops.mean(rows[name]) * weight for name, weight in weights.items())


def only(name: str) -> dict[str, np.ndarray]:
    """Weights of the parts with one of them alone."""
    return {each: np.float32(each == name) for each in LEARNED}


def reached(agent: Agent, found: dict[str, np.ndarray]) -> set[str]:
    """The networks that a gradient flows into."""
    return {n for n in NETWORKS if any(np.abs(found[v.path]).max() > 1e-9 for v in getattr(agent, n).weights)}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cross_entropy", SEEING),
        ("reinforce", CHOOSING),
        ("guidance", CHOOSING),
        ("entropy", CHOOSING),
        ("baseline_error", {"baseline_network"}),
    ],
)
def test_each_part_of_the_loss_teaches_its_own_networks(
    agent: Agent, x: dict[str, Any], weight_gradients_of: Gradients, name: str, expected: set[str]
) -> None:
    found = weight_gradients_of(part, agent, x, only(name))
    assert reached(agent, found) == expected


def test_reinforce_reaches_every_variable_of_the_policy(
    agent: Agent, x: dict[str, Any], weight_gradients_of: Gradients
) -> None:
    found = weight_gradients_of(part, agent, x, only("reinforce"))
    for variable in agent.policy.weights:
        assert np.abs(found[variable.path]).max() > 1e-7, variable.path


def test_reinforce_is_the_gradient_of_log_pi_times_the_advantage(
    agent: Agent, x: dict[str, Any], weight_gradients_of: Gradients, run: Run
) -> None:
    whole = weight_gradients_of(part, agent, x, only("reinforce"))
    replay = run(agent, x)
    log_p = replay["logits"] - np.logaddexp.reduce(replay["logits"], axis=-1, keepdims=True)
    right = log_p[np.arange(4), :, x["label"]]
    reward = np.diff(right, prepend=-math.log(4))
    returns = reward.copy()
    for t in (1, 0):
        returns[:, t] += 0.9 * returns[:, t + 1]
    advantage = returns - replay["baseline"]
    advantage = (advantage - advantage.mean()) / advantage.std()
    by_hand = weight_gradients_of(lambda agent: -ops.mean(agent(x)["log_pi"] * ops.array(advantage, "float32")), agent)
    for path in by_hand:
        np.testing.assert_allclose(whole[path], by_hand[path], atol=1e-5)


def test_the_total_is_the_weighted_sum_of_the_parts(agent: Agent, x: dict[str, Any], run: Run) -> None:
    rows, total = hybrid_loss(x, run(agent, x), WEIGHTS, WEIGHTS.entropy)
    assert set(rows) == set(PARTS)
    assert all(value.shape == (4,) for value in rows.values())
    r = {name: np.asarray(value) for name, value in rows.items()}
    expected = r["cross_entropy"] + 0.1 * r["reinforce"] + 0.5 * r["baseline_error"] + 0.3 * r["guidance"]
    np.testing.assert_allclose(np.asarray(total), expected - 0.02 * r["entropy"], rtol=1e-5)
    assert (r["guidance"] > 0).tolist() == [True, False, True, False]
    assert (r["entropy"] > 0).all()


def test_accuracy_and_reward(x: dict[str, Any]) -> None:
    logits = np.zeros((4, 3, 4), np.float32)
    logits[np.arange(4), 1, x["label"]] = 50  # right in the middle, and at the end for half of them
    logits[[0, 1], 2, x["label"][:2]] = 50
    logits[[2, 3], 2, 0] = 50
    replay = {"logits": logits, "log_p": np.full((4, 3, 12), -math.log(12), np.float32)}
    replay |= {"log_pi": replay["log_p"][..., 0], "baseline": np.zeros((4, 3), np.float32)}
    rows, _ = hybrid_loss(x, {k: ops.array(v) for k, v in replay.items()}, WEIGHTS, WEIGHTS.entropy)
    np.testing.assert_array_equal(np.asarray(rows["accuracy"]), [1, 1, 0, 0])
    np.testing.assert_allclose(np.asarray(rows["reward"]), [math.log(4)] * 2 + [math.log(4) - 50] * 2, rtol=1e-5)
    np.testing.assert_allclose(np.asarray(rows["entropy"]), math.log(12), rtol=1e-5)


def test_a_visited_lesion_cell_is_no_goal_any_more() -> None:
    lesion = np.zeros((2, 6), np.int32)
    lesion[0, 1] = lesion[0, 5] = lesion[1, 3] = 2
    goals = np.asarray(unvisited_lesion(ops.array(lesion), ops.array([[5, 0, 1], [0, 1, 2]])))
    cells = [[np.flatnonzero(step).tolist() for step in row] for row in goals]
    assert cells == [[[1, 5], [1], [1]], [[3], [3], [3]]]


def compiled(agent: Agent) -> Learner:
    learner = Learner(agent, WEIGHTS)
    learner.compile(keras.optimizers.SGD(1.0), run_eagerly=EAGER)
    return learner


def test_rows_without_weight_do_not_count(make_agent: Callable[..., Agent], x: dict[str, Any]) -> None:
    def learn(x: dict[str, Any]) -> tuple[dict[str, float], list[np.ndarray]]:
        agent = make_agent()
        figures = compiled(agent).train_on_batch(x, return_dict=True)
        return figures, [ops.convert_to_numpy(v) for v in agent.trainable_variables]

    first_three = {name: value[:3] for name, value in x.items()}
    spoiled = {name: value.copy() for name, value in x.items()}
    spoiled["weight"][3] = 0
    spoiled["pixels"][3] = 0  # as where a glimpse could not be read
    spoiled["label"][3] = 1
    spoiled["lesion"][3] = 1
    expected, found = learn(first_three), learn(spoiled)
    assert found[0] == pytest.approx(expected[0], rel=1e-4, abs=1e-5)
    for a, b in zip(expected[1], found[1], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_a_batch_without_any_weight_changes_nothing(make_agent: Callable[..., Agent], x: dict[str, Any]) -> None:
    agent = make_agent()
    before = [ops.convert_to_numpy(v) for v in agent.variables]
    figures = compiled(agent).train_on_batch({**x, "weight": np.zeros(4, np.float32)}, return_dict=True)
    assert figures["loss"] == 0
    for variable, value in zip(agent.variables, before, strict=True):
        np.testing.assert_array_equal(np.asarray(variable), value)


def test_the_figures_of_an_update_are_those_of_its_batch(
    make_agent: Callable[..., Agent], x: dict[str, Any], run: Run
) -> None:
    agent = make_agent()
    learner = compiled(agent)
    for _ in range(2):  # the second is no mean over both
        rows, total = hybrid_loss(x, run(agent, x), WEIGHTS, WEIGHTS.entropy)
        figures = learner.train_on_batch(x, return_dict=True)
        assert set(figures) == {"loss", *PARTS}
        assert figures["loss"] == pytest.approx(float(ops.mean(total)), rel=1e-4)
        for name in PARTS:
            assert figures[name] == pytest.approx(float(ops.mean(rows[name])), rel=1e-4, abs=1e-6)


def test_copies_of_a_slide_share_its_label_its_weight_and_its_lesion(
    make_agent: Callable[..., Agent], x: dict[str, Any]
) -> None:
    """Three rollouts of each of four slides, against twelve slides."""
    rng = np.random.default_rng(0)
    per_slide = ("overview", "tissue", "candidates", "label", "weight", "lesion")
    x["weight"][1] = 0
    rows = {name: value.repeat(3, axis=0) for name, value in x.items()}
    rows["choice"] = rng.random((12, 12)).argsort(1)[:, :3].astype(np.int32)
    rows["pixels"] = rng.integers(0, 256, rows["pixels"].shape).astype(np.uint8)
    figures, weights = [], []
    for given in (rows, rows | {name: x[name] for name in per_slide}):
        agent = make_agent()
        figures.append(compiled(agent).train_on_batch(given, return_dict=True))
        weights.append([ops.convert_to_numpy(v) for v in agent.trainable_variables])
    assert figures[1] == pytest.approx(figures[0], rel=1e-4, abs=1e-5)
    for a, b in zip(*weights, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_the_weight_of_the_entropy_falls(make_agent: Callable[..., Agent], x: dict[str, Any]) -> None:
    learner = Learner(make_agent(), WEIGHTS)
    losses = []
    for done in (0.0, 0.5, 1.0):
        learner.anneal(done)
        assert float(learner.entropy) == pytest.approx(0.02 * (1 - done))
        losses.append(float(learner.compute_loss(x=x, y_pred=learner(x))))
    rows, _ = hybrid_loss(x, learner(x), WEIGHTS, 0.0)
    np.testing.assert_allclose(np.diff(losses), 0.01 * float(ops.mean(rows["entropy"])), rtol=1e-3)


def uniform_policy(make_agent: Callable[..., Agent]) -> Agent:
    """An agent that likes every tissue cell alike."""
    agent = make_agent()
    for layer in (agent.policy.query, agent.context_network.salience):
        layer.set_weights([np.zeros(w.shape) for w in layer.weights])
    return agent


def guide_loss(learner: GuideLearner, x: dict[str, Any]) -> float:
    given = {name: ops.array(x[name]) for name in ("overview", "tissue", "candidates", "lesion")}
    return float(learner.compute_loss(x=given, y_pred=learner(given)))


def test_the_guide_s_loss_on_a_uniform_policy(
    make_agent: Callable[..., Agent], make_rollout: Callable[..., dict[str, Any]]
) -> None:
    learner, x = GuideLearner(uniform_policy(make_agent)), make_rollout(rows=3)
    x["candidates"][1, 8:] = -1  # 12, 8 and 12 candidates
    x["lesion"][0, 4:8] = 1
    x["lesion"][1, 0] = 1
    x["lesion"][1, 4:6] = 3  # a lesion may be hidden behind others
    rows = [-math.log(4 / 32), (-math.log(1 / 32) - math.log(2 / 32)) / 2]  # all compete; the third has no lesion
    assert guide_loss(learner, x) == pytest.approx(sum(rows) / 2, rel=1e-5)


def test_lesions_beyond_the_last_that_fits_do_not_count(
    make_agent: Callable[..., Agent], make_rollout: Callable[..., dict[str, Any]]
) -> None:
    learner, x = GuideLearner(uniform_policy(make_agent)), make_rollout(rows=1)
    x["lesion"][0, :10] = np.arange(1, 11)
    assert MAX_LESIONS == 8
    assert guide_loss(learner, x) == pytest.approx(math.log(12), rel=1e-5)


def test_the_guide_teaches_where_to_look(
    make_agent: Callable[..., Agent], make_rollout: Callable[..., dict[str, Any]]
) -> None:
    agent, x = make_agent(), make_rollout(rows=2)
    x["lesion"][0, 6] = x["lesion"][1, 0] = 1
    agent.learn_only("context", "query")
    learner = GuideLearner(agent)
    learner.compile(keras.optimizers.Adam(1e-2), run_eagerly=EAGER)
    others = [ops.convert_to_numpy(v) for v in (*agent.glimpse_network.variables, *agent.core.variables)]
    given = {name: x[name] for name in ("overview", "tissue", "candidates", "lesion")}
    before = guide_loss(learner, x)
    for _ in range(15):
        learner.train_on_batch(given)
    assert guide_loss(learner, x) < before / 2
    for variable, value in zip((*agent.glimpse_network.variables, *agent.core.variables), others, strict=True):
        np.testing.assert_array_equal(np.asarray(variable), value)


def test_sight_learns_from_glimpses_alone(agent: Agent, x: dict[str, Any]) -> None:
    pixels = ops.array(x["pixels"][:, 0])
    logits = GlimpseLearner(agent)(pixels)
    assert logits.shape == (4, 4)
    _, evidence = agent.glimpse_network(pixels, ops.zeros((4, 2)))
    np.testing.assert_allclose(np.asarray(ops.log_softmax(logits)), np.asarray(evidence), atol=1e-5)


def hidden_answers(rng: np.random.Generator, rows: int = 64) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Slides of 4 x 4 cells of which one is dark: overview, the dark cell, and the class that a glimpse there shows."""
    dark, label = rng.integers(0, 16, rows), rng.integers(0, 2, rows)
    cells = rng.integers(180, 230, (rows, 16, 3))
    cells[np.arange(rows), dark] = rng.integers(40, 90, (rows, 3))
    return cells.reshape(rows, 4, 4, 3).repeat(4, 1).repeat(4, 2).astype(np.uint8), dark, label


def glimpses(cell: np.ndarray, dark: np.ndarray, label: np.ndarray) -> np.ndarray:
    """(B, 1, 1, 16, 16, 3): red or blue in the dark cell, white elsewhere."""
    colours = np.array([[200, 0, 0], [0, 0, 200], [255, 255, 255]], np.uint8)
    shown = colours[np.where(cell == dark, label, 2)]
    return np.broadcast_to(shown[:, None, None, None, None], (len(cell), 1, 1, 16, 16, 3))


def test_reinforce_alone_finds_where_the_answer_is(make_agent: Callable[..., Agent]) -> None:
    agent = make_agent(scales_mpp=[4.0], classes=["red", "blue"], context=16)
    agent.policy.height.trainable = False  # a single fixation leaves nothing to inhibit
    learner = Learner(agent, LossWeights(reinforce=1.0, baseline=0.5, guidance=0.0, entropy=0.03, discount=1.0))
    learner.compile(keras.optimizers.Adam(5e-3))
    steps, rng, tissue = Steps(agent, "sampled"), np.random.default_rng(0), np.ones((64, 4, 4), bool)
    candidates = np.tile(np.arange(16, dtype=np.int32), (64, 1))

    def policy(overview: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = steps.choose(*steps.begin(overview, tissue, candidates), rng.random(64).astype(np.float32))
        return ops.convert_to_numpy(found[0]), ops.convert_to_numpy(found[2])

    for _ in range(80):
        overview, dark, label = hidden_answers(rng)
        choice, _ = policy(overview)
        x = {"overview": overview, "tissue": tissue, "candidates": candidates, "pixels": glimpses(choice, dark, label)}
        x |= {"where": np.zeros((64, 1, 2), np.float32), "choice": choice[:, None]}
        x |= {"label": label.astype(np.int32), "weight": np.ones(64, np.float32), "lesion": np.zeros((64, 16))}
        learner.train_on_batch(x)
    fresh, dark, _ = hidden_answers(rng)
    _, log_p = policy(fresh)
    assert (log_p.argmax(1) == dark).mean() > 0.9
    assert np.exp(log_p[np.arange(64), dark]).mean() > 0.9


def test_only_the_stop_network_learns_from_stopping(make_agent: Callable[..., Agent], x: dict[str, Any]) -> None:
    agent, rng = make_agent(stop=True), np.random.default_rng(0)
    learner = StopLearner(agent, 0.25)
    learner.compile(keras.optimizers.SGD(1.0), run_eagerly=EAGER)
    replay = agent({name: ops.array(value) for name, value in x.items()})
    given = {
        "strongest": ops.convert_to_numpy(replay["strongest"]),
        "label": x["label"].repeat(len(x["choice"]) // len(x["label"])),
    }
    given["logits"] = rng.normal(size=replay["logits"].shape).astype(np.float32)
    logits = agent.stop_network(replay["strongest"])
    p_stop = losses.stop_distribution(logits)
    cost = losses.stopping(logits, ops.array(given["logits"]), given["label"], 0.25)
    before = {v.path: ops.convert_to_numpy(v) for v in agent.weights}
    figures = learner.train_on_batch(given, return_dict=True)
    assert set(figures) == {"loss", "mean_glimpses"}
    assert figures["loss"] == pytest.approx(float(ops.mean(cost)), rel=1e-5)
    assert figures["mean_glimpses"] == pytest.approx((ops.convert_to_numpy(p_stop) @ [1, 2, 3]).mean(), rel=1e-5)
    changed = {v.path for v in agent.weights if not np.array_equal(ops.convert_to_numpy(v), before[v.path])}
    assert changed == {v.path for v in agent.stop_network.weights}
    assert {v.path for v in learner.trainable_variables} == {v.path for v in agent.stop_network.weights}


def test_without_a_stop_network_nothing_learns_to_stop(make_agent: Callable[..., Agent]) -> None:
    with pytest.raises(ValueError, match="no stop network"):
        StopLearner(make_agent(), 0.1)


# of rollouts whose evidence says whether the answer is ever right: with the price 0.1 the first kind stops after its
# second fixation, which tells, and the other one at once
def test_it_stops_where_another_glimpse_is_not_worth_its_price(make_agent: Callable[..., Agent]) -> None:
    agent, rng = make_agent(stop=True), np.random.default_rng(0)
    tells = np.arange(64) % 2
    strongest = np.zeros((64, 4, 3), np.float32)
    strongest[..., 0], strongest[..., 1] = tells[:, None], np.arange(4) > 0
    logits = np.zeros((64, 4, 4), np.float32)
    logits[tells == 1, 1:, 2] = 5.0
    agent.stop_network.inner.kernel.assign(rng.normal(size=agent.stop_network.inner.kernel.shape))
    learner = StopLearner(agent, 0.1)
    learner.compile(keras.optimizers.Adam(0.05), run_eagerly=EAGER)
    for _ in range(80):
        learner.train_on_batch({"strongest": strongest, "logits": logits, "label": np.full(64, 2)})
    stops = ops.convert_to_numpy(agent.stop_network.mode(agent.stop_network(strongest)))
    assert stops[tells == 0, 0].all()
    assert not stops[tells == 1, 0].any()
    assert stops[tells == 1, 1].all()
