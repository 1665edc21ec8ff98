"""Agents that are built in a moment, and rollouts that nobody made."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from foveate.attention.agent import Agent

SETTINGS: dict[str, Any] = {
    "scales_mpp": [1.0, 4.0],
    "glimpse_px": 16,
    "overview_mpp": 32.0,
    "cell_um": 128.0,  # 4 px
    "classes": ["negative", "itc", "micro", "macro"],
    "features": 8,
    "state": 8,
    "context": 8,
}


def tiny_agent(seed: int = 0, **settings: Any) -> Agent:
    """An agent with random weights, also those that begin as zeros."""
    keras.utils.set_random_seed(seed)
    made = Agent(**SETTINGS | settings)
    made.build()
    rng = np.random.default_rng(seed)
    for variable in made.trainable_variables:
        if len(variable.shape) == 1 or not variable.numpy().any():
            variable.assign_add(0.3 * rng.normal(size=variable.shape))
    return made


def made_up_rollout(rows: int = 3, steps: int = 3, grid: tuple[int, int] = (3, 4), seed: int = 0) -> dict[str, Any]:
    """The x of a Learner: `rows` slides that differ; every cell is tissue, the cells of a row are all different."""
    rng = np.random.default_rng(seed)
    overview = rng.integers(0, 256, (rows, *grid, 3)).repeat(4, 1).repeat(4, 2)
    return {
        "overview": (overview * 0.7 + rng.integers(0, 77, overview.shape)).astype(np.uint8),
        "tissue": np.ones((rows, *grid), bool),
        "pixels": rng.integers(0, 256, (rows, steps, 2, 16, 16, 3)).astype(np.uint8),
        "where": rng.uniform(-1, 1, (rows, steps, 2)).astype(np.float32),
        "cell": rng.random((rows, grid[0] * grid[1])).argsort(1)[:, :steps].astype(np.int32),
        "label": (np.arange(rows) % 4).astype(np.int32),
        "weight": np.ones(rows, np.float32),
        "lesion": np.zeros((rows, *grid), np.int32),
    }


@pytest.fixture(scope="session")
def make_agent() -> Callable[..., Agent]:
    """`tiny_agent`."""
    return tiny_agent


@pytest.fixture(scope="session")
def make_rollout() -> Callable[..., dict[str, Any]]:
    """`made_up_rollout`."""
    return made_up_rollout


@pytest.fixture(scope="session")
def agent() -> Agent:
    """A tiny agent. Not to be changed."""
    return tiny_agent()
