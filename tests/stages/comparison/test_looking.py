from collections.abc import Callable

import numpy as np
import pytest
from keras import ops

from foveate.attention.agent import Agent
from foveate.attention.steps import DRAWN
from foveate.slides.coverage import tissue_seen
from foveate.slides.overview_file import StoredOverview
from foveate.slides.sensor import GlimpseSensor
from foveate.stages.batch import common_shape, make_batch
from foveate.stages.comparison.looking import WAYS, Looker
from foveate.stages.rollout import Roller

pytestmark = pytest.mark.usefixtures("eager")
AFTER = [1, 3, 7]


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.mark.parametrize("way", WAYS)
def test_one_rollout_gives_the_answers_after_each_number(
    comparison_agent: Agent, wide: StoredOverview, way: str
) -> None:
    looker = Looker(comparison_agent, 2, AFTER, 2, 0.25)
    with looker.sensor:
        found = looker.look(way, [wide, wide], rng())
    rollouts = 2 if way in DRAWN else 1
    assert found.probabilities.shape == (2, rollouts, 3, 4)
    batch, draws = make_batch([wide, wide], common_shape([wide], 0.25), 0.25), rng()
    with GlimpseSensor((4.0, 32.0), 16, 1, comparison_agent.settings["stain_od"]) as sensor:
        roller = Roller(comparison_agent, sensor, WAYS[way])
        for r in range(rollouts):
            made = roller.run(batch, AFTER[-1], draws)
            for k, count in enumerate(AFTER):
                p = ops.convert_to_numpy(comparison_agent.probabilities(made.logits[:, count - 1]))
                np.testing.assert_allclose(found.probabilities[:, r, k], p, atol=1e-6)
                seen = [tissue_seen(wide, made.location_um[row, :count], 64.0, [count])[0] for row in (0, 1)]
                np.testing.assert_allclose(found.tissue[:, r, k], seen)
    assert (np.diff(found.tissue, axis=-1) > 0).all()


def test_drawn_rollouts_differ_and_a_slide_s_cost_is_its_part_of_the_batch(
    comparison_agent: Agent, wide: StoredOverview
) -> None:
    looker = Looker(comparison_agent, 1, AFTER, 2, 0.25)
    with looker.sensor:
        found, again = (looker.look("random", [wide, wide], rng()) for _ in range(2))
        alone = looker.look("learned", [wide], rng())
    assert np.abs(np.diff(found.probabilities, axis=1)).max() > 0
    np.testing.assert_array_equal(found.probabilities, again.probabilities)
    np.testing.assert_array_equal(found.costs[..., 2], again.costs[..., 2])  # caches are cold each time
    np.testing.assert_array_equal(found.costs[0], found.costs[1])
    assert (np.diff(found.costs, axis=2)[..., :2] > 0).all()
    # squares of 16 px of the level of 4 um/px, until a tile is decoded whole; the first glimpse never is
    assert alone.costs[0, 0, 0, 2] == 16 * 16
    assert alone.costs[0, 0, 2, 2] <= 7 * 16 * 16 + 256 * 256


def test_a_slide_that_cannot_be_read_is_left_out(
    comparison_agent: Agent, wide: StoredOverview, spoilt: Callable[[StoredOverview], StoredOverview]
) -> None:
    looker = Looker(comparison_agent, 2, AFTER, 2, 0.25)
    with looker.sensor:
        found = looker.look("random", [spoilt(wide), wide], rng())
    assert found.slides == ["wide"]
    assert list(found.errors) == ["bad"]
    assert found.probabilities.shape == (1, 2, 3, 4)
