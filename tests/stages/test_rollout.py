import dataclasses
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foveate.attention.agent import Agent
from foveate.config import Config
from foveate.slides.overview_file import StoredOverview
from foveate.slides.sensor import GlimpseSensor
from foveate.stages.augment import Variety, variety
from foveate.stages.rollout import (
    WHERE_UM,
    Roller,
    greedy,
    grid_shape,
    make_batch,
    sampled,
    tissue_cells,
    uniform,
)
from foveate.stages.train import make_agent

PX, SCALES = 64, (4.0, 32.0)
CELLS = {(row, column) for row in (2, 3) for column in (3, 4, 5)}  # of the slide `small`


@pytest.fixture(scope="module")
def agent(tiny_config: Config) -> Agent:
    glimpse = dataclasses.replace(tiny_config.glimpse, px=PX, scales_mpp=SCALES)
    return make_agent(dataclasses.replace(tiny_config, glimpse=glimpse), [0.25] * 4)


@pytest.fixture(scope="module")
def roller(agent: Agent) -> Iterator[Roller]:
    with GlimpseSensor(SCALES, PX, threads=2) as sensor:
        yield Roller(agent, sensor)


@pytest.fixture(scope="module")
def wide(tiny_overview: Callable[..., StoredOverview], exact_slide: Any) -> StoredOverview:
    """2048 x 1536 um, tissue at 400 to 1200, 200 to 700; 12 x 16 cells."""
    return tiny_overview(exact_slide, slide="wide")


@pytest.fixture(scope="module")
def tall(
    tiny_overview: Callable[..., StoredOverview],
    make_slide: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> StoredOverview:
    """768 x 2200 um, tissue at 300 to 650, 250 to 1000; 18 x 6 cells, so another grid."""
    folder = tmp_path_factory.mktemp("tall")
    return tiny_overview(
        make_slide(folder / "tall.tif", size=(768, 2200), tissue_um=(300, 250, 650, 1000)), slide="tall"
    )


def cells_of(overview: StoredOverview, location_um: np.ndarray) -> list[tuple[int, int]]:
    """(row, column) of the cells that (n, 2) places (x, y) lie in."""
    columns, rows = np.floor((location_um - overview.origin_um) / overview.cell_um).astype(int).T
    return list(zip(rows.tolist(), columns.tolist(), strict=True))


def always(*cells: int) -> Any:
    """A chooser of the same cell of each row, whatever the policy says."""
    return lambda log_p, allowed: np.array(cells)


def test_the_greedy_choice_is_the_likeliest() -> None:
    log_p = np.log(np.array([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]], np.float32))
    assert greedy(log_p, np.ones((2, 3), bool)).tolist() == [1, 0]


def test_sampled_choices_follow_the_policy() -> None:
    p = np.array([0.5, 0.3, 0.2, 1e-12])
    log_p = np.log(np.tile(p, (4000, 1))).astype(np.float32)
    log_p[:, 3] = -1e9
    drawn = sampled(np.random.default_rng(0))(log_p, np.ones(log_p.shape, bool))
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / 4000, p, atol=0.025)
    again = sampled(np.random.default_rng(0))(log_p, np.ones(log_p.shape, bool))
    np.testing.assert_array_equal(drawn, again)


def test_uniform_choices_ignore_the_policy_and_stay_on_allowed_cells() -> None:
    allowed = np.tile([True, False, True, True, False], (3000, 1))
    allowed[1500:, 0] = False
    log_p = np.tile(np.array([-9, 0, -1, -20, -1], np.float32), (3000, 1))
    drawn = uniform(np.random.default_rng(0))(log_p, allowed)
    np.testing.assert_allclose(np.bincount(drawn[:1500], minlength=5) / 1500, [1 / 3, 0, 1 / 3, 1 / 3, 0], atol=0.04)
    np.testing.assert_allclose(np.bincount(drawn[1500:], minlength=5) / 1500, [0, 0, 1 / 2, 1 / 2, 0], atol=0.04)


def test_cells_of_enough_tissue(wide: StoredOverview) -> None:
    shares = np.array([[0.0, 0.24], [0.25, 1.0]], np.float32)
    some = dataclasses.replace(wide, cell_tissue=shares)
    np.testing.assert_array_equal(tissue_cells(some, 0.25), [[False, False], [True, True]])
    # none has that much: the fullest ones
    little = dataclasses.replace(wide, cell_tissue=np.array([[0.0, 0.125], [0.0625, 0.125]], np.float32))
    np.testing.assert_array_equal(tissue_cells(little, 0.25), [[False, True], [False, True]])


def test_the_grid_holds_every_overview_in_steps_of_sixteen(wide: StoredOverview) -> None:
    def of(rows: int, columns: int) -> StoredOverview:
        return dataclasses.replace(wide, cell_tissue=np.zeros((rows, columns), np.float32))

    assert grid_shape([of(1, 1)]) == (16, 16)
    assert grid_shape([of(16, 17)]) == (16, 32)
    assert grid_shape([of(40, 3), of(12, 16), of(3, 33)]) == (48, 48)


def test_a_batch_is_padded_with_glass(wide: StoredOverview, tall: StoredOverview) -> None:
    tinted = dataclasses.replace(tall, background_rgb=(10, 20, 30))
    batch = make_batch([wide, tinted], (32, 16), 0.25)
    assert (batch.image.shape, batch.tissue.shape) == ((2, 256, 128, 3), (2, 32, 16))
    for row, overview in enumerate((wide, tinted)):
        height, width = overview.thumbnail.shape[:2]
        np.testing.assert_array_equal(batch.image[row, :height, :width], overview.thumbnail)
        assert (batch.image[row, height:] == overview.background_rgb).all()
        assert (batch.image[row, :, width:] == overview.background_rgb).all()
        cells = tissue_cells(overview, 0.25)
        np.testing.assert_array_equal(batch.tissue[row, : cells.shape[0], : cells.shape[1]], cells)
        assert batch.tissue[row].sum() == cells.sum()


@pytest.fixture(scope="module")
def small(wide: StoredOverview) -> StoredOverview:
    """The wide slide with six tissue cells."""
    shares = np.zeros_like(wide.cell_tissue)
    for cell in CELLS:
        shares[cell] = 1
    return dataclasses.replace(wide, cell_tissue=shares)


@pytest.mark.parametrize("how", ["greedy", "sampled", "uniform"])
def test_no_cell_is_seen_twice_while_others_are_left(
    roller: Roller, wide: StoredOverview, small: StoredOverview, how: str
) -> None:
    rng = np.random.default_rng(0)
    choose = {"greedy": greedy, "sampled": sampled(rng), "uniform": uniform(rng)}[how]
    made = roller.run(make_batch([wide, small], (16, 16), 0.25), 8, choose)
    assert len(set(made.cell[0].tolist())) == 8
    places = cells_of(small, made.location_um[1])
    assert set(places[:6]) == CELLS  # six cells; then anew
    assert len(set(places[6:])) == 2
    assert set(places[6:]) <= CELLS
    assert made.errors == {}


def test_what_a_rollout_records(roller: Roller, wide: StoredOverview, small: StoredOverview) -> None:
    made = roller.run(make_batch([wide, small], (16, 16), 0.25), 3, greedy)
    assert (made.location_um.shape, made.where.shape, made.cell.shape) == ((2, 3, 2), (2, 3, 2), (2, 3))
    assert (made.logits.shape, made.pixels.shape, made.probability.shape) == ((2, 3, 4), (2, 3, 2, PX, PX, 3), (2, 3))
    for row, overview in enumerate((wide, small)):
        places = [divmod(c, 16) for c in made.cell[row].tolist()]
        assert cells_of(overview, made.location_um[row]) == places
        assert all(overview.cell_tissue[place] >= 0.25 for place in places)
        middles = [((column + 0.5) * 128, (r + 0.5) * 128) for r, column in places]
        np.testing.assert_allclose(made.location_um[row], middles)
        np.testing.assert_allclose(made.where[row] * WHERE_UM, made.location_um[row] - [1024, 768], rtol=1e-4)


def test_variety_moves_stains_and_mirrors(roller: Roller, wide: StoredOverview, small: StoredOverview) -> None:
    exponents = np.array([[1.0, 1.0, 1.0], [0.5, 1.0, 2.0]])
    change = Variety(exponents, np.array([[1, 1], [-1, 1]]), np.random.default_rng(0))
    made = roller.run(make_batch([wide, small], (16, 16), 0.25), 6, greedy, change)
    offsets = []
    for row, overview in enumerate((wide, small)):
        # each glimpse lies anywhere in its cell
        assert cells_of(overview, made.location_um[row]) == [divmod(c, 16) for c in made.cell[row].tolist()]
        offsets.append(made.location_um[row] / 128 % 1)
        moved = (made.location_um[row] - [1024, 768]) * change.mirror[row]
        np.testing.assert_allclose(made.where[row] * WHERE_UM, moved, rtol=1e-4, atol=1e-2)
        # it is read where the record says, and is stained all over the rollout in the same way
        with GlimpseSensor(SCALES, PX, threads=1) as sensor:
            plain = sensor.read([overview] * 6, made.location_um[row]).pixels
        expected = 255 * (plain / 255) ** exponents[row]
        np.testing.assert_allclose(made.pixels[row], expected, atol=0.51)
    assert np.concatenate(offsets).min(0).max() < 0.25
    assert np.concatenate(offsets).max(0).min() > 0.75


def test_the_probability_is_the_policy_s(roller: Roller, wide: StoredOverview, small: StoredOverview) -> None:
    seen: list[np.ndarray] = []

    def choose(log_p: np.ndarray, allowed: np.ndarray) -> np.ndarray:
        seen.append(log_p)
        return np.where(allowed, log_p, np.inf).argmin(1)  # the least likely one

    made = roller.run(make_batch([wide, small], (16, 16), 0.25), 3, choose)
    for t, log_p in enumerate(seen):
        np.testing.assert_allclose(made.probability[:, t], np.exp(log_p[[0, 1], made.cell[:, t]]), rtol=1e-6)
        np.testing.assert_allclose(np.exp(log_p).sum(1), 1, rtol=1e-5)
    assert (made.probability[1] < 0.9).sum() == 3


def test_rows_and_columns_are_not_mixed_up(roller: Roller, wide: StoredOverview, exact_slide: Any) -> None:
    # cell (2, 5) of 16 columns: its middle is at (704, 320) um; the marker is at 640 to 672, 320 to 352
    made = roller.run(make_batch([wide, wide], (16, 16), 0.25), 1, always(2 * 16 + 5, 2 * 16 + 6))
    np.testing.assert_array_equal(made.location_um[:, 0], [[704, 320], [832, 320]])
    green = (made.pixels[0, 0, 0].astype(int) - exact_slide.marker_rgb == 0).all(-1)
    rows, columns = np.nonzero(green)  # at 4 um/px, the middle at (32, 32)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (32, 39, 16, 23)
    assert green.sum() == 64


def test_a_scanned_area_that_begins_elsewhere(roller: Roller, wide: StoredOverview, small: StoredOverview) -> None:
    moved = dataclasses.replace(wide, origin_um=(1000.0, 3000.0))
    made = roller.run(make_batch([moved, small], (16, 16), 0.25), 1, always(2 * 16 + 5, 2 * 16 + 5))
    np.testing.assert_array_equal(made.location_um[:, 0], [[1704, 3320], [704, 320]])
    # where the model is told to be is relative to the overview's middle
    np.testing.assert_allclose(made.where[:, 0] * WHERE_UM, [[704 - 1024, 320 - 768]] * 2, rtol=1e-5)


def test_slides_of_different_sizes_share_a_grid(roller: Roller, wide: StoredOverview, tall: StoredOverview) -> None:
    made = roller.run(make_batch([wide, tall], grid_shape([wide, tall]), 0.25), 4, greedy)
    for row, overview in enumerate((wide, tall)):
        places = [divmod(c, 16) for c in made.cell[row].tolist()]
        assert cells_of(overview, made.location_um[row]) == places
        assert all(overview.cell_tissue[place] >= 0.25 for place in places)
        height, width = overview.thumbnail.shape[:2]
        middle = np.array([width, height]) * 16 / 2
        np.testing.assert_allclose(made.where[row] * WHERE_UM, made.location_um[row] - middle, rtol=1e-4)


def test_a_row_that_cannot_be_read_says_so_and_spoils_no_other(
    roller: Roller, wide: StoredOverview, spoil_tile: Callable[..., None], tmp_path: Path
) -> None:
    path = tmp_path / "bad.tif"
    shutil.copy(wide.path, path)
    for tile in range(4):
        spoil_tile(path, tile, absent=False, page=1)  # the level of 4 um/px
    bad = dataclasses.replace(wide, slide="bad", path=path)
    good = roller.run(make_batch([wide, wide], (16, 16), 0.25), 2, greedy)
    made = roller.run(make_batch([wide, bad], (16, 16), 0.25), 2, greedy)
    assert list(made.errors) == [1]
    assert made.errors[1].slide == "bad"
    assert "cannot read" in made.errors[1].reason
    for name in ("location_um", "cell", "pixels", "logits", "probability"):
        np.testing.assert_array_equal(getattr(made, name)[0], getattr(good, name)[0])
    assert made.logits.shape == (2, 2, 4)


def test_a_rollout_is_what_training_replays(agent: Agent, roller: Roller, wide: StoredOverview, small: Any) -> None:
    batch = make_batch([wide, small], (16, 16), 0.25)
    made = roller.run(batch, 8, sampled(np.random.default_rng(1)), variety(2, np.random.default_rng(2)))
    x = {"overview": batch.image, "tissue": batch.tissue, "pixels": made.pixels, "where": made.where}
    replay = agent({**x, "cell": made.cell})
    np.testing.assert_allclose(replay["logits"].numpy(), made.logits, atol=1e-5)
    np.testing.assert_allclose(np.exp(replay["log_pi"].numpy()), made.probability, rtol=1e-4)
