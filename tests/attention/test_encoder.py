from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from foveate.attention.agent import Agent
from foveate.attention.encoder import Encoder
from foveate.attention.glimpse_network import GlimpseNetwork


def network(side: int = 16) -> keras.Model:
    """Means of red, green and blue, then a layer that learns and one that keeps statistics."""
    pixels = keras.Input((side, side, 3))
    means = keras.layers.GlobalAveragePooling2D()(pixels)
    mixed = keras.layers.Dense(5, use_bias=False, name="mix")(means)
    return keras.Model(pixels, keras.layers.BatchNormalization(name="statistics")(mixed))


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (4, 2, 16, 16, 3)).astype(np.uint8)


def test_it_sees_every_scale_after_its_own_preprocessing(pixels: np.ndarray) -> None:
    made = Encoder(network(), mean=100.0, std=50.0)
    mix = np.asarray(made.network.get_layer("mix").kernel)
    expected = ((pixels - 100.0) / 50.0).mean((2, 3)) @ mix / np.sqrt(1 + 1e-3)  # untrained statistics: 0 and 1
    found = np.asarray(made(ops.array(pixels)))
    assert (made.features, found.shape) == (5, (4, 10))
    np.testing.assert_allclose(found, expected.reshape(4, 10), atol=1e-4)


@pytest.mark.parametrize(("frozen", "learns"), [(True, 0), (False, 3)])
def test_a_frozen_encoder_does_not_learn(make_agent: Callable[..., Agent], frozen: bool, learns: int) -> None:
    agent = make_agent(encoder=Encoder(network(), frozen=frozen))
    agent.learn_only("sight")
    inside = {v.path for v in agent.glimpse_network.encoder.weights}
    assert len(inside & {v.path for v in agent.trainable_variables}) == learns
    agent.learn_only("core")
    assert not inside & {v.path for v in agent.trainable_variables}


def test_it_sees_the_finest_scales_and_towers_the_others(pixels: np.ndarray) -> None:
    made = GlimpseNetwork(8, 2, 4, Encoder(network()), encoder_scales=1)
    made.build((None, 2, 16, 16, 3), (None, 2))
    assert (made.towers.scales, made.seen.kernel.shape[0]) == (1, 5 + made.towers.features)

    kernel, bias = made.seen.get_weights()

    def heeds(scale: int, rows: slice) -> bool:
        """Whether what is seen, by these rows of the kernel alone, changes with this scale."""
        alone = np.zeros_like(kernel)
        alone[rows] = np.abs(kernel[rows])
        made.seen.set_weights([alone, bias + 1])
        other = pixels.copy()
        other[:, scale] = 255 - other[:, scale]
        before, after = (np.asarray(made.see(ops.array(p))[0]) for p in (pixels, other))
        return not np.array_equal(before, after)

    first, others = slice(0, 5), slice(5, None)
    assert [heeds(0, first), heeds(1, first), heeds(0, others), heeds(1, others)] == [True, False, False, True]


@pytest.mark.parametrize(("scales", "towers"), [(1, 1), (2, None), (8, None)])
def test_an_encoder_of_all_scales_leaves_no_tower(
    make_agent: Callable[..., Agent], make_rollout: Callable[..., Any], tmp_path: Path, scales: int, towers: int | None
) -> None:
    agent, x = make_agent(encoder=Encoder(network()), encoder_scales=scales), make_rollout(rows=2)
    agent(x)
    found = agent.glimpse_network.towers
    assert (None if found is None else found.scales) == towers
    agent.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    np.testing.assert_array_equal(np.asarray(loaded(x)["logits"]), np.asarray(agent(x)["logits"]))


def test_statistics_stay_in_training(make_agent: Callable[..., Agent], make_rollout: Callable[..., Any]) -> None:
    agent, x = make_agent(encoder=Encoder(network(), frozen=False)), make_rollout(rows=2)
    before = [np.asarray(v) for v in agent.glimpse_network.encoder.network.get_layer("statistics").variables]
    agent(x, training=True)
    for variable, value in zip(
        agent.glimpse_network.encoder.network.get_layer("statistics").variables, before, strict=True
    ):
        np.testing.assert_array_equal(np.asarray(variable), value)


def test_an_agent_with_an_encoder_is_saved_and_loaded(
    make_agent: Callable[..., Agent], make_rollout: Callable[..., Any], tmp_path: Path, run: Callable[..., Any]
) -> None:
    agent, x = make_agent(encoder=Encoder(network(), mean=10.0, std=20.0)), make_rollout(rows=2)
    agent.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    encoder = loaded.glimpse_network.encoder
    assert (encoder.mean, encoder.std, encoder.frozen) == (10.0, 20.0, True)
    for name, value in run(agent, x).items():
        np.testing.assert_array_equal(run(loaded, x)[name], value)


def test_what_is_no_encoder_is_refused() -> None:
    flat = keras.Sequential([keras.Input((7,)), keras.layers.Dense(2)])
    maps = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(2, 3)])
    for model in (flat, maps):
        with pytest.raises(ValueError, match="expected"):
            Encoder(model)
