import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foveate.errors import SlideError
from foveate.slides import overview
from foveate.slides.handle import Slide, open_slide
from foveate.slides.overview import Thumbnail, make_overview, read_thumbnail
from foveate.slides.tissue import TissueSettings

SETTINGS = TissueSettings(min_area_um2=50_000, hole_area_um2=50_000)
WHITE = (244, 242, 246)


@pytest.fixture
def slide(exact_slide: Any) -> Slide:
    return open_slide("exact", exact_slide.path)


def block_means(pixels: np.ndarray, side: int) -> np.ndarray:
    rows, columns = (n // side for n in pixels.shape[:2])
    whole = pixels[: rows * side, : columns * side].reshape(rows, side, columns, side, 3)
    return whole.mean((1, 3))


def test_a_thumbnail_pixel_is_the_mean_of_its_area(slide: Slide, exact_slide: Any) -> None:
    thumbnail = read_thumbnail(slide, 8.0)  # from the level of 4 um/px
    assert thumbnail.image.shape == (192, 256, 3)
    assert (thumbnail.mpp, thumbnail.origin_um) == (8.0, (0.0, 0.0))
    assert thumbnail.scanned.all()
    np.testing.assert_allclose(thumbnail.image, block_means(exact_slide.pixels, 8), atol=1.5)


def test_a_level_of_the_same_resolution_is_taken_as_it_is(slide: Slide) -> None:
    level = np.asarray(slide.handle.read_region((0, 0), 2, (128, 96)))[..., :3]
    np.testing.assert_array_equal(read_thumbnail(slide, 16.0).image, level)


def test_oblong_pixels_become_square_ones(make_slide: Callable[..., Any], tmp_path: Path) -> None:
    tiny = make_slide(tmp_path / "oblong.tif", mpp=(1.0, 0.5), tissue_um=(400, 100, 800, 600), compression="deflate")
    thumbnail = read_thumbnail(open_slide("oblong", tiny.path), 16.0)
    assert thumbnail.image.shape == (48, 128, 3)
    stained = np.ptp(thumbnail.image, axis=2) > 20
    rows, columns = np.nonzero(stained)
    assert (columns.min(), columns.max() + 1) == (400 / 16, 800 / 16)
    assert abs(rows.min() - 100 / 16) < 1
    assert abs(rows.max() + 1 - 600 / 16) < 1


def test_the_last_pixel_may_reach_past_the_slide(slide: Slide) -> None:
    thumbnail = read_thumbnail(slide, 30.0)
    assert thumbnail.image.shape == (52, 69, 3)  # 1536 / 30 = 51.2, 2048 / 30 = 68.3
    assert thumbnail.image[-1, -1].tolist() == pytest.approx([254, 254, 254], abs=2)  # mostly beyond: white


def test_a_slide_coarser_than_the_overview_is_enlarged(slide: Slide) -> None:
    fine = read_thumbnail(slide, 0.5)
    assert fine.image.shape == (3072, 4096, 3)
    np.testing.assert_array_equal(fine.image[640:704:2, 1280:1344:2], np.broadcast_to((20, 150, 60), (32, 32, 3)))


def test_one_large_level_is_read_in_bands(make_slide: Callable[..., Any], tmp_path: Path) -> None:
    tiny = make_slide(tmp_path / "one.tif", size=(6000, 3008), levels=1, compression="deflate")
    slide = open_slide("one", tiny.path)
    read = []

    class Watched(Slide):
        def read(self, x_lv: int, y_lv: int, level: int, width: int, height: int) -> Any:
            read.append((y_lv, height))
            return super().read(x_lv, y_lv, level, width, height)

    watched = Watched(**{f.name: getattr(slide, f.name) for f in dataclasses.fields(slide)})
    thumbnail = read_thumbnail(watched, 16.0)
    assert read == [(0, 2656), (2656, 352)]
    assert thumbnail.image.shape == (188, 375, 3)
    np.testing.assert_allclose(thumbnail.image, block_means(tiny.pixels, 16), atol=1)


@pytest.mark.parametrize("mpp", [16.0, 13.7, 7.31])
def test_bands_make_no_difference(slide: Slide, monkeypatch: pytest.MonkeyPatch, mpp: float) -> None:
    whole = read_thumbnail(slide, mpp)
    monkeypatch.setattr(overview, "BAND_PX", 20_000)
    np.testing.assert_array_equal(read_thumbnail(slide, mpp).image, whole.image)


def bounded(slide: Slide, *bounds_l0: int) -> Slide:
    return dataclasses.replace(slide, geometry=dataclasses.replace(slide.geometry, bounds_l0=bounds_l0))


def test_only_the_scanned_bounds_are_read(slide: Slide) -> None:
    thumbnail = read_thumbnail(bounded(slide, 320, 160, 960, 640), 16.0)
    assert thumbnail.origin_um == (320.0, 160.0)
    np.testing.assert_array_equal(thumbnail.image, read_thumbnail(slide, 16.0).image[10:50, 20:80])


def test_an_absent_tile_has_the_colour_of_the_background(
    tiny_slide: Any, spoil_tile: Callable[..., None], tmp_path: Path
) -> None:
    sparse = tmp_path / "sparse.tif"
    shutil.copy(tiny_slide.path, sparse)
    spoil_tile(sparse, 3, absent=True, page=1)  # 512 x 384 px: the second tile of the second row
    slide = dataclasses.replace(open_slide("sparse", sparse), background_rgb=(1, 2, 3))
    thumbnail = read_thumbnail(slide, 8.0)
    hole = np.zeros((192, 256), bool)
    hole[128:, 128:] = True
    np.testing.assert_array_equal(thumbnail.scanned, ~hole)
    assert (thumbnail.image[hole] == (1, 2, 3)).all()


def test_a_corrupt_tile_is_an_error(tiny_slide: Any, spoil_tile: Callable[..., None], tmp_path: Path) -> None:
    bad = tmp_path / "bad.tif"
    shutil.copy(tiny_slide.path, bad)
    spoil_tile(bad, 0, absent=False, page=2)
    with pytest.raises(SlideError, match="cannot read 128 x 96 px"):
        read_thumbnail(open_slide("bad", bad), 16.0)


def test_tissue_cells_and_glass(slide: Slide) -> None:
    slide = dataclasses.replace(slide, background_rgb=(1, 2, 3))
    seen = make_overview(slide, read_thumbnail(slide, 16.0), 8, SETTINGS)
    assert seen.background_rgb == WHITE
    assert seen.cell_tissue.shape == (12, 16)
    rows, columns = np.nonzero(seen.tissue)  # 400, 200 to 1200, 700 um
    assert abs(columns.min() - 25) <= 1
    assert abs(columns.max() - 74) <= 1
    assert abs(rows.min() - 12.5) <= 1
    assert abs(rows.max() - 43) <= 1
    assert seen.cell_tissue[3, 6] == 1
    assert seen.cell_tissue[8, 10] == 0


def plain(colour: tuple[int, int, int]) -> Thumbnail:
    return Thumbnail(np.full((96, 128, 3), colour, np.uint8), np.ones((96, 128), bool), 16.0, (0.0, 0.0))


def test_without_glass_the_background_is_the_scanner_s(slide: Slide) -> None:
    assert make_overview(slide, plain((170, 90, 160)), 8, SETTINGS).background_rgb == (255, 255, 255)


def test_a_dark_background_is_refused(slide: Slide) -> None:
    with pytest.raises(SlideError, match="background is dark") as caught:
        make_overview(slide, plain((5, 5, 30)), 8, SETTINGS)
    assert "exclude column" in caught.value.remedy


def test_a_slide_without_tissue_is_refused(slide: Slide) -> None:
    with pytest.raises(SlideError, match="no tissue was found"):
        make_overview(slide, plain(WHITE), 8, SETTINGS)


def test_a_hole_is_neither_tissue_nor_glass(slide: Slide) -> None:
    thumbnail = read_thumbnail(slide, 16.0)
    scanned = thumbnail.scanned.copy()
    scanned[:, 50:] = False
    image = thumbnail.image.copy()
    image[:, 50:] = (160, 90, 170)
    seen = make_overview(slide, Thumbnail(image, scanned, 16.0, (0.0, 0.0)), 8, SETTINGS)
    assert not seen.tissue[:, 50:].any()
    assert seen.tissue[20:40, 28:48].all()
    assert seen.background_rgb == WHITE
