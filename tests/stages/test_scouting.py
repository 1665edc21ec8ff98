import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from foveate.attention.agent import Agent
from foveate.config import Config
from foveate.slides.overview_file import StoredOverview
from foveate.slides.sensor import GlimpseSensor
from foveate.stages.augment import Variety
from foveate.stages.batch import Batch, common_shape, make_batch
from foveate.stages.patient_rollout import PatientRoller, patient_batch
from foveate.stages.rollout import Roller, side_by_side
from foveate.stages.scouting import covering, laid_out
from foveate.stages.train import make_agent, make_patient_agent

SCALES, PX = (4.0, 32.0), 16


def test_squares_cover_what_ranks_first() -> None:
    places = np.array([(0, 0), (0, 1), (0, 2), (5, 5), (9, 9)])
    rank = np.array([-1.0, -2.0, -3.0, -2.5, -np.inf])
    # the first covers its neighbour but not the third; what does not count is never chosen
    assert covering(rank, places, reach=1, count=9).tolist() == [0, 3, 2]
    assert covering(rank, places, reach=2, count=9).tolist() == [0, 3]
    assert covering(rank, places, reach=1, count=2).tolist() == [0, 3]
    assert covering(np.full(5, -np.inf), places, reach=1, count=2).tolist() == []


def test_maps_are_laid_out_around_their_middles() -> None:
    maps = np.arange(18, dtype=np.float32).reshape(2, 3, 3)
    places = np.array([(4, 4), (3, 5), (5, 5), (4, 6), (6, 6), (0, 0)])
    found = laid_out(maps, np.array([(4, 4), (4, 6)]), places)
    # both show column 5: (3, 5) is the first's 0, 2 and the second's 0, 0
    np.testing.assert_array_equal(found, [4, (2 + 9) / 2, (8 + 15) / 2, 13, 0, 0])


def test_nothing_seen_is_no_evidence() -> None:
    none = np.zeros((0, 3, 3), np.float32)
    np.testing.assert_array_equal(laid_out(none, np.zeros((0, 2)), np.zeros((2, 2))), [0, 0])


@pytest.fixture(scope="module")
def agent(tiny_config: Config) -> Agent:
    scout = dataclasses.replace(tiny_config.scout, count=3, mpp=16.0, cells=3)
    return make_agent(dataclasses.replace(tiny_config, scout=scout), [0.25] * 4, scout=True)


@pytest.fixture(scope="module")
def sensor() -> Iterator[GlimpseSensor]:
    with GlimpseSensor(SCALES, PX, threads=2) as made:
        yield made


def batch_of(*overviews: StoredOverview, orientation: Any = None) -> Batch:
    shape = common_shape(overviews, 0.25)
    side = max(shape.rows, shape.columns)
    return make_batch(overviews, shape._replace(rows=side, columns=side), 0.25, orientation)


class DarkestRed:
    """In place of a scout's network: how dark red is in each cell of the square."""

    def __init__(self) -> None:
        self.squares = 0

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        self.squares += len(pixels)
        cells = pixels[..., 0].reshape(len(pixels), 3, 8, 3, 8).mean((2, 4))
        return np.asarray(255 - cells, np.float32)


def scouted(roller: Any) -> DarkestRed:
    eye = DarkestRed()
    roller._scouting._see = eye
    return eye


@pytest.mark.parametrize("how", ["greedy", "salience", "spread"])
@pytest.mark.parametrize("shortlist", [None, 20])
def test_what_the_scout_saw_is_looked_at_first(
    agent: Agent, sensor: GlimpseSensor, wide: StoredOverview, how: str, shortlist: int | None
) -> None:
    batch = batch_of(wide)
    roller = Roller(agent, sensor, how, attention=True, shortlist=shortlist)
    plain = Roller(agent, sensor, how, attention=True, shortlist=shortlist).run(batch, 4)
    eye = scouted(roller)
    made = roller.run(batch, 4)
    assert eye.squares == 64  # one chunk, three of its squares mean something
    assert made.scouted_um is not None
    assert made.scouted_um.shape == (1, 3, 2)
    assert made.attention is not None
    assert plain.attention is not None
    assert not np.array_equal(made.choice, plain.choice) or not np.allclose(made.attention, plain.attention)
    salience = np.asarray(made.scene["salience"])[0]
    allowed = np.asarray(made.scene["open"])[0]
    ranked = np.flatnonzero(allowed)[np.argsort(-salience[allowed])]
    seen = salience > 50  # 255 - red of tissue is about 100; of the overview alone it is near 0
    assert 3 < seen.sum() <= 27
    assert set(ranked[: seen.sum()]) == set(np.flatnonzero(seen))


def test_places_at_random_need_no_scout(agent: Agent, sensor: GlimpseSensor, wide: StoredOverview) -> None:
    roller = Roller(agent, sensor, "random")
    assert roller._scouting is None
    assert PatientRoller(make_patient_agent(agent, [1.0] * 5), sensor, "random", 2)._scouting is None


@pytest.mark.parametrize("turn", range(8))
def test_evidence_is_turned_with_the_slide(
    agent: Agent, sensor: GlimpseSensor, wide: StoredOverview, turn: int
) -> None:
    roller, still = Roller(agent, sensor, "sampled"), Variety(np.ones((1, 3)), np.array([turn]), np.zeros((1, 2)))
    scouted(roller)
    batch = batch_of(wide, orientation=np.array([turn]))
    made = roller.run(batch, 1, np.random.default_rng(0), still)
    evidence = batch.on_grids(np.asarray(made.scene["salience"]))[0]
    rows, columns = wide.cell_tissue.shape
    darkness = 255 - wide.thumbnail[..., 0].reshape(rows, 8, columns, 8).mean((1, 3))
    seen = evidence > 50
    assert 3 < seen.sum() <= 27
    np.testing.assert_allclose(evidence[seen], darkness[seen], atol=3)


def test_copies_share_the_scout(agent: Agent, sensor: GlimpseSensor, wide: StoredOverview) -> None:
    roller = Roller(agent, sensor, "sampled", copies=4)
    scouted(roller)
    made = roller.run(batch_of(wide, wide), 2, np.random.default_rng(0))
    salience = np.asarray(made.scene["salience"])
    assert len(salience) == 2
    np.testing.assert_allclose(salience[0], salience[1], atol=1e-4)
    # it counts in the answers, and a replay, which has no scout, gives the same ones
    assert (np.asarray(made.scene["scouted"]) > 50).any()
    replayed = agent({"scene": made.scene, **made.seen, "where": made.where, "choice": made.choice})
    np.testing.assert_allclose(np.asarray(replayed["logits"]), made.logits, atol=1e-4)


def test_a_patient_s_slides_are_gone_over_as_on_their_own(
    agent: Agent, sensor: GlimpseSensor, wide: StoredOverview
) -> None:
    shape = common_shape([wide], 0.25)
    patients = PatientRoller(make_patient_agent(agent, [1.0] * 5), sensor, "greedy", 2)
    alone = Roller(agent, sensor, "greedy")
    for roller in (patients, alone):
        scouted(roller)
    batch = patient_batch([[wide, wide]], shape, 0.25, 2)
    made = alone.run(batch.slides, 2)
    (found,) = side_by_side([patients.turns(batch)])
    for slide in range(2):
        places = found.location_um[0][found.picked[0] == slide]
        np.testing.assert_array_equal(places, made.location_um[slide])


def test_what_fills_a_patient_up_is_not_gone_over(agent: Agent, sensor: GlimpseSensor, wide: StoredOverview) -> None:
    roller = PatientRoller(make_patient_agent(agent, [1.0] * 5), sensor, "greedy", 2)
    scouted(roller)
    batch = patient_batch([[wide]], common_shape([wide], 0.25), 0.25, 2)
    (found,) = side_by_side([roller.turns(batch, record=True)])
    assert np.any(found.record["scene"]["scouted"], axis=1).tolist() == [True, False]
