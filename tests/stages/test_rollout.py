import dataclasses
from collections.abc import Callable, Generator, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from foveate.attention.agent import Agent
from foveate.config import Config
from foveate.slides.overview_file import StoredOverview
from foveate.slides.sensor import GlimpseSensor
from foveate.stages.augment import Variety, variety
from foveate.stages.batch import Batch, common_shape, make_batch, tissue_cells
from foveate.stages.looks import WHERE_UM
from foveate.stages.rollout import Roller, side_by_side
from foveate.stages.train import make_agent

PX, SCALES = 64, (4.0, 32.0)
Spoil = Callable[[StoredOverview], StoredOverview]
CELLS = {(row, column) for row in (2, 3) for column in (3, 4, 5)}  # of the slide `small`


@pytest.fixture(scope="module")
def agent(tiny_config: Config) -> Agent:
    glimpse = dataclasses.replace(tiny_config.glimpse, px=PX, scales_mpp=SCALES)
    return make_agent(dataclasses.replace(tiny_config, glimpse=glimpse), [0.25] * 4)


@pytest.fixture(scope="module")
def sensor() -> Iterator[GlimpseSensor]:
    with GlimpseSensor(SCALES, PX, threads=2) as made:
        yield made


@pytest.fixture(scope="module")
def roller(agent: Agent, sensor: GlimpseSensor) -> Roller:
    return Roller(agent, sensor, "greedy")


@pytest.fixture
def stopping(tiny_config: Config) -> Agent:
    """An agent with a stop network, which looks as `agent` does and begins with one logit for any state."""
    glimpse = dataclasses.replace(tiny_config.glimpse, px=PX, scales_mpp=SCALES)
    train = dataclasses.replace(tiny_config.train, price=0.1)
    return make_agent(dataclasses.replace(tiny_config, glimpse=glimpse, train=train), [0.25] * 4)


def lean(agent: Agent, logit: float) -> None:
    """Let the stop network say `logit` in every state."""
    agent.stop_network.logit.set_weights([np.zeros((64, 1)), np.array([logit])])


def batch_of(*overviews: StoredOverview, orientation: Any = None) -> Batch:
    shape = common_shape(overviews, 0.25)
    side = max(shape.rows, shape.columns)
    return make_batch(overviews, shape._replace(rows=side, columns=side), 0.25, orientation)


def cells_of(overview: StoredOverview, location_um: np.ndarray) -> list[tuple[int, int]]:
    """(row, column) of the cells that (n, 2) places (x, y) lie in."""
    columns, rows = np.floor((location_um - overview.origin_um) / overview.cell_um).astype(int).T
    return list(zip(rows.tolist(), columns.tolist(), strict=True))


@pytest.fixture(scope="module")
def small(wide: StoredOverview) -> StoredOverview:
    """The wide slide with six tissue cells."""
    shares = np.zeros_like(wide.cell_tissue)
    for cell in CELLS:
        shares[cell] = 1
    return dataclasses.replace(wide, cell_tissue=shares)


@pytest.mark.parametrize("how", ["greedy", "sampled", "random"])
def test_no_cell_is_seen_twice_while_others_are_left(
    agent: Agent, sensor: GlimpseSensor, wide: StoredOverview, small: StoredOverview, how: str
) -> None:
    made = Roller(agent, sensor, how).run(batch_of(wide, small), 8, np.random.default_rng(0))
    assert len(set(made.choice[0].tolist())) == 8
    places = cells_of(small, made.location_um[1])
    assert set(places[:6]) == CELLS  # six cells; then anew
    assert len(set(places[6:])) == 2
    assert set(places[6:]) <= CELLS
    assert made.errors == {}


@pytest.mark.parametrize("how", ["greedy", "salience", "spread"])
@pytest.mark.parametrize("copies", [1, 2])
def test_a_shortlist_that_holds_all_that_was_chosen_changes_nothing(
    agent: Agent, sensor: GlimpseSensor, wide: StoredOverview, small: StoredOverview, how: str, copies: int
) -> None:
    batch = batch_of(wide, small)
    whole = Roller(agent, sensor, how, copies, attention=True).run(batch, 5)
    assert whole.attention is not None
    count = batch.candidates.shape[1] - 1
    made = Roller(agent, sensor, how, copies, attention=True, shortlist=count).run(batch, 5)
    assert made.attention is not None
    np.testing.assert_array_equal(made.choice, whole.choice)
    np.testing.assert_array_equal(made.location_um, whole.location_um)
    np.testing.assert_array_equal(made.pixels, whole.pixels)
    np.testing.assert_allclose(made.logits, whole.logits, atol=1e-5)
    np.testing.assert_allclose(made.attention, whole.attention, atol=0.02)


def test_a_shortlist_is_what_the_policy_ranks_first(
    agent: Agent, sensor: GlimpseSensor, wide: StoredOverview, small: StoredOverview
) -> None:
    batch = batch_of(wide, small)
    ranked = Roller(agent, sensor, "salience").run(batch, 4)
    made = Roller(agent, sensor, "greedy", attention=True, shortlist=4).run(batch, 4)
    assert made.attention is not None
    for row in range(2):
        assert set(made.choice[row].tolist()) == set(ranked.choice[row].tolist())
        assert set(np.flatnonzero(made.attention[row])) == set(ranked.choice[row].tolist())
    drawn = Roller(agent, sensor, "random", attention=True, shortlist=4).run(batch, 4, np.random.default_rng(0))
    assert drawn.attention is not None
    assert (drawn.attention[0] > 0).sum() > 4


@pytest.mark.parametrize("how", ["greedy", "spread", "random"])
def test_a_prediction_is_the_same_whatever_is_beside_it(
    agent: Agent, sensor: GlimpseSensor, wide: StoredOverview, tall: StoredOverview, how: str
) -> None:
    roller, steps = Roller(agent, sensor, how, attention=True, shortlist=4096), 5
    wide = dataclasses.replace(wide, cell_tissue=np.ones_like(wide.cell_tissue))  # up to the edge of its own grid
    together = roller.run(batch_of(wide, tall), steps, np.random.default_rng(0))
    chances = np.random.default_rng(0).random((steps, 2))
    for row, overview in enumerate((wide, tall)):
        alone = roller.run(batch_of(overview), steps, SimpleNamespace(random=lambda _, row=row: chances[:, [row]]))
        for name in ("choice", "location_um", "pixels"):
            np.testing.assert_array_equal(getattr(together, name)[row], getattr(alone, name)[0])
        np.testing.assert_allclose(together.logits[row], alone.logits[0], atol=1e-4)
        np.testing.assert_allclose(together.probability[row], alone.probability[0], rtol=1e-5)
        count = alone.attention.shape[1]
        np.testing.assert_allclose(together.attention[row, :count], alone.attention[0], rtol=1e-5)
        assert not together.attention[row, count:].any()


def test_what_a_rollout_records(roller: Roller, wide: StoredOverview, small: StoredOverview) -> None:
    batch = batch_of(wide, small)
    made = roller.run(batch, 3)
    assert (made.location_um.shape, made.where.shape, made.choice.shape) == ((2, 3, 2), (2, 3, 2), (2, 3))
    assert (made.logits.shape, made.pixels.shape, made.probability.shape) == ((2, 3, 4), (2, 3, 2, PX, PX, 3), (2, 3))
    for row, overview in enumerate((wide, small)):
        places = [tuple(np.argwhere(tissue_cells(overview, 0.25))[c].tolist()) for c in made.choice[row]]
        assert cells_of(overview, made.location_um[row]) == places
        assert all(overview.cell_tissue[place] >= 0.25 for place in places)
        middles = [((column + 0.5) * 128, (r + 0.5) * 128) for r, column in places]
        np.testing.assert_allclose(made.location_um[row], middles)
        np.testing.assert_allclose(made.where[row] * WHERE_UM, made.location_um[row] - [1024, 768], rtol=1e-4)


def test_variety_shifts_stains_and_turns(roller: Roller, wide: StoredOverview, small: StoredOverview) -> None:
    exponents = np.array([[1.0, 1.0, 1.0], [0.5, 1.0, 2.0]])
    change = Variety(exponents, np.array([0, 5]), np.array([[0.0, 0.0], [-0.4, 0.3]]))
    made = roller.run(batch_of(wide, small, orientation=change.orientation), 6, None, change)
    assert set(cells_of(small, made.location_um[1])) == CELLS  # the same cells, from a turned overview
    np.testing.assert_allclose(made.location_um[0] / 128 % 1, 0.5)
    np.testing.assert_allclose(made.location_um[1] / 128 % 1, [[0.8, 0.1]] * 6, atol=1e-4)
    for row, overview in enumerate((wide, small)):
        vectors = made.location_um[row] - [1024, 768]
        expected = vectors if row == 0 else np.stack([vectors[:, 1], vectors[:, 0]], 1)  # mirrored, then a quarter
        np.testing.assert_allclose(made.where[row] * WHERE_UM, expected, rtol=1e-4, atol=1e-2)
        # it is read where the record says, and is stained and turned all over the rollout in the same way
        with GlimpseSensor(SCALES, PX, threads=1) as sensor:
            plain = sensor.read([overview] * 6, made.location_um[row]).pixels
        plain = plain if row == 0 else np.rot90(plain[:, :, :, ::-1], axes=(2, 3))
        np.testing.assert_allclose(made.pixels[row], 255 * (plain / 255) ** exponents[row], atol=0.51)


def test_copies_share_what_they_read(
    agent: Agent, sensor: GlimpseSensor, wide: StoredOverview, small: StoredOverview, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    start = sensor.start

    def counted(overviews: Any, locations: Any, out: Any = None, **options: Any) -> Any:
        asked.append([o.slide for o in overviews])
        return start(overviews, locations, out)

    with monkeypatch.context() as patch:
        patch.setattr(sensor, "start", counted)
        made = Roller(agent, sensor, "random", copies=8).run(batch_of(wide, small), 2, np.random.default_rng(0))
    assert made.pixels.shape == (16, 2, 2, PX, PX, 3)
    for t, slides in enumerate(asked):
        distinct = {(row // 8, tuple(place)) for row, place in enumerate(made.location_um[:, t].tolist())}
        assert len(slides) == len(distinct) < 16
    for row, overview in enumerate([wide] * 8 + [small] * 8):
        np.testing.assert_array_equal(made.pixels[row], sensor.read([overview] * 2, made.location_um[row]).pixels)


def test_the_probability_is_the_policy_s(
    agent: Agent, sensor: GlimpseSensor, wide: StoredOverview, small: StoredOverview
) -> None:
    batch = batch_of(wide, small)
    made = Roller(agent, sensor, "random").run(batch, 3, np.random.default_rng(0))
    x = {"overview": batch.image, "tissue": batch.tissue, "candidates": batch.candidates}
    replay = agent({**x, "pixels": made.pixels, "where": made.where, "choice": made.choice})
    log_p = replay["log_p"].numpy()
    np.testing.assert_allclose(np.exp(log_p).sum(-1), 1, rtol=1e-4)
    for row in range(2):
        expected = np.exp(log_p[row, np.arange(3), made.choice[row]])
        np.testing.assert_allclose(made.probability[row], expected, rtol=1e-3)


def test_rows_and_columns_are_not_mixed_up(agent: Agent, sensor: GlimpseSensor, wide: Any, exact_slide: Any) -> None:
    # cell (2, 5): its middle is at (704, 320) um; the marker is at 640 to 672, 320 to 352
    shares = np.zeros_like(wide.cell_tissue)
    shares[2, 5] = 1
    made = Roller(agent, sensor, "greedy").run(batch_of(dataclasses.replace(wide, cell_tissue=shares)), 1)
    np.testing.assert_array_equal(made.location_um[:, 0], [[704, 320]])
    green = (made.pixels[0, 0, 0].astype(int) - exact_slide.marker_rgb == 0).all(-1)
    rows, columns = np.nonzero(green)  # at 4 um/px, the middle at (32, 32)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (32, 39, 16, 23)
    assert green.sum() == 64


def test_a_scanned_area_that_begins_elsewhere(roller: Roller, wide: StoredOverview, small: StoredOverview) -> None:
    shares = np.zeros_like(wide.cell_tissue)
    shares[2, 5] = 1
    one = dataclasses.replace(wide, cell_tissue=shares)
    moved = dataclasses.replace(one, origin_um=(1000.0, 3000.0))
    made = roller.run(batch_of(moved, one), 1)
    np.testing.assert_array_equal(made.location_um[:, 0], [[1704, 3320], [704, 320]])
    # where the model is told to be is relative to the overview's middle
    np.testing.assert_allclose(made.where[:, 0] * WHERE_UM, [[704 - 1024, 320 - 768]] * 2, rtol=1e-5)


def test_slides_of_different_sizes_share_a_grid(roller: Roller, wide: StoredOverview, tall: StoredOverview) -> None:
    batch = batch_of(wide, tall)
    made = roller.run(batch, 4)
    for row, overview in enumerate((wide, tall)):
        places = [tuple(np.argwhere(tissue_cells(overview, 0.25))[c].tolist()) for c in made.choice[row]]
        assert cells_of(overview, made.location_um[row]) == places
        assert all(overview.cell_tissue[place] >= 0.25 for place in places)
        height, width = overview.thumbnail.shape[:2]
        middle = np.array([width, height]) * 16 / 2
        np.testing.assert_allclose(made.where[row] * WHERE_UM, made.location_um[row] - middle, rtol=1e-4)


def test_a_slide_that_cannot_be_read_says_so_and_spoils_no_other(
    agent: Agent, sensor: GlimpseSensor, wide: StoredOverview, spoilt: Spoil
) -> None:
    bad = spoilt(wide)
    roller = Roller(agent, sensor, "greedy", copies=2)
    good, made = (roller.run(batch_of(wide, other), 2) for other in (wide, bad))
    assert list(made.errors) == [1]
    assert made.errors[1].slide == "bad"
    assert "cannot read" in made.errors[1].reason
    for name in ("location_um", "choice", "pixels", "logits", "probability"):
        np.testing.assert_array_equal(getattr(made, name)[:2], getattr(good, name)[:2])
    assert made.logits.shape == (4, 2, 4)


def test_a_rollout_is_what_training_replays(agent: Agent, sensor: GlimpseSensor, wide: Any, small: Any) -> None:
    change = variety(2, np.random.default_rng(2))
    batch = batch_of(wide, small, orientation=change.orientation)
    made = Roller(agent, sensor, "sampled", copies=3).run(batch, 8, np.random.default_rng(1), change)
    x = {"overview": batch.image, "tissue": batch.tissue, "candidates": batch.candidates}
    replay = agent({**x, "pixels": made.pixels, "where": made.where, "choice": made.choice})
    np.testing.assert_allclose(replay["logits"].numpy(), made.logits, atol=1e-5)
    np.testing.assert_allclose(np.exp(replay["log_pi"].numpy()), made.probability, rtol=1e-4)


def counting(name: str, count: int, said: list[str]) -> Generator[None, None, str]:
    for k in range(count):
        said.append(f"{name}{k}")
        yield
    return name


def test_works_take_turns_two_at_a_time_and_end_in_order() -> None:
    said: list[str] = []
    ends = list(side_by_side(counting(name, count, said) for name, count in (("a", 3), ("b", 1), ("c", 2), ("d", 0))))
    assert ends == ["a", "b", "c", "d"]
    assert said == ["a0", "b0", "a1", "a2", "c0", "c1"]


def test_rollouts_side_by_side_are_those_of_one_after_the_other(
    agent: Agent, sensor: GlimpseSensor, wide: StoredOverview, small: StoredOverview
) -> None:
    roller = Roller(agent, sensor, "sampled")
    out = np.zeros((2, 4, 2, PX, PX, 3), np.uint8)
    alone = [roller.run(batch_of(one), 4, np.random.default_rng(k)) for k, one in enumerate((wide, small))]
    work = [
        roller.turns(batch_of(one), 4, np.random.default_rng(k), out=out[k : k + 1])
        for k, one in enumerate((wide, small))
    ]
    for k, (a, b) in enumerate(zip(alone, side_by_side(work), strict=True)):
        for name in ("location_um", "choice", "pixels", "logits", "probability"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        np.testing.assert_array_equal(out[k], a.pixels[0])


RECORDED = ("looked", "location_um", "where", "choice", "probability", "logits", "pixels")


@pytest.mark.parametrize("how", ["greedy", "random"])
def test_a_rollout_that_stops_at_once_reads_no_more(
    stopping: Agent, sensor: GlimpseSensor, wide: Any, small: Any, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lean(stopping, 0.1)
    asked: list[int] = []
    start = sensor.start
    with monkeypatch.context() as patch:
        patch.setattr(
            sensor,
            "start",
            lambda overviews, *at, **options: (asked.append(len(overviews)), start(overviews, *at, **options))[1],
        )
        made = Roller(stopping, sensor, how, stop=True).run(batch_of(wide, small), 3, np.random.default_rng(0))
    assert asked == [2]
    assert made.looked.tolist() == [1, 1]
    whole = Roller(stopping, sensor, how).run(batch_of(wide, small), 3, np.random.default_rng(0))
    assert whole.looked.tolist() == [3, 3]
    for name in RECORDED[1:]:
        np.testing.assert_array_equal(getattr(made, name)[:, 0], getattr(whole, name)[:, 0])
    assert np.isnan(made.location_um[:, 1:]).all()
    for name in ("where", "choice", "probability", "pixels"):
        assert getattr(made, name).shape == getattr(whole, name).shape
        assert not getattr(made, name)[:, 1:].any()
    np.testing.assert_array_equal(made.logits, whole.logits[:, :1].repeat(3, axis=1))


@pytest.mark.parametrize("how", ["greedy", "random"])
def test_one_that_never_stops_is_the_one_without(
    stopping: Agent, sensor: GlimpseSensor, wide: Any, small: Any, how: str
) -> None:
    lean(stopping, -0.1)
    made, plain = (
        Roller(stopping, sensor, how, copies=2, stop=stop).run(batch_of(wide, small), 4, np.random.default_rng(0))
        for stop in (True, False)
    )
    for name in RECORDED:
        np.testing.assert_array_equal(getattr(made, name), getattr(plain, name))
    for name in plain.seen:
        np.testing.assert_array_equal(made.seen[name], plain.seen[name])


def test_an_agent_without_a_stop_network_never_stops(agent: Agent, sensor: GlimpseSensor, wide: Any) -> None:
    assert Roller(agent, sensor, "greedy", stop=True).run(batch_of(wide), 2).looked.tolist() == [2]


def test_each_rollout_stops_by_itself(stopping: Agent, sensor: GlimpseSensor, wide: Any, small: Any) -> None:
    rng = np.random.default_rng(5)
    for layer in (stopping.stop_network.logit, stopping.core, stopping.action_network):
        layer.set_weights([w + rng.normal(size=w.shape) for w in layer.get_weights()])
    for layer in (stopping.stop_network.inner, stopping.stop_network.logit):  # the more evidence, the sooner
        layer.kernel.assign(abs(layer.kernel))
    batch = batch_of(wide, small)
    whole = Roller(stopping, sensor, "random", copies=4).run(batch, 5, np.random.default_rng(0))
    x = {"overview": batch.image, "tissue": batch.tissue, "candidates": batch.candidates}
    x |= {name: getattr(whole, name) for name in ("pixels", "where", "choice")}
    strongest = stopping(x)["strongest"]
    stop = stopping.stop_network(strongest).numpy()[:, :-1]  # after the last there is nothing to decide
    bias = stopping.stop_network.logit.bias
    bias.assign_add([-np.quantile(stop, 0.6)])
    stop = stopping.stop_network(strongest).numpy()[:, :-1] > 0
    expected = np.where(stop.any(1), stop.argmax(1) + 1, 5)
    assert len(set(expected.tolist())) >= 3  # that says something
    made = Roller(stopping, sensor, "random", copies=4, stop=True).run(batch, 5, np.random.default_rng(0))
    np.testing.assert_array_equal(made.looked, expected)
    for row, count in enumerate(expected):
        for name in RECORDED[1:]:
            ours, theirs = (getattr(of, name)[row, :count] for of in (made, whole))
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
        assert (made.logits[row, count:] == made.logits[row, count - 1]).all()
        assert not made.pixels[row, count:].any()
