from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from foveate.attention.agent import Agent
from foveate.attention.encoder import Encoder
from foveate.attention.patient_agent import PatientAgent, ahead
from foveate.attention.patient_learner import PatientLearner
from foveate.attention.patient_steps import PatientSteps
from foveate.attention.steps import Steps, compiled
from foveate.patients.posterior import FOLLOWING, STAGE_OF, stage_posterior
from foveate.patients.prior import heed

P, S, M, T = 2, 3, 4, 5
PRESENT = np.array([[True, True, True], [True, True, False]])
FACTORS = [3.0, 0.5, 1.0, 0.25, 2.0]
RULE: tuple[Any, Any] = ([list(row) for row in FOLLOWING], list(STAGE_OF))


def slides_of(make_rollout: Callable[..., Any]) -> tuple[np.ndarray, ...]:
    x = make_rollout(rows=P * S, steps=T)
    return x["overview"], x["tissue"], x["candidates"]


def pixels_of(count: int, t: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([count, t])
    where = rng.uniform(-1, 1, (count, 2)).astype(np.float32)
    return rng.integers(0, 256, (count, 2, 16, 16, 3)).astype(np.uint8), where


def roll(agent: PatientAgent, slides: Any, explore: str, copies: int, budget: int = T) -> dict[str, Any]:
    """A rollout over made-up glimpses; the second patient stops one glimpse before the first. Arrays (R, T, ...)."""
    steps, rng, rows = PatientSteps(agent, explore, copies), np.random.default_rng(0), P * copies
    scene, memory, view = steps.begin(*slides, PRESENT)
    made: list[dict[str, Any]] = []
    for t in range(budget):
        chance = rng.random((rows, 2)).astype(np.float32)
        picked, choice, log_pi, known = steps.choose(scene, memory, view, chance)
        looking = np.repeat([True, t < budget - 1], copies)
        before = view
        memory, view, answer = steps.absorb(scene, memory, *pixels_of(rows, t), picked, choice, looking)
        made.append({"picked": picked, "choice": choice, "log_pi": log_pi, "known": known, "before": before,
                     "after": view, "answer": answer, "looking": ops.convert_to_tensor(looking)})  # fmt: skip
    whole = keras.tree.map_structure(lambda *values: ops.stack(values, axis=1), *made)
    return whole | {"scene": scene, "memory": memory}


def learner_input(made: dict[str, Any]) -> dict[str, Any]:
    label, weight = np.array([3, 0], np.int32), np.ones(P, np.float32)
    names = ("scene", "picked", "choice", "known", "before", "after", "looking")
    return {name: made[name] for name in names} | {"label": label, "weight": weight}


def fresh(make_agent: Callable[..., Agent]) -> PatientAgent:
    keras.utils.set_random_seed(0)
    return PatientAgent.over(make_agent(prior=[0.4, 0.3, 0.2, 0.1], temperature=2.0), *RULE, FACTORS)


@pytest.fixture(scope="module")
def begun(make_agent: Callable[..., Agent]) -> PatientAgent:
    """As it is before training. Not to be changed."""
    return fresh(make_agent)


@pytest.fixture(scope="module")
def stirred(make_agent: Callable[..., Agent]) -> PatientAgent:
    """With random weights everywhere. Not to be changed."""
    made, rng = fresh(make_agent), np.random.default_rng(0)
    for part in (made.picker, made.correction):
        for variable in part.weights:
            variable.assign_add(rng.normal(size=variable.shape))
    return made


@pytest.fixture(scope="module")
def sampled(stirred: PatientAgent, make_rollout: Callable[..., Any]) -> dict[str, Any]:
    """A rollout of `stirred`."""
    return roll(stirred, slides_of(make_rollout), "sampled", M)


def test_before_anything_was_seen_it_says_the_prior(begun: PatientAgent, make_rollout: Callable[..., Any]) -> None:
    view = PatientSteps(begun, "greedy").begin(*slides_of(make_rollout), PRESENT)[2]
    expected = [heed(stage_posterior([[0.4, 0.3, 0.2, 0.1]] * count), FACTORS) for count in (3, 2)]
    np.testing.assert_allclose(np.exp(ops.convert_to_numpy(begun.answer(view))), expected, atol=1e-5)


def test_one_slide_depends_on_no_other(begun: PatientAgent, make_rollout: Callable[..., Any]) -> None:
    alone = np.array([[True, False, False]] * P)
    view = PatientSteps(begun, "greedy").begin(*slides_of(make_rollout), alone)[2]
    expected = [stage_posterior([[0.4, 0.3, 0.2, 0.1]])] * P
    np.testing.assert_allclose(np.exp(ops.convert_to_numpy(begun.answer(view))), expected, atol=1e-5)


def test_untrained_it_is_the_agent_of_slides_and_the_posterior(
    begun: PatientAgent, make_agent: Callable[..., Agent], make_rollout: Callable[..., Any]
) -> None:
    slides = slides_of(make_rollout)
    made = roll(begun, slides, "greedy", 1, budget=6)
    picked = ops.convert_to_numpy(made["picked"])
    assert picked[0].tolist() == [0, 1, 2, 0, 1, 2]
    assert picked[1].tolist()[:5] == [0, 1, 0, 1, 0]
    # each slide alone, with the glimpses that it was shown among the others
    agent = begun.slides
    steps = Steps(agent, "greedy")
    scene, _ = steps.begin(*slides)
    said = ops.convert_to_numpy(made["memory"]["said"])
    for patient, slide in ((0, 0), (0, 2), (1, 1)):
        one = {name: value[patient * S + slide][None] for name, value in scene.items()}
        _, memory = agent.begin(*(values[[patient * S + slide]] for values in slides))
        for t in np.flatnonzero((picked[patient] == slide) & (np.arange(6) < 6 - patient)).tolist():
            pixels, where = pixels_of(P, t)
            choice = steps.choose(one, memory, np.zeros(1, np.float32))[0]
            assert ops.convert_to_numpy(choice)[0] == ops.convert_to_numpy(made["choice"])[patient, t]
            memory, logits, _ = steps.absorb(one, memory, pixels[[patient]], where[[patient]], choice)
        expected = ops.convert_to_numpy(agent.probabilities(logits))[0]
        np.testing.assert_allclose(said[patient, slide], expected, atol=1e-5)
    for patient, count in ((0, 3), (1, 2)):
        answer = np.exp(ops.convert_to_numpy(made["answer"])[patient, -1])
        np.testing.assert_allclose(answer, heed(stage_posterior(said[patient, :count]), FACTORS), atol=1e-5)


def test_slides_that_are_absent_are_never_picked(
    stirred: PatientAgent, sampled: dict[str, Any], make_rollout: Callable[..., Any]
) -> None:
    random = roll(stirred, slides_of(make_rollout), "random", M)
    for made in (sampled, random):
        picked = ops.convert_to_numpy(made["picked"])
        assert picked[M:].max() == 1
    assert {*picked[:M].ravel().tolist()} == {0, 1, 2}


def test_what_was_not_looked_at_does_not_change(sampled: dict[str, Any]) -> None:
    made = sampled
    picked = ops.convert_to_numpy(made["picked"])
    visits = ops.convert_to_numpy(made["after"]["visits"])
    for row in range(P * M):
        count = T if row < M else T - 1  # the second patient's budget is spent earlier
        assert visits[row, -1].tolist() == np.bincount(picked[row, :count], minlength=S).tolist()
    said = ops.convert_to_numpy(made["memory"]["said"])
    np.testing.assert_allclose(said[visits[:, -1] == 0], [[0.4, 0.3, 0.2, 0.1]] * (visits[:, -1] == 0).sum())
    np.testing.assert_array_equal(ops.convert_to_numpy(made["answer"])[M:, -1], made["answer"][M:, -2])


def test_going_through_a_rollout_again_gives_what_it_gave(
    stirred: PatientAgent, sampled: dict[str, Any], run: Callable[..., Any]
) -> None:
    made = sampled
    found = run(stirred, {k: made[k] for k in ("scene", "picked", "choice", "known", "before", "after")})
    np.testing.assert_allclose(found["log_pi"], ops.convert_to_numpy(made["log_pi"]), atol=1e-4)
    np.testing.assert_allclose(found["logits"], ops.convert_to_numpy(made["answer"]), atol=1e-5)
    assert (found["entropy"] > 0).all()


def test_gradients_reach_the_picker_and_the_policy_and_nothing_that_is_kept(
    stirred: PatientAgent, sampled: dict[str, Any], weight_gradients_of: Callable[..., Any]
) -> None:
    made = sampled
    x = {k: made[k] for k in ("scene", "picked", "choice", "known", "before", "after")}
    paths = {v.path for v in stirred.trainable_variables}
    assert {part for path in paths for part in path.split("/")} >= {"query", "inner", "score", "fairness"}
    assert len(paths) == 2 + 3 + 1 + 4  # query; picker; fairness; correction
    by_choice = weight_gradients_of(log_pi_of, stirred, x)
    by_answer = weight_gradients_of(logits_of, stirred, x)
    for path in paths:
        is_answer = "correction" in path
        assert np.abs(by_choice[path]).max() == 0 if is_answer else np.abs(by_choice[path]).max() > 1e-6, path
        assert np.abs(by_answer[path]).max() > 1e-6 if is_answer else np.abs(by_answer[path]).max() == 0, path


def log_pi_of(agent: PatientAgent, x: dict[str, Any]) -> Any:
    return agent(x)["log_pi"]


def logits_of(agent: PatientAgent, x: dict[str, Any]) -> Any:
    return agent(x)["logits"][..., 0]


def test_a_file_holds_all_of_it(stirred: PatientAgent, make_rollout: Callable[..., Any], tmp_path: Path) -> None:
    stirred.save(tmp_path / "patient.keras")
    again = keras.saving.load_model(tmp_path / "patient.keras", compile=False, safe_mode=True)
    slides = slides_of(make_rollout)
    a, b = (ops.convert_to_numpy(roll(agent, slides, "greedy", 1)["answer"]) for agent in (stirred, again))
    np.testing.assert_array_equal(a, b)
    assert again.slides.settings["temperature"] == 2.0


def test_an_update_takes_only_what_counts(make_agent: Callable[..., Agent], make_rollout: Callable[..., Any]) -> None:
    agent = fresh(make_agent)
    kept = agent.slides.core.get_weights()
    learner = PatientLearner(agent, M, 0.1, 0.0, 0.9)
    learner.compile(keras.optimizers.Adam(1e-2))
    made = roll(agent, slides_of(make_rollout), "sampled", M)
    x = learner_input(made) | {"weight": np.array([1, 0], np.float32)}
    assert set(learner.train_on_batch(x, return_dict=True)) == {
        "loss", "cross_entropy", "reinforce", "entropy", "accuracy", "reward",
    }  # fmt: skip
    for _ in range(20):
        learner.train_on_batch(x)
    for a, b in zip(agent.slides.core.get_weights(), kept, strict=True):
        np.testing.assert_array_equal(a, b)
    before, after = (ops.convert_to_numpy(v) for v in (made["answer"], agent(x)["logits"]))
    assert after[:M, :, 3].mean() > before[:M, :, 3].mean() + 0.1  # the first patient's stage; not the second's
    assert after[M:, :, 0].mean() < before[M:, :, 0].mean()


def test_it_learns_to_pick_the_slide_that_tells(
    make_agent: Callable[..., Agent], make_rollout: Callable[..., Any]
) -> None:
    """One glimpse, three slides. The one of the highest salience shows macro or negative, the others show nothing."""
    agent, rows = fresh(make_agent), 32
    agent.slides.settings |= {"prior": [0.5, 0.02, 0.02, 0.46], "temperature": 1.0}
    kernel = np.zeros((11, 4))
    kernel[8:11] = 2 * np.eye(4)[1:]
    agent.slides.action_network.set_weights([kernel, np.zeros(4)])  # the strongest evidence
    learner = PatientLearner(agent, M, 1.0, 0.0, 1.0)
    learner.compile(keras.optimizers.Adam(0.03))
    steps = {explore: PatientSteps(agent, explore, copies) for explore, copies in (("sampled", M), ("greedy", 1))}
    absorb = compiled(agent, lambda *inputs: seen(agent, *inputs))
    rng, x = np.random.default_rng(0), make_rollout(rows=1)
    slides = [np.repeat(x[name], rows * S, axis=0) for name in ("overview", "tissue", "candidates")]

    def epoch(explore: str, copies: int) -> tuple[dict[str, Any], np.ndarray]:
        telling, macro = rng.integers(S, size=rows), rng.random(rows) < 0.5
        scene, memory, _ = steps[explore].begin(*slides, np.ones((rows, S), bool))
        tall = np.where(np.arange(S) == telling[:, None], 5.0, -5.0).reshape(-1, 1)
        scene = scene | {"salience": ops.convert_to_tensor(np.tile(tall, (1, 12)).astype(np.float32))}
        held = ops.repeat(ops.reshape(ahead(scene, scene["open"]), (rows, S, 2)), copies, axis=0)
        memory = memory | {"ahead": held}
        view = agent.view(scene, memory)
        chance = rng.random((rows * copies, 2)).astype(np.float32)
        picked, choice, _, known = steps[explore].choose(scene, memory, view, chance)
        here = ops.convert_to_numpy(picked) == telling.repeat(copies)
        shown = np.where(here & macro.repeat(copies), 3, 0)
        evidence = np.where(np.eye(4)[shown] * here[:, None] > 0, -0.1, np.where(here[:, None], -4.0, -5.0))
        after = absorb(scene, memory, evidence.astype(np.float32), picked, choice)
        whole = {"picked": picked, "choice": choice, "known": known, "before": view, "after": after,
                 "looking": np.ones(rows * copies, bool)}  # fmt: skip
        made = keras.tree.map_structure(lambda v: ops.convert_to_tensor(v)[:, None], whole)
        label = np.where(macro, 3, 0).astype(np.int32)
        return made | {"scene": scene, "label": label, "weight": np.ones(rows, np.float32)}, here

    untrained = np.mean([epoch("greedy", 1)[1].mean() for _ in range(5)])
    for _ in range(40):
        learner.train_on_batch(epoch("sampled", M)[0])
    trained = np.mean([epoch("greedy", 1)[1].mean() for _ in range(5)])
    assert untrained == pytest.approx(1 / 3, abs=0.15)
    assert trained > 0.95


def seen(agent: PatientAgent, scene: Any, memory: Any, evidence: Any, picked: Any, choice: Any) -> Any:
    vector = ops.zeros((ops.shape(evidence)[0], agent.slides.settings["features"]))
    looking = ops.ones_like(evidence[:, 0], dtype="bool")
    return agent.view(scene, agent.absorb(scene, memory, vector, evidence, picked, choice, looking))


def test_what_is_ahead_on_a_slide() -> None:
    salience = np.full((3, 12), -1.0, np.float32)
    salience[:, 3] = np.log(11) - 1  # as much as the eleven others
    allowed, is_open = np.ones((3, 12), bool), np.ones((3, 12), bool)
    allowed[1, 3] = False
    is_open[2, 6:] = allowed[2, 6:] = False
    found = ops.convert_to_numpy(ahead({"salience": salience, "open": is_open}, allowed))
    highest = np.tanh([(np.log(11) - 1) / 10, -0.1, (np.log(11) - 1) / 10])
    np.testing.assert_allclose(found, np.stack([[1, 0.5, 1], highest], 1), rtol=1e-5)


def test_an_unknown_way_to_explore(begun: PatientAgent) -> None:
    with pytest.raises(ValueError, match="Received: boldly"):
        PatientSteps(begun, "boldly")


def test_the_encoder_of_the_slides_agent_is_kept(
    make_agent: Callable[..., Agent], make_rollout: Callable[..., Any], tmp_path: Path
) -> None:
    pixels = keras.Input((16, 16, 3))
    means = keras.layers.Dense(5)(keras.layers.GlobalAveragePooling2D()(pixels))
    slides = make_agent(encoder=Encoder(keras.Model(pixels, means), mean=100.0, std=50.0))
    agent = PatientAgent.over(slides, *RULE)
    agent.save(tmp_path / "patient.keras")
    loaded = keras.saving.load_model(tmp_path / "patient.keras", compile=False, safe_mode=True)
    assert loaded.slides.glimpse_network.encoder.mean == 100.0
    answers = [
        ops.convert_to_numpy(roll(each, slides_of(make_rollout), "greedy", 1)["answer"]) for each in (agent, loaded)
    ]
    np.testing.assert_array_equal(*answers)
    for a, b in zip(slides.get_weights(), loaded.slides.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_stop_network_of_the_slides_agent_is_kept_and_has_no_say(
    make_agent: Callable[..., Agent], make_rollout: Callable[..., Any], tmp_path: Path
) -> None:
    slides = make_agent(stop=True)
    slides.stop_network.logit.bias.assign([50.0])  # it would stop at once
    keras.utils.set_random_seed(0)
    agent = PatientAgent.over(slides, *RULE)
    keras.utils.set_random_seed(0)
    plain = PatientAgent.over(make_agent(), *RULE)
    stop = {v.path for v in agent.slides.stop_network.weights}
    assert not stop & {v.path for v in agent.trainable_variables}
    agent.save(tmp_path / "patient.keras")
    loaded = keras.saving.load_model(tmp_path / "patient.keras", compile=False, safe_mode=True)
    for a, b in zip(slides.get_weights(), loaded.slides.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    answers = [
        ops.convert_to_numpy(roll(each, slides_of(make_rollout), "greedy", 1)["answer"]) for each in (loaded, plain)
    ]
    np.testing.assert_array_equal(*answers)


def test_static_rankings_are_no_way_to_explore_a_patient(make_agent: Callable[..., Agent]) -> None:
    with pytest.raises(ValueError, match="Received: salience"):
        PatientSteps(fresh(make_agent), "salience")
