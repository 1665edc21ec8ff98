"""Weights that are saved under one backend and loaded under the other."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from foveate.attention.array_agent import ArrayAgent

HERE = keras.backend.backend()
THERE = "tensorflow" if HERE == "jax" else "jax"
Run = Callable[..., dict[str, np.ndarray]]
NAMES = ("plain", "full")

pytestmark = pytest.mark.skipif(importlib.util.find_spec(THERE) is None, reason=f"{THERE} is not installed")


@pytest.fixture(scope="module")
def agents(make_array_agent: Callable[..., ArrayAgent]) -> dict[str, ArrayAgent]:
    """With a single image; and with groups, cells, path, context, stop."""
    return {"plain": make_array_agent(), "full": make_array_agent(group=3, full=True)}


@pytest.fixture(scope="module")
def inputs(make_groups: Callable[..., dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {"plain": {"images": make_groups(4, 1)["images"]}, "full": make_groups(4, 3)}


@pytest.fixture(scope="module")
def folder(
    agents: dict[str, ArrayAgent],
    inputs: dict[str, dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
    quickly_compiled: str,
) -> Path:
    """What was saved here, and what the other backend made of it."""
    made = tmp_path_factory.mktemp("backends")
    for name, agent in agents.items():
        agent.save(made / f"{name}.keras")
        agent.save_weights(made / f"{name}.weights.h5")
        np.savez(made / f"{name}.npz", **inputs[name])
    script = Path(__file__).with_name("loaded_elsewhere.py")
    environment = {**os.environ, "KERAS_BACKEND": THERE, "XLA_FLAGS": quickly_compiled if THERE == "jax" else ""}
    done = subprocess.run(
        [sys.executable, script, made], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return made


def close(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_saved_here_and_loaded_there(
    name: str, agents: dict[str, ArrayAgent], inputs: dict[str, dict[str, Any]], folder: Path, run: Run
) -> None:
    close(dict(np.load(folder / f"{name}.there.npz")), run(agents[name], inputs[name], explore="greedy"))


@pytest.mark.parametrize("name", NAMES)
def test_saved_there_and_loaded_here(
    name: str,
    agents: dict[str, ArrayAgent],
    inputs: dict[str, dict[str, Any]],
    folder: Path,
    run: Run,
    make_array_agent: Callable[..., ArrayAgent],
) -> None:
    expected = dict(np.load(folder / f"{name}.other.npz"))
    loaded = keras.saving.load_model(folder / f"{name}.other.keras", compile=False)
    found = run(loaded, inputs[name], explore="greedy")
    close(found, expected)
    assert np.abs(found["logits"] - run(agents[name], inputs[name], explore="greedy")["logits"]).max() > 1e-2
    fresh = make_array_agent(group=inputs[name]["images"].shape[1], full=name == "full")
    fresh.load_weights(folder / f"{name}.other.weights.h5")
    for mine, same in zip(loaded.trainable_variables, fresh.trainable_variables, strict=True):
        np.testing.assert_array_equal(np.asarray(same), np.asarray(mine))
