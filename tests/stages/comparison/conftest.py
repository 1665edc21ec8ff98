"""An agent that prefers some cells, and slides for it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foveate.attention.agent import Agent
from foveate.config import Config
from foveate.slides.overview_file import StoredOverview
from foveate.stages.determinism import seeded
from foveate.stages.train import make_agent


def random_agent(config: Config) -> Agent:
    seeded(0)
    agent = make_agent(config, [0.4, 0.2, 0.2, 0.2])
    rng = np.random.default_rng(0)
    for variable in agent.weights:
        variable.assign_add(0.3 * rng.normal(size=variable.shape))
    return agent


@pytest.fixture(scope="session")
def comparison_agent(tiny_config: Config) -> Agent:
    """Random weights; glimpses of 16 px at 4 and 32 um/px. Not to be changed."""
    return random_agent(tiny_config)


@pytest.fixture(scope="session")
def wide(tiny_overview: Callable[..., StoredOverview], tiny_slide: Any) -> StoredOverview:
    """2048 x 1536 um with JPEG tiles, tissue at 400 to 1200, 200 to 700; cells of 128 um."""
    return tiny_overview(tiny_slide, slide="wide")


@pytest.fixture(scope="session")
def weights(comparison_agent: Agent, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The agent as a file."""
    path = tmp_path_factory.mktemp("weights") / "model.keras"
    comparison_agent.save(path)
    return path
