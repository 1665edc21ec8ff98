import dataclasses

import numpy as np
import pytest

from foveate.slides.overview_file import StoredOverview
from foveate.stages.augment import turned
from foveate.stages.batch import Shape, common_shape, make_batch, tissue_cells


def with_cells(overview: StoredOverview, shares: np.ndarray) -> StoredOverview:
    return dataclasses.replace(overview, cell_tissue=shares)


def test_cells_of_enough_tissue(wide: StoredOverview) -> None:
    shares = np.array([[0.0, 0.24], [0.25, 1.0]], np.float32)
    np.testing.assert_array_equal(tissue_cells(with_cells(wide, shares), 0.25), [[False, False], [True, True]])
    # none has that much: the fullest ones
    little = with_cells(wide, np.array([[0.0, 0.125], [0.0625, 0.125]], np.float32))
    np.testing.assert_array_equal(tissue_cells(little, 0.25), [[False, True], [False, True]])


def test_the_shape_holds_every_overview(wide: StoredOverview) -> None:
    def of(rows: int, columns: int, tissue: int = 1) -> StoredOverview:
        return with_cells(wide, (np.arange(rows * columns) < tissue).reshape(rows, columns).astype(np.float32))

    assert common_shape([of(1, 1)], 0.5) == (16, 16, 64)
    assert common_shape([of(16, 17, 64)], 0.5) == (16, 32, 64)
    assert common_shape([of(16, 17, 65)], 0.5) == (16, 32, 96)
    assert common_shape([of(40, 3, 97), of(12, 16), of(3, 33)], 0.5) == (48, 48, 128)


def test_a_batch_is_padded_with_glass(wide: StoredOverview, tall: StoredOverview) -> None:
    tinted = dataclasses.replace(tall, background_rgb=(10, 20, 30))
    batch = make_batch([wide, tinted], Shape(32, 16, 64), 0.25)
    assert (batch.image.shape, batch.tissue.shape) == ((2, 256, 128, 3), (2, 32, 16))
    for row, overview in enumerate((wide, tinted)):
        height, width = overview.thumbnail.shape[:2]
        np.testing.assert_array_equal(batch.image[row, :height, :width], overview.thumbnail)
        assert (batch.image[row, height:] == overview.background_rgb).all()
        assert (batch.image[row, :, width:] == overview.background_rgb).all()
        cells = tissue_cells(overview, 0.25)
        np.testing.assert_array_equal(batch.tissue[row, : cells.shape[0], : cells.shape[1]], cells)
        assert batch.tissue[row].sum() == cells.sum()


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
    assert batch.candidates[0, :4].tolist() == [4, 33, 35, -1]
    assert (batch.candidates[0, 4:] == -1).all()
    assert batch.home[0, :3].tolist() == [[0, 4], [2, 1], [2, 3]]


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
    back = batch.on_grid(found.astype(np.float32))
    for grid in back:
        np.testing.assert_array_equal(grid[: cells.shape[0], : cells.shape[1]], numbers)
        assert grid.sum() == numbers.sum()
