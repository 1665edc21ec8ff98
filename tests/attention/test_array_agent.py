import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops
from scipy.stats import norm

from foveate.attention.array_agent import EXPLORE, ArrayAgent
from foveate.errors import FoveateError

Run = Callable[..., dict[str, np.ndarray]]
Make = Callable[..., ArrayAgent]
COPIES = 50


@pytest.fixture(scope="module")
def plain(make_array_agent: Make) -> ArrayAgent:
    """One image, a Gaussian location, no more."""
    return make_array_agent()


@pytest.fixture(scope="module")
def full(make_array_agent: Make) -> ArrayAgent:
    """Groups of three, cells, path, context, stop."""
    return make_array_agent(group=3, full=True)


@pytest.fixture(scope="module")
def images(make_groups: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    return {"images": make_groups(4, 1)["images"]}


@pytest.fixture(scope="module")
def groups(make_groups: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """Four groups, of which the first is one image; three of six cells of every image are open."""
    return make_groups(4, 3)


@contextlib.contextmanager
def changed(*layers: tuple[keras.layers.Layer, float, float]) -> Iterator[None]:
    """Layers with other weights for a moment: all kernels one number, all biases another."""
    before = [layer.get_weights() for layer, *_ in layers]
    for layer, kernel, bias in layers:
        layer.set_weights([np.full(w.shape, bias if w.ndim == 1 else kernel) for w in layer.get_weights()])
    yield
    for (layer, *_), weights in zip(layers, before, strict=True):
        layer.set_weights(weights)


def cells(out: dict[str, np.ndarray]) -> np.ndarray:
    """(R, T) cells of 2 x 3 that are looked at."""
    column, row = (out["where"][..., 0] + 1) * 1.5 - 0.5, (out["where"][..., 1] + 1) - 0.5
    np.testing.assert_allclose([column, row], np.round([column, row]), atol=1e-5)  # middles of cells
    return np.round(row * 3 + column).astype(int)


@pytest.mark.parametrize(
    ("settings", "group", "choices"),
    [
        ({}, 1, 2),
        ({"path": {"name": "lstm", "units": 5}}, 1, 2),
        ({"path": {"name": "lstm", "units": 5}, "context": {"name": "convolutional", "units": 5, "px": 8}}, 1, 3),
        ({"full": True}, 1, 3),
        ({"full": True, "path": {"name": "relu", "units": 5}, "stop": None}, 3, 3),
        ({"stop": "bernoulli", "core": {"name": "gru", "units": 6}}, 3, 2),
    ],
)
def test_shapes(make_array_agent: Make, settings: dict[str, Any], group: int, choices: int) -> None:
    agent = make_array_agent(group=group, **settings)
    x = {"images": keras.KerasTensor((5, group, 12, 16, 1), "uint8"), "present": keras.KerasTensor((5, group), "bool")}
    out = agent.compute_output_spec(x, copies=2)
    assert {name: tuple(value.shape) for name, value in out.items()} == {
        "logits": (10, 3, 3), "where": (10, 3, 2), "picked": (10, 3), "looked": (10, 3),
        "log_pi": (10, choices), "baseline": (10, choices), "entropy": (10, choices),
        **({"stop": (10, 3)} if agent.stop_network else {}),
    }  # fmt: skip


def test_the_state_of_the_path_begins_with_the_context(full: ArrayAgent, groups: dict[str, Any], run: Run) -> None:
    """The first choice depends on the images, by what the context network says of them alone."""
    inverted = {**groups, "images": 255 - groups["images"]}
    first, second = (run(full, x, copies=COPIES)["entropy"][:, 0] for x in (groups, inverted))
    assert np.abs(first - second).max() > 1e-3
    with changed((full.context_network, 0, 0)):
        first, second = (run(full, x, copies=COPIES) for x in (groups, inverted))
    np.testing.assert_array_equal(first["picked"][:, 0], second["picked"][:, 0])
    np.testing.assert_allclose(first["entropy"][:, 0], second["entropy"][:, 0], atol=1e-6)
    assert np.abs(first["entropy"][:, 1] - second["entropy"][:, 1]).max() > 1e-4


def test_the_first_glimpse_is_at_the_middle(plain: ArrayAgent, images: dict[str, Any], run: Run) -> None:
    out = run(plain, images, copies=COPIES)
    assert not out["where"][:, 0].any()
    assert np.abs(out["where"][:, 1:]).min() > 0
    assert np.abs(out["where"]).max() <= 1


def test_the_first_glimpse_may_lie_anywhere_around_the_middle(
    make_array_agent: Make, images: dict[str, Any], run: Run
) -> None:
    agent = make_array_agent(start=0.5, steps=2)
    first = run(agent, images, copies=COPIES)["where"][:, 0]
    assert 0.4 < np.abs(first).max() <= 0.5
    np.testing.assert_allclose(first.mean(0), [0, 0], atol=0.1)
    assert np.abs(np.corrcoef(first.T)[0, 1]) < 0.3
    assert not run(agent, images, explore="greedy")["where"][:, 0].any()


def test_log_pi_and_entropy_of_places_are_those_of_the_gaussian(
    plain: ArrayAgent, images: dict[str, Any], run: Run
) -> None:
    mean = run(plain, images, explore="greedy")["where"][:, 1].repeat(COPIES, 0)  # the first glimpses are the same
    out = run(plain, images, copies=COPIES)
    inside = (np.abs(out["where"][:, 1]) < 1).all(1)  # where nothing was clipped
    assert inside.mean() > 0.5
    expected = norm.logpdf(out["where"][:, 1], mean, 0.3).sum(1)
    np.testing.assert_allclose(out["log_pi"][inside, 0], expected[inside], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(out["entropy"], 2 * norm.entropy(0, 0.3), rtol=1e-5)


def indifferent(full: ArrayAgent) -> contextlib.AbstractContextManager[None]:
    """An agent that likes all images and cells alike, and stops as often as it goes on."""
    location = full.location_network
    return changed(
        (location.score, 0, 0), (location.height, 0, -100), (full.picker.score, 0, 0), (full.stop_network.logit, 0, 0)
    )


def test_log_pi_and_entropy_of_an_agent_that_likes_all_alike(
    full: ArrayAgent, groups: dict[str, Any], run: Run
) -> None:
    with indifferent(full):
        out = run(full, groups, copies=COPIES)
    there = groups["present"].sum(1).repeat(COPIES)[:, None]
    looked, alike = out["looked"], np.broadcast_to(np.log(there * 3), out["log_pi"].shape)
    np.testing.assert_allclose(out["log_pi"], -alike, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(out["entropy"], alike, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(out["stop"], 0, atol=1e-6)
    np.testing.assert_allclose(looked.mean(0), [1, 1 / 2, 1 / 4], atol=0.1)
    assert set(map(tuple, looked.astype(int))) == {(1, 0, 0), (1, 1, 0), (1, 1, 1)}


@pytest.mark.parametrize("explore", EXPLORE)
def test_only_images_that_are_there_and_open_cells_are_chosen(
    full: ArrayAgent, groups: dict[str, Any], explore: str, run: Run
) -> None:
    with indifferent(full):
        out = run(full, groups, explore=explore, copies=COPIES)
    row = np.arange(4).repeat(COPIES)[:, None]
    assert groups["present"][row, out["picked"]].all()
    assert groups["allowed"][row, out["picked"], cells(out)].all()
    if explore == "random":
        counts = np.bincount(out["picked"][COPIES:].ravel(), minlength=3)
        np.testing.assert_allclose(counts / counts.sum(), [1 / 3] * 3, atol=0.08)
        counts = np.bincount(cells(out)[:COPIES].ravel(), minlength=6)  # of the group of one image
        np.testing.assert_allclose(counts / counts.sum(), groups["allowed"][0, 0] / 3, atol=0.12)


def test_random_places_have_nothing_to_do_with_the_policy(
    full: ArrayAgent, plain: ArrayAgent, groups: dict[str, Any], images: dict[str, Any], run: Run
) -> None:
    first = run(full, groups, explore="random", copies=COPIES)
    with changed((full.location_network, 1, 3), (full.picker, -1, 2), (full.stop_network, 0, 100)):
        second = run(full, groups, explore="random", copies=COPIES)
    for name in ("where", "picked", "looked", "logits"):
        np.testing.assert_array_equal(first[name], second[name])
    assert first["looked"].all()
    where = run(plain, images, explore="random", copies=COPIES)["where"][:, 1:]
    np.testing.assert_allclose([where.mean((0, 1)), where.std((0, 1))], [[0, 0], [3**-0.5] * 2], atol=0.1)


def test_inhibition_of_return(full: ArrayAgent, groups: dict[str, Any], run: Run) -> None:
    def again(height: float) -> int:
        """How often a cell of an image is looked at for a second time."""
        with indifferent(full), changed((full.location_network.height, 0, height), (full.stop_network.logit, 0, -100)):
            out = run(full, groups, copies=COPIES)
        seen = np.sort(out["picked"] * 6 + cells(out), axis=1)
        return int((np.diff(seen, axis=1) == 0).sum())

    assert again(60) == 0
    assert again(-100) > COPIES


@pytest.mark.parametrize(("bias", "steps"), [(100, 1), (-100, 3)])
@pytest.mark.parametrize("explore", ["sampled", "greedy"])
def test_the_stop_network_decides_when_to_stop(
    full: ArrayAgent, groups: dict[str, Any], explore: str, bias: float, steps: int, run: Run
) -> None:
    with changed((full.stop_network.logit, 0, bias)):
        out = run(full, groups, explore=explore, copies=COPIES)
    assert (out["looked"] == (np.arange(3) < steps)).all()


def test_the_order_of_images_does_not_matter(full: ArrayAgent, groups: dict[str, Any], run: Run) -> None:
    order = np.array([2, 0, 1])
    out = run(full, groups, explore="greedy", copies=COPIES)
    other = run(full, {name: value[:, order] for name, value in groups.items()}, explore="greedy", copies=COPIES)
    np.testing.assert_array_equal(order[other["picked"]], out["picked"])
    np.testing.assert_allclose(other["logits"], out["logits"], atol=1e-5)
    np.testing.assert_allclose(other["log_pi"], out["log_pi"], atol=1e-5)


def test_what_is_seen_depends_on_the_image_that_was_picked(
    make_array_agent: Make, groups: dict[str, Any], run: Run
) -> None:
    agent = make_array_agent(group=3)
    x = {"images": groups["images"].copy()}
    first = run(agent, x, explore="greedy")
    seen = [set(row) for row in first["picked"]]
    assert any(len(row) < 3 for row in seen)
    for row, picked in enumerate(seen):
        for image in {0, 1, 2} - picked:
            x["images"][row, image] = 255 - x["images"][row, image]
    np.testing.assert_array_equal(run(agent, x, explore="greedy")["logits"], first["logits"])
    for row, picked in enumerate(seen):
        x["images"][row, picked.pop()] //= 4
    assert (np.abs(run(agent, x, explore="greedy")["logits"] - first["logits"]).max((1, 2)) > 1e-4).all()


def test_each_image_has_a_memory_of_its_own(make_array_agent: Make, groups: dict[str, Any], run: Run) -> None:
    """An image is read in the same way whatever was seen of the others before."""
    agent = make_array_agent(group=3)
    orders = [[0, 1, 2], [2, 1, 0]]
    found = []
    for order in orders:
        agent = make_array_agent(group=3)
        agent.location_network.mode = lambda distribution: ops.zeros_like(distribution[0])
        follow(agent, np.eye(3)[order][:, None].repeat(4, 1))
        found.append(run(agent, {"images": groups["images"]}))
    np.testing.assert_array_equal(found[0]["picked"], [[0, 1, 2]] * 4)
    np.testing.assert_array_equal(found[1]["picked"], [[2, 1, 0]] * 4)
    np.testing.assert_allclose(found[0]["logits"][:, 2], found[1]["logits"][:, 2], atol=1e-5)
    assert np.abs(found[0]["logits"][:, 0] - found[1]["logits"][:, 0]).max() > 1e-3


def follow(agent: ArrayAgent, picks: np.ndarray, place: np.ndarray | None = None) -> None:
    """Let an agent pick images (T, R, N) one-hot, and choose places (T, R, 2), or the middle."""
    noise = ops.convert_to_tensor(1e4 * picks.reshape(-1, picks.shape[-1]), "float32")
    agent.picker.noise = lambda rows, group, seed: noise
    places = np.zeros((*picks.shape[:2], 2)) if place is None else place
    given = ops.convert_to_tensor(places.reshape(-1, 2), "float32")
    agent.location_network.noise = lambda rows, seed: given
    agent.location_network.sample = lambda distribution, noise: noise


def test_copies_of_a_row_lie_side_by_side(full: ArrayAgent, groups: dict[str, Any], run: Run) -> None:
    copied = run(full, groups, explore="greedy", copies=COPIES)
    repeated = run(full, {name: value.repeat(COPIES, 0) for name, value in groups.items()}, explore="greedy")
    for name, value in repeated.items():
        np.testing.assert_allclose(copied[name], value, atol=1e-5)
    assert np.ptp(copied["logits"][::COPIES], axis=0).max() > 1e-3  # rows differ


def test_random_numbers_follow_the_seed(
    make_array_agent: Make, plain: ArrayAgent, images: dict[str, Any], run: Run
) -> None:
    out = run(plain, images, copies=COPIES)
    where = out["where"]
    assert np.abs(where[0, 1] - where[1, 1]).max() > 1e-3  # copies of one row
    assert np.abs(where[:, 1] - where[:, 2]).max() > 1e-3
    again = run(make_array_agent(), images, copies=COPIES)
    for name, value in out.items():
        np.testing.assert_array_equal(again[name], value)
    before = ops.convert_to_numpy(plain.seeds.state)
    plain.seeds.state.assign(before + 1)
    other = run(plain, images, copies=COPIES)
    plain.seeds.state.assign(before)
    assert np.abs(other["where"][:, 1:] - where[:, 1:]).max() > 0.1


def test_the_baseline_knows_only_what_was_seen_before(
    plain: ArrayAgent, full: ArrayAgent, images: dict[str, Any], groups: dict[str, Any], run: Run
) -> None:
    baseline = run(plain, images, copies=COPIES)["baseline"].reshape(4, COPIES, 2)
    assert np.ptp(baseline[:, :, 0], axis=1).max() < 1e-6  # all copies saw the middle
    assert np.ptp(baseline[:, :, 1], axis=1).min() > 1e-3
    assert np.ptp(baseline[:, 0, 0]) > 1e-4
    first = run(full, groups, copies=COPIES)["baseline"][:, 0]  # nothing was seen
    np.testing.assert_allclose(first, np.full_like(first, np.asarray(full.baseline_network.bias)[0]), rtol=1e-6)


def weighted_log_pi(agent: ArrayAgent, x: dict[str, Any], weight: Any) -> Any:
    return agent(x)["log_pi"] * weight


@pytest.mark.parametrize("everything", [False, True])
def test_finite_differences_of_log_pi(
    make_array_agent: Make,
    images: dict[str, Any],
    groups: dict[str, Any],
    everything: bool,
    run: Run,
    weight_gradients_of: Callable[..., dict[str, np.ndarray]],
) -> None:
    rng = np.random.default_rng(0)
    agent = make_array_agent(group=3, full=everything)
    picks = np.eye(3)[rng.integers(0, 3, (3, 4)) * groups["present"].all(1)]
    follow(agent, picks, rng.uniform(-1, 1, (3, 4, 2)))
    networks = [agent.location_network, agent.picker]
    x = {"images": groups["images"]}
    if everything:
        chosen = groups["allowed"].argmax(-1)[np.arange(4), picks.argmax(-1)]
        noise = ops.convert_to_tensor(1e4 * np.eye(6)[chosen.ravel()], "float32")
        agent.location_network.noise = lambda rows, seed: noise
        del agent.location_network.sample
        networks += [agent.path_core, agent.context_network]
        x = groups
    weight = rng.normal(size=(4, 3 if everything else 2)).astype("float32")
    gradient = weight_gradients_of(weighted_log_pi, agent, x, weight)
    for network in networks:
        before = network.get_weights()
        slope = np.concatenate([gradient[v.path].ravel() for v in network.trainable_variables])
        along = slope / np.linalg.norm(slope) + 0.3 * rng.normal(size=slope.size) / slope.size**0.5
        found = []
        for step in (0.0005, -0.0005):
            parts = np.split(step * along, np.cumsum([w.size for w in before])[:-1])
            network.set_weights([w + part.reshape(w.shape) for w, part in zip(before, parts, strict=True)])
            found.append((run(agent, x)["log_pi"] * weight).sum(dtype=float))
        network.set_weights(before)
        assert np.linalg.norm(slope) > 0.1, network.name
        assert (found[0] - found[1]) / 0.001 == pytest.approx(slope @ along, rel=0.03), network.name


@pytest.mark.parametrize(
    ("truncate", "reached"),
    [
        (None, ["1   ", "11  ", "111 ", "1111"]),
        (2, ["1   ", "11  ", "  1 ", "  11"]),
        (3, ["1   ", "11  ", "111 ", "   1"]),
        (1, ["1   ", " 1  ", "  1 ", "   1"]),
    ],
)
def test_gradients_reach_as_many_glimpses_back_as_they_may(
    make_array_agent: Make,
    images: dict[str, Any],
    truncate: int | None,
    reached: list[str],
    gradients_of: Callable[..., list[np.ndarray]],
) -> None:
    agent = make_array_agent(steps=4, truncate=truncate)
    see = agent.glimpse_network.call

    def answers(more: Any) -> Any:
        """The answer of row t after glimpse t, if the vectors of all glimpses had some more in them."""
        steps = iter(range(4))
        agent.glimpse_network.call = lambda pixels, where: see(pixels, where) + more[next(steps)]
        with keras.StatelessScope():
            return ops.einsum("ttk,k->", agent(images)["logits"], ops.convert_to_tensor([1.0, 2.0, -4.0]))

    (gradient,) = gradients_of(answers, np.zeros((4, 4, 8)))  # glimpses, rows, features
    found = np.abs(gradient).max(-1).T > 1e-7
    assert ["".join("1" if seen else " " for seen in row) for row in found] == reached


def test_saved_and_loaded_it_does_the_same(
    full: ArrayAgent, groups: dict[str, Any], tmp_path: Path, run: Run, make_array_agent: Make
) -> None:
    full.save(tmp_path / "agent.keras")
    loaded = keras.saving.load_model(tmp_path / "agent.keras", compile=False)
    assert type(loaded) is ArrayAgent
    assert loaded.settings == full.settings
    assert ArrayAgent.from_config(loaded.get_config()).get_config() == full.get_config()
    expected, found = (run(agent, groups, explore="greedy", copies=COPIES) for agent in (full, loaded))
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)


def test_a_context_begins_the_state_of_a_path() -> None:
    with pytest.raises(FoveateError, match=r"^context: it begins the state of a second core; expected .* for path$"):
        ArrayAgent(classes=2, steps=2, px=4, context="convolutional")


def test_a_single_glimpse_leaves_nothing_to_choose() -> None:
    with pytest.raises(FoveateError, match=r"^steps: 1; expected a whole number, at least 2$"):
        ArrayAgent(classes=2, steps=1, px=4)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"steps": "six"}, "^steps: 'six'; expected a whole number, at least 2$"),
        ({"steps": 2.0}, "^steps: 2.0; expected a whole number"),
        ({"px": 0}, "^px: 0; expected a whole number, at least 1$"),
        ({"scales": 0}, "^scales: 0; "),
        ({"note": -1}, "^note: -1; "),
        ({"truncate": 0}, "^truncate: 0; "),
        ({"start": 1.5}, "^start: 1.5; expected a number, at least 0 and at most 1$"),
        ({"start": "x"}, "^start: 'x'; "),
        (
            {"path": {"name": "gru", "units": 5}, "context": {"name": "convolutional", "units": 10}},
            "^context: 10 units; expected 5, as of the path, whose state it begins$",
        ),
    ],
)
def test_a_setting_that_makes_no_agent_is_named(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(FoveateError, match=text):
        ArrayAgent(**{"classes": 2, "steps": 2, "px": 4} | settings)


def test_an_unknown_part_and_an_unknown_setting_are_named() -> None:
    with pytest.raises(FoveateError, match=r"^core: no 'elman'; known: .*gru, lstm"):
        ArrayAgent(classes=2, steps=2, px=4, path="elman")
    with pytest.raises(FoveateError, match=r"^stop 'bernoulli' cannot be made with {'hiden': 4}: "):
        ArrayAgent(classes=2, steps=2, px=4, stop={"name": "bernoulli", "hiden": 4})


def test_an_unknown_way_to_explore_is_named(plain: ArrayAgent, images: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"one of .*'sampled', 'greedy', 'random'.* Received: lucky"):
        plain(images, explore="lucky")


def test_the_defaults_make_an_agent() -> None:
    agent = ArrayAgent(classes=2, steps=2, px=4)
    agent.build({"images": (None, 1, 8, 8, 1)})
    assert agent.core.units == agent.glimpse_network.features == 256
