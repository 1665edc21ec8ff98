import numpy as np
import pytest
from keras import ops, utils

from foveate.attention.context import LEAST_SPREAD, REACH, ContextNetwork

ROWS, COLUMNS, CELL_PX, FEATURES = 9, 12, 8, 6
INSIDE = np.s_[: ROWS - REACH, : COLUMNS - REACH]  # out of reach of the edges where the convolutions are padded


@pytest.fixture(scope="module")
def network() -> ContextNetwork:
    utils.set_random_seed(0)
    made = ContextNetwork(FEATURES, CELL_PX)
    made.build((None, None, None, 3))
    return made


@pytest.fixture
def overview() -> np.ndarray:
    """Colours 64 to 127, different in every pixel and from cell to cell."""
    rng = np.random.default_rng(0)
    cells = rng.integers(0, 48, (1, ROWS, COLUMNS, 3)).repeat(CELL_PX, 1).repeat(CELL_PX, 2)
    return (64 + cells + rng.integers(0, 16, cells.shape)).astype(np.uint8)


@pytest.fixture
def tissue() -> np.ndarray:
    return np.ones((1, ROWS, COLUMNS), bool)


def every(tissue: np.ndarray) -> np.ndarray:
    """All cells of each slide as candidates."""
    return np.tile(np.arange(tissue[0].size, dtype=np.int32), (len(tissue), 1))


def look(network: ContextNetwork, overview: np.ndarray, tissue: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features (R, C, features) and salience (R, C) of one slide."""
    cells, salience = network(ops.array(overview), ops.array(tissue), ops.array(every(tissue)))
    assert (cells.shape, salience.shape) == ((1, tissue.size, FEATURES), (1, tissue.size))
    return np.asarray(cells).reshape(*tissue.shape[1:], FEATURES), np.asarray(salience).reshape(tissue.shape[1:])


@pytest.mark.parametrize(("row", "column"), [(1, 9), (7, 4), (0, 0), (8, 11)])
def test_a_block_changes_the_cells_around_it_and_no_others(
    network: ContextNetwork, overview: np.ndarray, tissue: np.ndarray, row: int, column: int
) -> None:
    tissue[0, row, column] = False  # so that the colours stay relative to the same cells
    before = look(network, overview, tissue)
    bright = overview.copy()
    bright[0, row * CELL_PX : (row + 1) * CELL_PX, column * CELL_PX : (column + 1) * CELL_PX] = 255
    after = look(network, bright, tissue)
    away = np.maximum(*np.abs(np.indices((ROWS, COLUMNS)) - np.array([row, column])[:, None, None]))
    change = np.abs(after[0] - before[0]).max(-1)
    assert (change[away <= 1] > 1e-3).all()
    np.testing.assert_allclose(change[away > REACH], 0, atol=1e-6)
    np.testing.assert_allclose((after[1] - before[1])[away > REACH], 0, atol=1e-6)


def test_cells_are_in_the_order_of_rows(network: ContextNetwork) -> None:
    # a column of bright cells in a plain picture: what is alike is a column, and not a row
    overview = np.full((1, ROWS * CELL_PX, COLUMNS * CELL_PX, 3), 100, np.uint8)
    overview[:, :, 3 * CELL_PX : 4 * CELL_PX] = 200
    cells, _ = look(network, overview, np.ones((1, ROWS, COLUMNS), bool))
    inner = cells[REACH:-REACH]
    np.testing.assert_allclose(inner, inner[:1].repeat(len(inner), 0), atol=1e-5)
    assert np.abs(inner[:, 3] - inner[:, 8]).max() > 1e-2


def test_a_tint_changes_nothing(network: ContextNetwork, overview: np.ndarray, tissue: np.ndarray) -> None:
    tinted = overview + np.array([90, 0, 40], np.uint8)
    for a, b in zip(look(network, overview, tissue), look(network, tinted, tissue), strict=True):
        np.testing.assert_allclose(a[INSIDE], b[INSIDE], atol=1e-4)


def test_a_stronger_stain_changes_little(network: ContextNetwork, tissue: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    pale = rng.integers(40, 120, (1, ROWS, COLUMNS, 1)).repeat(CELL_PX, 1).repeat(CELL_PX, 2).repeat(3, 3)
    strong = pale * 2  # as grey, so that one number says how far the cells' colours lie apart
    spread = pale[0, ::CELL_PX, ::CELL_PX, 0].std() / 255
    # without biases the net is linear in the contrast, and that grows only as LEAST_SPREAD counts for less
    growth = 2 * (spread + LEAST_SPREAD) / (2 * spread + LEAST_SPREAD)
    assert 1 < growth < 1.15
    for a, b in zip(*(look(network, image.astype(np.uint8), tissue) for image in (pale, strong)), strict=True):
        np.testing.assert_allclose(a * growth, b, atol=1e-4)


def test_colours_are_relative_to_tissue_and_not_to_glass(
    network: ContextNetwork, overview: np.ndarray, tissue: np.ndarray
) -> None:
    tissue[0, :, 7:] = False
    glass = overview.copy()
    glass[:, :, 7 * CELL_PX :] = 250
    plain = look(network, overview, tissue)[0]
    np.testing.assert_allclose(look(network, glass, tissue)[0][:, : 7 - REACH], plain[:, : 7 - REACH], atol=1e-6)


def test_a_slide_of_one_colour_gives_numbers(network: ContextNetwork, tissue: np.ndarray) -> None:
    tissue[:] = False
    tissue[0, 4, 5] = True
    cells, salience = look(network, np.full((1, ROWS * CELL_PX, COLUMNS * CELL_PX, 3), 200, np.uint8), tissue)
    # no colour differs from the tissue's, and there are no biases
    np.testing.assert_allclose(cells[INSIDE], 0, atol=1e-5)
    np.testing.assert_allclose(salience[INSIDE], 0, atol=1e-5)


def test_glass_at_the_right_and_the_bottom_changes_only_what_is_near_it(
    network: ContextNetwork, overview: np.ndarray, tissue: np.ndarray
) -> None:
    tissue[0, 5:] = tissue[0, :, 8:] = False
    larger = np.full((1, (ROWS + 7) * CELL_PX, (COLUMNS + 4) * CELL_PX, 3), 250, np.uint8)
    larger[:, : ROWS * CELL_PX, : COLUMNS * CELL_PX] = overview
    wider = np.zeros((1, ROWS + 7, COLUMNS + 4), bool)
    wider[:, :ROWS, :COLUMNS] = tissue
    for a, b in zip(look(network, overview, tissue), look(network, larger, wider), strict=True):
        np.testing.assert_allclose(a[INSIDE], b[INSIDE], atol=1e-5)


def test_slides_of_a_batch_have_nothing_to_do_with_each_other(
    network: ContextNetwork, overview: np.ndarray, tissue: np.ndarray
) -> None:
    rng = np.random.default_rng(1)
    both = np.concatenate([overview, rng.integers(0, 256, overview.shape).astype(np.uint8)])
    half = tissue.copy()
    half[:, 4:] = False
    tissues = np.concatenate([tissue, half])
    cells, salience = network(ops.array(both), ops.array(tissues), ops.array(every(tissues)))
    alone = look(network, overview, tissue)
    np.testing.assert_allclose(np.asarray(cells)[0].reshape(alone[0].shape), alone[0], atol=1e-5)
    np.testing.assert_allclose(np.asarray(salience)[0].reshape(alone[1].shape), alone[1], atol=1e-5)


def test_only_candidates_are_told_of(network: ContextNetwork, overview: np.ndarray, tissue: np.ndarray) -> None:
    both = np.concatenate([overview, 255 - overview])
    all_cells, all_salience = look(network, overview, tissue)
    some = ops.array([[5, 40, 107, 0], [1, 1, 2, 3]], "int32")
    cells, salience = network(ops.array(both), ops.array(np.concatenate([tissue, tissue])), some)
    np.testing.assert_allclose(np.asarray(cells)[0], all_cells.reshape(-1, FEATURES)[[5, 40, 107, 0]], atol=1e-5)
    np.testing.assert_allclose(np.asarray(salience)[0], all_salience.ravel()[[5, 40, 107, 0]], atol=1e-5)


def test_the_smallest_cells_need_no_pooling() -> None:
    network = ContextNetwork(FEATURES, 4)
    cells, _ = network(
        ops.ones((2, 12, 20, 3), "uint8"), ops.ones((2, 3, 5), "bool"), ops.array([[*range(15)]] * 2, "int32")
    )
    assert cells.shape == (2, 15, FEATURES)


def test_settings_make_the_same_layer_again() -> None:
    config = ContextNetwork(FEATURES, CELL_PX).get_config()
    made = ContextNetwork.from_config(config)
    assert (made.features, made.cell_px) == (FEATURES, CELL_PX)
