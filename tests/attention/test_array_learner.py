import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from foveate.attention import losses
from foveate.attention.array_agent import ArrayAgent
from foveate.attention.array_learner import PARTS, ArrayLearner, HybridLoss, Rollouts, compiles
from foveate.errors import FoveateError

Make = Callable[..., ArrayAgent]
Run = Callable[..., dict[str, np.ndarray]]
Gradients = Callable[..., dict[str, np.ndarray]]
Groups = Callable[..., dict[str, Any]]
LABEL = np.array([0, 1])
PLAINLY = HybridLoss(normalise=False)


def made_up(p_t: Any, looked: Any = None, choices: int = 2) -> dict[str, Any]:
    """A rollout by the probability (2, 3) of the label 0 in the first row, and of the label 1 in the second."""
    p = np.array(p_t)
    p[1] = 1 - p[1]
    looked_t = np.ones((2, 3)) if looked is None else np.array(looked, float)
    rollout = {
        "logits": np.log(np.stack([p, 1 - p], -1)) + 3,  # a constant changes no probability
        "log_pi": np.array([[-4.0, -1, -2], [-2, -3, -0.5]])[:, -choices:],
        "baseline": np.array([[0.75, 0.5, 0.25], [0.125, 0.5, 0.25]])[:, -choices:],
        "entropy": np.array([[5.0, 1, 2], [1, 3, 4]])[:, -choices:],
        "looked": looked_t,
    }
    return {name: ops.convert_to_tensor(value.astype("float32")) for name, value in rollout.items()}


def parts(
    loss: HybridLoss, rollout: dict[str, Any], copies: int = 1, label: np.ndarray = LABEL
) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in loss.rows(label, rollout, copies).items()}


def close(found: np.ndarray, expected: Any) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


BETTER_AND_WORSE = [[1 / 2, 1 / 4, 3 / 4], [3 / 4, 3 / 4, 1 / 4]]


def test_a_terminal_reward_in_two_steps() -> None:
    # right and wrong: the last choice brings 1 and 0, the one before it a half of that
    returns = np.array([[0.5, 1], [0, 0]])
    advantage = returns - [[0.5, 0.25], [0.5, 0.25]]
    loss = dataclasses.replace(PLAINLY, discount=0.5, reinforce=0.5, baseline=2.0, entropy=0.1)
    found = parts(loss, made_up(BETTER_AND_WORSE))
    close(
        found["reinforce"], [-(-1 * advantage[0, 0] - 2 * advantage[0, 1]), 3 * advantage[1, 0] + 0.5 * advantage[1, 1]]
    )
    close(found["reinforce"], [1.5, -1.625])
    close(found["baseline_error"], (advantage**2).mean(1))
    close(found["classification"], -np.log([3 / 4, 1 / 4]))
    close(found["entropy"], [1.5, 3.5])
    close(found["accuracy"], [1, 0])
    close(found["glimpses"], [3, 3])
    close(
        found["total"],
        -np.log([3 / 4, 1 / 4]) + 0.5 * np.array([1.5, -1.625]) + 2 * (advantage**2).mean(1) - [0.15, 0.35],
    )
    assert set(found) == {*PARTS, "total"}


def test_advantages_are_normalised_over_the_batch() -> None:
    advantage = np.array([[1 - 0.5, 1 - 0.25], [-0.5, -0.25]])
    normal = (advantage - advantage.mean()) / advantage.std()
    found = parts(HybridLoss(), made_up(BETTER_AND_WORSE))
    close(found["reinforce"], -([[-1, -2], [-3, -0.5]] * normal).sum(1))
    close(found["baseline_error"], (advantage**2).mean(1))  # which are in rewards


def test_a_dense_reward() -> None:
    # of three choices: log 2p of the first answer, then the changes
    rewards = np.log([[1, 1 / 2, 3], [3 / 2, 1, 1 / 3]])
    last = rewards[:, 2]
    returns = np.stack([rewards[:, 0] + (rewards[:, 1] + last / 2) / 2, rewards[:, 1] + last / 2, last], 1)
    advantage = returns - [[0.75, 0.5, 0.25], [0.125, 0.5, 0.25]]
    loss = dataclasses.replace(PLAINLY, reward="dense", discount=0.5)
    found = parts(loss, made_up(BETTER_AND_WORSE, choices=3))
    close(found["reinforce"], -([[-4, -1, -2], [-2, -3, -0.5]] * advantage).sum(1))
    close(found["baseline_error"], (advantage**2).mean(1))
    found = parts(loss, made_up(BETTER_AND_WORSE))  # the first glimpse was nobody's choice
    close(found["reinforce"], -([[-1, -2], [-3, -0.5]] * advantage[:, 1:]).sum(1))


def test_a_terminal_reward_with_a_choice_before_the_first_glimpse() -> None:
    loss = dataclasses.replace(PLAINLY, discount=0.5)
    found = parts(loss, made_up(BETTER_AND_WORSE, choices=3))
    advantage = np.array([[0.25, 0.5, 1], [0, 0, 0]]) - [[0.75, 0.5, 0.25], [0.125, 0.5, 0.25]]
    close(found["reinforce"], -([[-4, -1, -2], [-2, -3, -0.5]] * advantage).sum(1))


def test_every_rollout_is_learned_from_to_its_end_and_judged_by_where_it_stopped() -> None:
    # the first row stops at once, and is right; the second one goes on, and becomes right
    p_t = [[3 / 4, 1 / 4, 1 / 4], [1 / 4, 1 / 4, 3 / 4]]
    stopped, whole = (parts(PLAINLY, made_up(p_t, looked)) for looked in ([[1, 0, 0], [1, 1, 1]], None))
    close(stopped["accuracy"], [1, 1])
    close(stopped["glimpses"], [1, 3])
    close(whole["accuracy"], [0, 1])
    for name in ("classification", "reinforce", "baseline_error", "total"):
        close(stopped[name], whole[name])


def test_a_stop_network_learns_the_price_against_the_answers() -> None:
    rollout = made_up(BETTER_AND_WORSE)
    before = parts(PLAINLY, rollout)
    rollout["stop"] = ops.convert_to_tensor(np.array([[0, 0, 9], [np.log(3), 100, 0]], "float32"))
    found = parts(dataclasses.replace(PLAINLY, price=0.125), rollout)  # stops after 1, 2, 3 with 1/2, 1/4, 1/4
    first = 0.5 * np.log(1 / 2) + 0.25 * np.log(1 / 4) + 0.25 * np.log(3 / 4) - 0.125 * 1.75
    second = np.log(3 / 4) - 0.125 * 1.25  # with 3/4, 1/4, 0
    close(found["stop"], np.array([-first, -second]) + losses.SURE * np.array([27, (np.log(3) ** 2 + 1e4) / 3]))
    close(found["total"], before["total"] + found["stop"])


def test_a_copy_is_compared_with_the_others_of_its_row() -> None:
    rollout = made_up(BETTER_AND_WORSE)
    rollout["logits"] = rollout["logits"][:1] * np.array([[[1]], [[-1]]], "float32")  # the second copy is wrong
    loss = dataclasses.replace(PLAINLY, compare="copies")
    found = parts(loss, rollout, copies=2, label=np.array([0, 0]))
    close(found["accuracy"], [1, 0])
    close(found["reinforce"], [-(-1 - 2), -(3 + 0.5)])
    close(found["baseline_error"], [(0.5**2 + 0.75**2) / 2, (0.5**2 + 0.25**2) / 2])


@pytest.mark.parametrize(
    ("kind", "every_step", "expected"),
    [
        ("cross_entropy", False, -np.log([3 / 4, 1 / 4])),
        ("cross_entropy", True, -np.log([3 / 32, 9 / 64]) / 3),
        ("squared_error", False, [2 / 16, 18 / 16]),
        ("squared_error", True, [(8 + 18 + 2) / 16 / 3, (2 + 2 + 18) / 16 / 3]),
    ],
)
def test_classification(kind: str, every_step: bool, expected: Any) -> None:
    loss = HybridLoss(classification=kind, every_step=every_step, reinforce=0.0, baseline=0.0)
    found = parts(loss, made_up(BETTER_AND_WORSE))
    close(found["classification"], expected)
    close(found["total"], expected)


def test_the_loss_is_the_mean_over_rows_and_copies(make_array_agent: Make) -> None:
    loss = dataclasses.replace(PLAINLY, entropy=0.5)
    learner = ArrayLearner(make_array_agent(), loss, copies=2)
    twice = {name: ops.repeat(value, 2, axis=0) for name, value in made_up(BETTER_AND_WORSE).items()}
    found = learner.compute_loss(y=LABEL, y_pred=twice)  # the labels of copies that lie side by side
    expected = parts(loss, made_up(BETTER_AND_WORSE))
    close(np.asarray(found), expected["total"].mean())
    for name in PARTS:
        close(np.asarray(learner.parts[name].result()), expected[name].mean())


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("classification", "cross_entropy, squared_error"),
        ("reward", "terminal, dense"),
        ("compare", "baseline, copies"),
    ],
)
def test_a_choice_that_is_not_known_is_named(name: str, known: str) -> None:
    with pytest.raises(FoveateError, match=f"^{name}: 'other'; expected one of {known}$"):
        HybridLoss(**{name: "other"})


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("discount", 1.5, "at least 0 and at most 1"),
        ("discount", float("nan"), "at least 0 and at most 1"),
        ("price", -0.1, "a number, at least 0"),
        ("reinforce", float("inf"), "a number, at least 0"),
    ],
)
def test_a_number_that_makes_no_loss_is_named(name: str, value: float, text: str) -> None:
    with pytest.raises(FoveateError, match=f"^{name}: {value}; expected .*{text}$"):
        HybridLoss(**{name: value})


def test_a_single_copy_has_no_others_to_be_compared_with(make_array_agent: Make) -> None:
    with pytest.raises(FoveateError, match=r"^compare: copies, with 1 of each row; expected at least 2$"):
        ArrayLearner(make_array_agent(), HybridLoss(compare="copies"))


def part(agent: ArrayAgent, x: dict[str, Any], label: np.ndarray, weights: dict[str, Any]) -> Any:
    """The weighted sum of the parts of the loss of a rollout."""
    rows = PLAINLY.rows(label, agent(x))
    return sum(ops.mean(rows[name]) * weight for name, weight in weights.items() if name in rows)


LEARNED = ("classification", "reinforce", "baseline_error", "entropy", "stop")
SEEING = {"glimpse_network", "core", "note_network", "group_network", "action_network"}
CHOOSING, PATH = {"location_network", "picker"}, {"path_core", "context_network"}
REACHED = {
    (False, "classification"): SEEING,
    (False, "reinforce"): CHOOSING,
    (False, "baseline_error"): {"baseline_network"},
    (False, "entropy"): {"picker"},  # that of the place has one spread
    (True, "classification"): SEEING,
    (True, "reinforce"): CHOOSING | PATH,
    (True, "baseline_error"): {"baseline_network"},
    (True, "entropy"): CHOOSING | PATH,
    (True, "stop"): {"stop_network"},
}


@pytest.fixture(scope="module")
def agents(make_array_agent: Make) -> dict[bool, ArrayAgent]:
    """Of groups of three: without and with path, context and stop."""
    return {everything: make_array_agent(group=3, full=everything) for everything in (False, True)}


@pytest.mark.parametrize(("everything", "name"), REACHED)
def test_each_part_of_the_loss_teaches_its_own_networks(
    agents: dict[bool, ArrayAgent],
    make_groups: Groups,
    everything: bool,
    name: str,
    weight_gradients_of: Gradients,
) -> None:
    agent, x = agents[everything], make_groups(6, 3)
    only = {each: np.float32(each == name) for each in LEARNED}
    found = weight_gradients_of(part, agent, x, np.arange(6) % 3, only)
    networks = {each: getattr(agent, each) for each in SEEING | CHOOSING | PATH | {"stop_network", "baseline_network"}}
    kernels = {n: [v for v in net.weights if len(v.shape) > 1] for n, net in networks.items() if net is not None}
    assert {n for n, net in networks.items() if net and any(found[v.path].any() for v in net.weights)} == REACHED[
        everything, name
    ]
    for network in REACHED[everything, name]:
        assert min(np.abs(found[v.path]).max() for v in kernels[network]) > 1e-7, network


# what is chosen in three glimpses of a group of two images of two cells
PATHS = list(itertools.product(itertools.product([0, 1], repeat=3), itertools.product([0, 1], repeat=2)))
SAMPLES = 32768
LOSSES = [
    PLAINLY,
    dataclasses.replace(PLAINLY, compare="copies"),
    dataclasses.replace(PLAINLY, reward="dense"),
]


def probabilities(agent: ArrayAgent, x: dict[str, Any], worth: Any) -> Any:
    """Of every path, times what it is worth."""
    return ops.exp(ops.sum(agent(x, copies=len(PATHS))["log_pi"], axis=1)) * worth


def sampled(agent: ArrayAgent, x: dict[str, Any], weights: Any) -> Any:
    """REINFORCE of many rollouts, by one of the losses."""
    out, label = agent(x, copies=SAMPLES), np.zeros(SAMPLES, "int32")
    return sum(
        ops.mean(loss.rows(label, out, SAMPLES)["reinforce"]) * w for loss, w in zip(LOSSES, weights, strict=True)
    )


def test_reinforce_is_the_gradient_of_the_expected_reward(
    make_array_agent: Make, run: Run, weight_gradients_of: Gradients
) -> None:
    location = {"name": "cells", "rows": 1, "columns": 2, "hidden": 4}
    agent, forced = (make_array_agent(group=2, classes=2, location=location) for _ in range(2))
    picks, cells = (np.array(each) for each in zip(*PATHS, strict=True))
    follow(forced, picks, cells)
    images = np.zeros((1, 2, 12, 16, 1), "uint8")
    images[0, 0, :, 8:] = 255
    images[0, 1, :, :8], images[0, 1, :6, 8:] = 255, 200
    x = {"images": images}
    for made in (agent, forced):  # answers that depend on what was seen, half of them right
        for layer in (made.glimpse_network, made.core):
            layer.set_weights([6 * w for w in layer.get_weights()])
        kernel, _ = made.baseline_network.get_weights()
        made.baseline_network.set_weights([0.1 * kernel, np.array([0.5])])
    middle = np.median(run(forced, x, copies=len(PATHS))["logits"], (0, 1))
    for made in (agent, forced):
        kernel, bias = made.action_network.get_weights()
        made.action_network.set_weights([20 * kernel, 20 * (bias - middle)])

    out = run(forced, x, copies=len(PATHS))
    share = 1 / 2  # the first image is picked by chance
    np.testing.assert_allclose((np.exp(out["log_pi"].sum(1)) * share).sum(), 1, rtol=1e-5)
    log_p = out["logits"][..., 0] - np.logaddexp.reduce(out["logits"], axis=-1)
    worth = {"terminal": log_p[:, -1] > np.log(1 / 2), "dense": log_p[:, -1] - log_p[:, 0]}
    for loss, weights in zip(LOSSES, np.eye(3, dtype="float32"), strict=True):
        exact = weight_gradients_of(probabilities, forced, x, (worth[loss.reward] * share).astype("float32"))
        found = weight_gradients_of(sampled, agent, x, weights)
        whole = np.linalg.norm([np.linalg.norm(gradient) for gradient in exact.values()])
        for name in ("location_network", "picker"):
            expected, estimate = (
                np.concatenate([g.ravel() for path, g in each.items() if f"/{name}/" in path])
                for each in (exact, found)
            )
            error = np.linalg.norm(estimate + expected)  # what is won is a negative loss
            assert error < 0.1 * whole, (loss, name)
            assert error < 0.4 * np.linalg.norm(expected), (loss, name)


def follow(agent: ArrayAgent, picks: np.ndarray, cells: np.ndarray) -> None:
    """Let an agent choose (R, T) images and (R, T - 1) cells."""
    picked = ops.convert_to_tensor(1e4 * np.eye(2)[picks.T.ravel()], "float32")
    agent.picker.noise = lambda rows, group, seed: picked
    chosen = np.concatenate([np.zeros(len(cells), int), cells.T.ravel()])  # the first place is nobody's choice
    placed = ops.convert_to_tensor(1e4 * np.eye(2)[chosen], "float32")
    agent.location_network.noise = lambda rows, seed: placed


Batch = tuple[dict[str, Any], np.ndarray]
EASY: dict[str, Any] = {
    "classes": 2, "steps": 2, "px": 4, "note": 16,
    "glimpse": {"name": "dense", "hidden": 16, "features": 16}, "core": {"name": "relu", "units": 16},
}  # fmt: skip


def trained(settings: dict[str, Any], batch: Callable[[], Batch], steps: int) -> tuple[ArrayAgent, ArrayAgent]:
    """An agent before and after it has learned."""
    before, after = (ArrayAgent(**EASY | settings) for _ in range(2))
    for agent in (before, after):
        keras.utils.set_random_seed(0)
        agent.build({"images": batch()[0]["images"].shape})
    learner = ArrayLearner(after, HybridLoss(), copies=4)
    learner.compile(keras.optimizers.Adam(0.01), jit_compile=compiles())
    for _ in range(steps):
        learner.train_on_batch(*batch())
    return before, after


def test_the_picker_learns_a_bandit_in_which_only_it_matters(run: Run) -> None:
    rng = np.random.default_rng(0)

    def groups() -> Batch:
        """One of four images is marked at its left edge. Its stripes tell the class, in the only cell there is.

        The context network sees no stripes: all its blocks of 4 x 4 px are grey. If it did, what is picked could
        tell the class.
        """
        telling, label = rng.integers(0, 4, 32), rng.integers(0, 2, 32).astype("int32")
        images = np.full((32, 4, 16, 16, 1), 120, "uint8")
        stripes = np.stack([np.indices((16, 16))[axis] % 2 * 240 for axis in (0, 1)])
        images[np.arange(32), telling, ..., 0] = stripes[label]
        images[np.arange(32), telling, :, :4] = 250
        return {"images": images}, label

    def found(agent: ArrayAgent) -> tuple[float, float]:
        """How often the telling image is picked at all, and the class is right."""
        x, label = groups()
        telling = (x["images"][:, :, 0, 0, 0] == 250).argmax(1).repeat(8)
        out = run(agent, x, copies=8)
        right = out["logits"][:, -1].argmax(1) == label.repeat(8)
        return (out["picked"] == telling[:, None]).any(1).mean(), right.mean()

    settings = {
        "location": {"name": "cells", "rows": 1, "columns": 1, "hidden": 2},
        "picker": {"name": "categorical", "hidden": 16},
        "path": {"name": "gru", "units": 8},
        "context": {"name": "convolutional", "units": 8, "px": 4, "filters": [4, 8]},
    }
    before, after = (found(agent) for agent in trained(settings, groups, 100))
    assert before[0] < 0.65  # 1 - (3/4)^2 by chance
    assert min(after) > 0.95


def test_a_place_that_tells_the_class_is_found(run: Run) -> None:
    rng = np.random.default_rng(0)

    def images() -> Batch:
        """The class is written in the lower right, out of sight of the first glimpse."""
        label = rng.integers(0, 2, 64).astype("int32")
        made = np.zeros((64, 1, 12, 16, 1), "uint8")
        made[:, 0, 8:, 12:, 0] = 200 * label[:, None, None]
        return {"images": made}, label

    _, agent = trained({"location": {"name": "gaussian", "hidden": 16, "std": 0.3}}, images, 120)
    x, label = images()
    out = run(agent, x, explore="greedy")
    assert (out["where"][:, 1] > 0.2).all()
    assert (out["logits"][:, -1].argmax(1) == label).mean() > 0.95


def test_training_is_the_same_for_the_same_seed(make_array_agent: Make, make_groups: Groups) -> None:
    x, label = {"images": make_groups(4, 1)["images"]}, np.arange(4) % 3

    def learn() -> tuple[list[float], list[int]]:
        agent = make_array_agent()
        learner = ArrayLearner(agent, HybridLoss(), copies=2)
        learner.compile(keras.optimizers.SGD(0.1), jit_compile=compiles())
        losses, seeds = [], []
        for _ in range(3):
            losses.append(learner.train_on_batch(x, label, return_dict=True)["loss"])
            seeds.append(tuple(np.asarray(agent.seeds.state)))
        return losses, seeds

    losses, seeds = learn()
    assert learn() == (losses, seeds)
    assert len(set(seeds)) == 3  # the random numbers of every step are new


def test_rollouts_in_one_way(make_array_agent: Make, make_groups: Groups, run: Run) -> None:
    agent, x = make_array_agent(), {"images": make_groups(5, 1)["images"]}
    found = Rollouts(agent, "greedy", copies=2).predict(x, batch_size=2, verbose=0)
    expected = run(agent, x, explore="greedy", copies=2)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-5)
