import dataclasses

import numpy as np
import pytest

from foveate.attention.context import REACH, ContextNetwork
from foveate.slides.overview_file import StoredOverview
from foveate.stages.augment import turned
from foveate.stages.batch import Shape, common_shape, make_batch, tissue_cells


def with_cells(overview: StoredOverview, shares: np.ndarray) -> StoredOverview:
    return dataclasses.replace(overview, cell_tissue=shares)


def with_pixels(overview: StoredOverview, thumbnail: np.ndarray) -> StoredOverview:
    return dataclasses.replace(overview, thumbnail_at=Held(thumbnail))


@dataclasses.dataclass(frozen=True)
class Held:
    """Pixels that are in no file."""

    pixels: np.ndarray

    def open(self) -> np.ndarray:
        return self.pixels


def test_cells_of_enough_tissue(wide: StoredOverview) -> None:
    shares = np.array([[0.0, 0.24], [0.25, 1.0]], np.float32)
    np.testing.assert_array_equal(tissue_cells(with_cells(wide, shares), 0.25), [[False, False], [True, True]])
    # none has that much: the fullest ones
    little = with_cells(wide, np.array([[0.0, 0.125], [0.0625, 0.125]], np.float32))
    np.testing.assert_array_equal(tissue_cells(little, 0.25), [[False, True], [False, True]])


def test_the_shape_holds_every_overview(wide: StoredOverview) -> None:
    def of(rows: int, columns: int, tissue: int = 1) -> StoredOverview:
        return with_cells(wide, (np.arange(rows * columns) < tissue).reshape(rows, columns).astype(np.float32))

    # the cells with tissue, and three more on each side
    assert common_shape([of(1, 1)], 0.5) == (16, 16, 64)
    assert common_shape([of(64, 64)], 0.5) == (16, 16, 64)
    assert common_shape([of(64, 64, 64)], 0.5) == (16, 80, 64)
    assert common_shape([of(64, 64, 10)], 0.5) == (16, 16, 64)
    assert common_shape([of(64, 64, 11)], 0.5) == (16, 32, 64)
    assert common_shape([of(7, 10, 64)], 0.5) == (16, 16, 64)
    assert common_shape([of(7, 10, 65)], 0.5) == (16, 16, 96)
    assert common_shape([of(33, 3, 97), of(12, 16), of(1, 33, 30)], 0.5) == (48, 48, 128)


def test_a_batch_is_padded_with_glass(wide: StoredOverview, tall: StoredOverview) -> None:
    tinted = dataclasses.replace(tall, background_rgb=(10, 20, 30))
    batch = make_batch([wide, tinted], Shape(32, 16, 64), 0.25)
    assert (batch.image.shape, batch.tissue.shape) == ((2, 256, 128, 3), (2, 32, 16))
    for row, overview in enumerate((wide, tinted)):
        cells = tissue_cells(overview, 0.25)
        rows, columns = (np.flatnonzero(cells.any(axis)) for axis in (1, 0))
        top, left = rows[0] - REACH, columns[0] - REACH
        expected = np.empty((32 * 8, 16 * 8, 3), np.uint8)
        expected[:] = overview.background_rgb
        part = overview.thumbnail[max(0, top) * 8 : (rows[-1] + 1 + REACH) * 8, max(0, left) * 8 :]
        part = part[:, : (columns[-1] + 1 + REACH - max(0, left)) * 8]
        at = max(0, -top) * 8, max(0, -left) * 8
        expected[at[0] : at[0] + part.shape[0], at[1] : at[1] + part.shape[1]] = part
        np.testing.assert_array_equal(batch.image[row], expected)
        np.testing.assert_array_equal(np.argwhere(batch.tissue[row]), np.argwhere(cells) - [top, left])


def test_a_slide_of_a_batch_alone(wide: StoredOverview, tall: StoredOverview) -> None:
    batch = make_batch([wide, tall], Shape(48, 64, 128), 0.25)
    for row, overview in enumerate((wide, tall)):
        own, expected = batch.alone(row), make_batch([overview], common_shape([overview], 0.25), 0.25)
        assert own.overviews == [overview]
        for name in ("image", "tissue", "candidates", "home", "orientation"):
            np.testing.assert_array_equal(getattr(own, name), getattr(expected, name))
        assert (batch.home[row] == np.pad(own.home[0], [(0, 128 - own.home.shape[1]), (0, 0)])).all()


def test_candidates_are_the_tissue_cells_row_by_row(wide: StoredOverview) -> None:
    shares = np.zeros((3, 5), np.float32)
    shares[0, 4] = shares[2, 1] = shares[2, 3] = 1
    batch = make_batch([with_cells(wide, shares)], Shape(16, 16, 64), 0.5)
    # three cells around: the columns 1 to 4 begin at 3
    assert batch.candidates[0, :4].tolist() == [3 * 16 + 6, 5 * 16 + 3, 5 * 16 + 5, -1]
    assert (batch.candidates[0, 4:] == -1).all()
    assert batch.home[0, :3].tolist() == [[0, 4], [2, 1], [2, 3]]


def test_glass_away_from_the_tissue_is_not_looked_at(wide: StoredOverview) -> None:
    rng = np.random.default_rng(0)
    thumbnail = rng.integers(0, 256, wide.thumbnail.shape).astype(np.uint8)
    rows, columns = wide.cell_tissue.shape
    shares = np.zeros((rows, columns), np.float32)
    shares[rows - 2, columns - 4 : columns - 2] = 1
    overview = with_pixels(with_cells(wide, shares), thumbnail)
    batch = make_batch([overview], common_shape([overview], 0.5), 0.5)
    assert batch.home[0, :2].tolist() == [[rows - 2, columns - 4], [rows - 2, columns - 3]]
    assert np.argwhere(batch.tissue[0]).tolist() == [[REACH, REACH], [REACH, REACH + 1]]
    assert batch.candidates[0, :2].tolist() == [REACH * 16 + REACH, REACH * 16 + REACH + 1]
    part = thumbnail[(rows - 2 - REACH) * 8 :, (columns - 4 - REACH) * 8 :]
    np.testing.assert_array_equal(batch.image[0, : part.shape[0], : part.shape[1]], part)
    found = batch.on_grids(np.arange(1, 65, dtype=np.float32)[None])[0]
    assert found.shape == (rows, columns)
    assert (found[rows - 2, columns - 4 : columns - 2].tolist(), found.sum()) == ([1, 2], 3)


@pytest.mark.parametrize("columns", [36, 38])
def test_what_is_not_looked_at_changes_no_feature(wide: StoredOverview, columns: int) -> None:
    rng = np.random.default_rng(0)
    network = ContextNetwork(4, 8)
    network.build((None, None, None, 3))
    shares = np.zeros((40, columns), np.float32)
    shares[12:20, 9:24] = rng.random((8, 15)) < 0.7
    thumbnail = rng.integers(0, 256, (320, columns * 8, 3)).astype(np.uint8)
    overview = with_pixels(with_cells(wide, shares), thumbnail)
    batch = make_batch([overview], common_shape([overview], 0.5), 0.5)
    assert batch.image.shape == (1, 128, 256, 3)
    # of the 32 columns from 6 on, 38 has the last; it is not copied
    assert np.shares_memory(batch.image, overview.thumbnail) == (columns == 38)
    count = int(shares.sum())
    cells = np.argwhere(shares) @ [columns, 1]
    whole = network(thumbnail[None], shares[None] > 0, cells[None].astype(np.int32))
    part = network(batch.image, batch.tissue, np.maximum(batch.candidates, 0))
    for a, b in zip(whole, part, strict=True):
        np.testing.assert_allclose(a[0], b[0, :count], atol=1e-5)


@pytest.mark.parametrize("orientation", range(8))
def test_a_turned_slide(wide: StoredOverview, orientation: int) -> None:
    shape = Shape(16, 16, 64)
    plain = make_batch([wide], shape, 0.25)
    batch = make_batch([wide, wide], shape, 0.25, np.array([orientation, 0]))
    np.testing.assert_array_equal(batch.image[0], turned(plain.image[0], orientation))
    np.testing.assert_array_equal(batch.image[1], plain.image[0])
    rows, columns = np.divmod(batch.candidates[0][batch.candidates[0] >= 0], 16)
    assert batch.tissue[0, rows, columns].all()
    # each candidate shows what the cell that it comes from shows
    for row, column, (r, c) in zip(rows, columns, batch.home[0].tolist(), strict=False):
        cell = batch.image[0, row * 8 : row * 8 + 8, column * 8 : column * 8 + 8]
        r, c = np.array([r, c]) - plain.home[0, 0] + np.divmod(plain.candidates[0, 0], 16)
        home = plain.image[0, r * 8 : r * 8 + 8, c * 8 : c * 8 + 8]
        np.testing.assert_array_equal(cell, turned(home, orientation))


def test_maps_at_candidates_and_back(wide: StoredOverview) -> None:
    batch = make_batch([wide, wide], Shape(16, 16, 64), 0.25, np.array([0, 6]))
    cells = tissue_cells(wide, 0.25)
    numbers = (np.arange(cells.size).reshape(cells.shape) + 1) * cells
    found = batch.at_candidates([numbers.astype(np.int32)] * 2)
    count = cells.sum()
    assert found[0, :count].tolist() == numbers[cells].tolist()
    assert sorted(found[1, :count].tolist()) == numbers[cells].tolist() != found[1, :count].tolist()
    assert not found[:, count:].any()
    for grid in batch.on_grids(found.astype(np.float32)):
        np.testing.assert_array_equal(grid, numbers)
