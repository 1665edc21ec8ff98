from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from keras import ops

from foveate.attention.agent import Agent
from foveate.attention.steps import Steps, compiled


def first(agent: Agent, x: dict[str, Any], explore: str, chance: list[float]) -> list[np.ndarray]:
    """What each slide's first choice is, log pi of it, and log_p."""
    steps = Steps(agent, explore)
    scene, memory = steps.begin(x["overview"], x["tissue"], x["candidates"])
    return [ops.convert_to_numpy(v) for v in steps.choose(scene, memory, np.array(chance, np.float32))]


def test_each_way_to_explore(agent: Agent, make_rollout: Callable[..., dict[str, Any]]) -> None:
    x = make_rollout(rows=2)
    x["candidates"][1, 4:] = -1
    found = {explore: first(agent, x, explore, [0.6, 0.6]) for explore in ("greedy", "sampled", "random")}
    log_p = found["greedy"][2]
    assert found["greedy"][0].tolist() == log_p.argmax(1).tolist()
    assert found["random"][0].tolist() == [7, 2]  # of 12 and of 4
    assert found["sampled"][0].tolist() == (np.exp(log_p).cumsum(1) > 0.6).argmax(1).tolist()
    for choice, log_pi, again in found.values():
        np.testing.assert_allclose(log_pi, log_p[[0, 1], choice], atol=1e-6)
        np.testing.assert_allclose(again, log_p, atol=1e-6)


def test_salience_goes_down_the_first_ranking(
    make_agent: Callable[..., Agent], make_rollout: Callable[..., dict[str, Any]]
) -> None:
    agent, x = make_agent(), make_rollout(rows=2)
    ranking = np.argsort(-first(agent, x, "greedy", [0, 0])[2], axis=1)
    steps = Steps(agent, "salience")
    scene, memory = steps.begin(x["overview"], x["tissue"], x["candidates"])
    for t in range(ranking.shape[1]):
        choice, log_pi, log_p = steps.choose(scene, memory, np.zeros(2, np.float32))
        assert ops.convert_to_numpy(choice).tolist() == ranking[:, t].tolist()
        np.testing.assert_allclose(np.exp(ops.convert_to_numpy(log_p)).sum(1), 1, rtol=1e-5)
        np.testing.assert_allclose(ops.convert_to_numpy(log_pi), ops.convert_to_numpy(log_p).max(1), atol=1e-6)
        memory, *_ = steps.absorb(scene, memory, x["pixels"][:, t % 2], x["where"][:, t % 2], choice)


def test_a_spread_ranking_is_inhibited_by_where_it_looked_and_not_by_what_it_saw(
    make_agent: Callable[..., Agent], make_rollout: Callable[..., dict[str, Any]]
) -> None:
    agent, x = make_agent(), make_rollout(rows=2)
    agent.policy.height.kernel.assign(10 + 0 * agent.policy.height.kernel)  # what was seen would count
    steps = Steps(agent, "spread")
    scene, memory = steps.begin(x["overview"], x["tissue"], x["candidates"])
    score = first(agent, x, "greedy", [0, 0])[2]
    places = ops.convert_to_numpy(scene["places"])
    height = np.log1p(np.exp(ops.convert_to_numpy(agent.policy.height.bias)[0]))
    for t in range(5):
        choice = ops.convert_to_numpy(steps.choose(scene, memory, np.zeros(2, np.float32))[0])
        assert choice.tolist() == score.argmax(1).tolist()
        squared = ((places - places[[0, 1], choice][:, None]) ** 2).sum(-1)
        score = score - height * np.exp(-squared / (2 * agent.policy.spread**2))
        score[[0, 1], choice] = -np.inf
        memory, *_ = steps.absorb(scene, memory, x["pixels"][:, t % 2], x["where"][:, t % 2], choice)


def test_steps_follow_the_agent_s_weights(
    make_agent: Callable[..., Agent], make_rollout: Callable[..., dict[str, Any]]
) -> None:
    agent, x = make_agent(), make_rollout(rows=2)
    steps = Steps(agent, "greedy")
    before = ops.convert_to_numpy(steps.begin(x["overview"], x["tissue"], x["candidates"])[0]["salience"])
    agent.context_network.salience.kernel.assign(2 * agent.context_network.salience.kernel)
    after = ops.convert_to_numpy(steps.begin(x["overview"], x["tissue"], x["candidates"])[0]["salience"])
    np.testing.assert_allclose(after, 2 * before, rtol=1e-5)


@pytest.mark.parametrize("explore", ["greedy", "spread"])
def test_slides_that_were_begun_one_by_one(
    agent: Agent, make_rollout: Callable[..., dict[str, Any]], explore: str
) -> None:
    x = make_rollout(rows=2)
    x["candidates"][1, 4:] = -1
    steps, none = Steps(agent, explore), np.zeros(2, np.float32)
    alone = [
        steps.begin(x["overview"][[row]], x["tissue"][[row]], x["candidates"][[row], :count])
        for row, count in enumerate((12, 4))
    ]
    begun, joined = steps.begin(x["overview"], x["tissue"], x["candidates"]), steps.together(alone)
    for _ in range(2):
        choice, log_pi, log_p = (ops.convert_to_numpy(v) for v in steps.choose(*joined, none))
        for found, expected in zip((choice, log_pi, log_p), steps.choose(*begun, none), strict=True):
            np.testing.assert_allclose(found, ops.convert_to_numpy(expected), atol=1e-5)
        begun, joined = (
            (scene, steps.absorb(scene, memory, x["pixels"][:, 0], x["where"][:, 0], choice)[0])
            for scene, memory in (begun, joined)
        )


def test_an_unknown_way_to_explore(agent: Agent) -> None:
    with pytest.raises(ValueError, match="Received: boldly"):
        Steps(agent, "boldly")


def test_a_compiled_function_is_called_with_new_shapes(agent: Agent) -> None:
    double = compiled(agent, lambda x: {"y": 2 * x["x"]})
    for count in (3, 5):
        found = double({"x": np.arange(count, dtype=np.float32)})
        np.testing.assert_array_equal(ops.convert_to_numpy(found["y"]), 2 * np.arange(count))
