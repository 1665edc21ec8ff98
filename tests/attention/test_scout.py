from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from foveate.attention.agent import Agent
from foveate.attention.scout import Scout, cut, plain_trunk

CELLS, PX = 3, 24


def taught(scout: Scout) -> Scout:
    """With random weights where it begins with zeros."""
    scout.tumor.set_weights([np.random.default_rng(0).normal(size=v.shape) for v in scout.tumor.weights])
    return scout


@pytest.fixture
def scout() -> Scout:
    keras.utils.set_random_seed(0)
    made = Scout(plain_trunk(PX, CELLS), mpp=16.0, count=4, mean=100.0, std=50.0)
    made.build((None, PX, PX, 3))
    return made


@pytest.fixture
def squares() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (2, PX, PX, 3)).astype(np.uint8)


def test_untaught_it_says_nothing(scout: Scout, squares: np.ndarray) -> None:
    assert (scout.px, scout.cells, scout.reach) == (PX, CELLS, 1)
    np.testing.assert_array_equal(np.asarray(scout(squares)), np.zeros((2, CELLS, CELLS)))


def test_a_position_is_a_cell_after_the_trunk_s_own_preprocessing() -> None:
    pixels = keras.Input((PX, PX, 3))
    means = keras.layers.AveragePooling2D(PX // CELLS)(pixels)
    made = Scout(keras.Model(pixels, means), mpp=16.0, count=4, mean=100.0, std=50.0)
    made.build((None, PX, PX, 3))
    made.hidden.set_weights([np.eye(3, 64)[None, None], np.zeros(64)])
    made.tumor.set_weights([np.eye(64, 1)[None, None] * 2, np.array([1.0])])
    square = np.zeros((1, PX, PX, 3), np.uint8)
    square[0, 8:16, 16:, 0] = 250  # the cell right of the middle; red alone counts
    expected = np.ones((1, CELLS, CELLS))
    expected[0, 1, 2] = 2 * (250 - 100) / 50 + 1
    np.testing.assert_allclose(np.asarray(made(square)), expected, rtol=1e-6)


@pytest.mark.parametrize("px", [3, 9, 3 * 64])
def test_a_plain_trunk_halves(px: int) -> None:
    with pytest.raises(ValueError, match="px must be cells times 2, 4"):
        plain_trunk(px, CELLS)


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_network_is_cut_at_its_last_map_of_cells(wrapped: bool) -> None:
    pixels = keras.Input((PX, PX, 3))
    half = keras.layers.Conv2D(4, 3, 8, padding="same", name="first")(pixels)
    last = keras.layers.Conv2D(5, 3, 1, padding="same", name="last")(half)
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(6, 3, 3, padding="same")(last))
    network = keras.Model(pixels, pooled)
    if wrapped:
        outer = keras.Input((PX, PX, 3))
        network = keras.Model(outer, network(outer))
    trunk = cut(network, CELLS)
    assert trunk.output_shape == (None, CELLS, CELLS, 5)
    assert [layer.name for layer in trunk.layers[1:]] == ["first", "last"]
    with pytest.raises(ValueError, match="no map of 4 x 4 positions of squares of 24 px"):
        cut(network, 4)


@pytest.mark.parametrize("side", [1, 2])
def test_what_is_no_trunk_is_refused(side: int) -> None:
    even = keras.Sequential([keras.Input((PX, PX, 3)), keras.layers.AveragePooling2D(PX // 2)])
    flat = keras.Sequential([keras.Input((PX, PX, 3)), keras.layers.GlobalAveragePooling2D()])
    with pytest.raises(ValueError, match="C odd"):
        Scout([flat, even][side - 1], mpp=16.0, count=4)


@pytest.mark.parametrize(("frozen", "learns"), [(True, 4), (False, 4 + 3 * 3)])
def test_only_the_scout_learns_and_a_frozen_trunk_does_not(
    make_agent: Callable[..., Agent], frozen: bool, learns: int
) -> None:
    agent = make_agent(scout=Scout(plain_trunk(PX, CELLS), mpp=16.0, count=4, frozen=frozen))
    agent.learn_only("scout")
    assert len(agent.trainable_variables) == learns
    agent.learn_only("core", "query", "height")
    assert not agent.scout.trainable_variables


def test_an_agent_with_a_scout_is_saved_and_loaded(
    make_agent: Callable[..., Agent], tmp_path: Path, squares: np.ndarray
) -> None:
    agent = make_agent(scout=Scout(plain_trunk(PX, CELLS), mpp=16.0, count=4, mean=9.0, std=7.0, frozen=True))
    taught(agent.scout)
    agent.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False, safe_mode=True).scout
    assert (loaded.mpp, loaded.count, loaded.mean, loaded.std, loaded.frozen) == (16.0, 4, 9.0, 7.0, True)
    found = np.asarray(agent.scout(ops.array(squares)))
    assert np.ptp(found) > 0
    np.testing.assert_array_equal(np.asarray(loaded(ops.array(squares))), found)


def test_an_agent_without_a_scout_begins_as_one_with_it(make_agent: Callable[..., Any]) -> None:
    with_one, without = make_agent(scout=Scout(plain_trunk(PX, CELLS), 16.0, 4)), make_agent()
    assert without.scout is None
    shapes = [[v.shape for v in agent.weights] for agent in (without, with_one)]
    assert len(shapes[1]) == len(shapes[0]) + 4 + 3 * 3
    assert shapes[1][: len(shapes[0])] == shapes[0]
