from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile

from foveate.cohort.demo_anatomy import LAYERS, NOWHERE, TILE, Anatomy
from foveate.cohort.demo_pyramid import Painter, enlarge, halve, sizes, write
from foveate.cohort.demo_shapes import CELL
from foveate.cohort.demo_texture import SIDE, Stain, Texture

GREY = Stain(np.ones((2, 3), np.float32), np.full(3, 240, np.float32))


def painter(width: int, height: int) -> Painter:
    """A slide whose left half is tumor that lets half of the light through, the right half glass."""
    shape = (height // CELL, width // CELL)
    layers = {name: np.full(shape, NOWHERE) for name in LAYERS}
    layers["tumor"][:, : shape[1] // 2] = 1e4
    ones = np.ones(shape, np.float32)
    flat = Texture(np.full((SIDE, SIDE), np.log(2), np.float32), np.zeros((SIDE, SIDE), np.float32))
    anatomy = Anatomy((width, height), layers, ones, ones, [], [])
    return Painter(anatomy, dict.fromkeys(LAYERS, flat), GREY, np.zeros((SIDE, SIDE), np.float32))


def test_enlarge_is_linear_between_cell_centres() -> None:
    row, column = np.indices((6, 6), dtype=np.float32)
    pixels = enlarge(10 * row + column)
    expected = (np.arange(4 * CELL) + 0.5) / CELL + 0.5
    assert pixels.shape == (4 * CELL, 4 * CELL)
    assert pixels[0] == pytest.approx(10 * expected[0] + expected, rel=1e-5)
    assert pixels[:, 0] == pytest.approx(10 * expected + expected[0], rel=1e-5)


def test_halve_rounds_the_mean_of_four() -> None:
    pixels = np.zeros((2, 4, 3), np.uint8)
    pixels[..., 0] = [[0, 1, 255, 255], [1, 0, 255, 255]]
    pixels[..., 2] = [[1, 0, 0, 0], [0, 0, 4, 4]]
    assert halve(pixels).tolist() == [[[1, 0, 0], [255, 0, 2]]]


def test_sizes_halve_until_the_last_level_is_small() -> None:
    assert sizes((1024, 768)) == [(1024, 768), (512, 384)]
    assert sizes((2560, 256)) == [(2560, 256), (1280, 128), (640, 64), (320, 32)]


def test_tiles_are_tissue_glass_or_both() -> None:
    slide = painter(5 * TILE, TILE)
    full, mixed = slide.tile(0, 0), slide.tile(0, 2)
    assert full is not None
    assert mixed is not None
    assert (full == 120).all()
    assert slide.tile(0, 4) is None
    assert (mixed[:, : TILE // 2 - CELL] == 120).all()
    assert (mixed[:, TILE // 2 + CELL :] == 240).all()


def test_the_file_is_a_pyramid_that_openslide_reads(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    write(path, painter(4 * TILE, 3 * TILE), np.random.default_rng(0))
    with tifffile.TiffFile(path) as file:
        assert file.is_bigtiff
        assert [page.shape for page in file.pages] == [(768, 1024, 3), (384, 512, 3)]
        assert [int(page.tags["NewSubfileType"].value) for page in file.pages] == [0, 1]
        assert {page.compression.name for page in file.pages} == {"JPEG"}
        assert {(page.tilewidth, page.tilelength) for page in file.pages} == {(256, 256)}
    with openslide.OpenSlide(path) as slide:
        assert slide.level_dimensions == ((1024, 768), (512, 384))
        assert float(slide.properties["openslide.mpp-x"]) == 1.0
        for level, size in enumerate(slide.level_dimensions):
            pixels = np.asarray(slide.read_region((0, 0), level, size).convert("L"), int)
            assert np.abs(pixels[:, : size[0] // 2 - CELL] - 120).max() <= 2
            assert np.abs(pixels[:, size[0] // 2 + CELL :] - 240).max() <= 5
