import dataclasses
import shutil
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from foveate.errors import SlideError
from foveate.slides import overview
from foveate.slides.handle import Slide, open_slide
from foveate.slides.overview import Scan, make_overview, read_scan
from foveate.slides.tissue import TissueSettings

SETTINGS = TissueSettings(min_area_um2=50_000, hole_area_um2=50_000)
WHITE = (244, 242, 246)


@pytest.fixture
def slide(exact_slide: Any) -> Slide:
    return open_slide("exact", exact_slide.path)


def scan_at(slide: Slide, mpp: float, coarse_mpp: float | None = None) -> Scan:
    """A scan whose coarse level is as fine as its thumbnail, unless said otherwise."""
    return read_scan(slide, mpp, coarse_mpp or mpp)


def block_means(pixels: np.ndarray, side: int) -> np.ndarray:
    rows, columns = (n // side for n in pixels.shape[:2])
    whole = pixels[: rows * side, : columns * side].reshape(rows, side, columns, side, 3)
    return whole.mean((1, 3))


@pytest.mark.parametrize("coarse_mpp", [8.0, 4.0, 2.0, 1.0])
def test_a_thumbnail_pixel_is_the_mean_of_its_area(slide: Slide, exact_slide: Any, coarse_mpp: float) -> None:
    scan = scan_at(slide, 8.0, coarse_mpp)
    assert scan.thumbnail.shape == (192, 256, 3)
    assert (scan.mpp, scan.origin_um) == (8.0, (0.0, 0.0))
    assert scan.scanned.all()
    np.testing.assert_allclose(scan.thumbnail, block_means(exact_slide.pixels, 8), atol=2)


def test_the_coarse_level_is_the_mean_of_a_finer_one(slide: Slide, exact_slide: Any) -> None:
    coarse = scan_at(slide, 16.0, 8.0).coarse  # from the level of 4 um/px
    assert (coarse.pixel_um, coarse.origin_um, coarse.pixels.shape) == ((8.0, 8.0), (0.0, 0.0), (192, 256, 3))
    np.testing.assert_allclose(coarse.pixels, block_means(exact_slide.pixels, 8), atol=1.5)


@pytest.mark.parametrize("coarse_mpp", [16.0, 15.3, 16.8])
def test_a_level_within_5_percent_is_taken_as_it_is(slide: Slide, coarse_mpp: float) -> None:
    level = np.asarray(slide.handle.read_region((0, 0), 2, (128, 96)))[..., :3]
    coarse = scan_at(slide, 16.0, coarse_mpp).coarse
    assert coarse.pixel_um == (16.0, 16.0)
    np.testing.assert_array_equal(coarse.pixels, level)
    np.testing.assert_array_equal(scan_at(slide, 16.0).thumbnail, level)


def test_a_coarse_level_of_another_resolution_gives_a_thumbnail_of_the_right_one(
    make_slide: Callable[..., Any], tmp_path: Path
) -> None:
    # the second level has 7.779 um/px, as CAMELYON's sixth
    tiny = make_slide(tmp_path / "a.tif", size=(8192, 4096), mpp=(0.97238, 0.97238), step=8, levels=2)
    scan = scan_at(open_slide("a", tiny.path), 16.0, 8.0)
    assert scan.coarse.pixels.shape == (512, 1024, 3)
    assert scan.coarse.pixel_um == pytest.approx((7.779, 7.779), abs=1e-3)
    assert scan.thumbnail.shape == (249, 498, 3)  # 512 and 1024 x 7.779 / 16
    rows, columns = np.nonzero(np.ptp(scan.thumbnail, axis=2) > 20)  # tissue at 400 to 1200, 200 to 700 um
    assert (abs(columns.min() - 400 / 16), abs(columns.max() + 1 - 1200 / 16)) <= (1, 1)
    assert (abs(rows.min() - 200 / 16), abs(rows.max() + 1 - 700 / 16)) <= (1, 1)


def test_oblong_pixels_become_square_ones(make_slide: Callable[..., Any], tmp_path: Path) -> None:
    tiny = make_slide(tmp_path / "oblong.tif", mpp=(1.0, 0.5), tissue_um=(400, 100, 800, 600), compression="deflate")
    scan = scan_at(open_slide("oblong", tiny.path), 16.0)
    assert scan.thumbnail.shape == (48, 128, 3)
    stained = np.ptp(scan.thumbnail, axis=2) > 20
    rows, columns = np.nonzero(stained)
    assert (columns.min(), columns.max() + 1) == (400 / 16, 800 / 16)
    assert abs(rows.min() - 100 / 16) < 1
    assert abs(rows.max() + 1 - 600 / 16) < 1


def test_the_last_pixel_may_reach_past_the_slide(slide: Slide) -> None:
    scan = scan_at(slide, 30.0)
    assert scan.thumbnail.shape == (52, 69, 3)  # 1536 / 30 = 51.2, 2048 / 30 = 68.3
    assert scan.thumbnail[-1, -1].tolist() == pytest.approx([254, 254, 254], abs=2)  # mostly beyond: white


def test_a_slide_coarser_than_the_overview_is_enlarged(slide: Slide) -> None:
    fine = scan_at(slide, 0.5)
    assert fine.thumbnail.shape == (3072, 4096, 3)
    np.testing.assert_array_equal(fine.thumbnail[640:704:2, 1280:1344:2], np.broadcast_to((20, 150, 60), (32, 32, 3)))


class Watched(Slide):
    """A slide that notes the regions it was asked for."""

    @classmethod
    def of(cls, slide: Slide) -> "Watched":
        return cls(**{field.name: getattr(slide, field.name) for field in dataclasses.fields(slide)})

    @cached_property
    def asked(self) -> list[tuple[int, int, int, int, int]]:
        return []

    def read(self, x_lv: int, y_lv: int, level: int, width: int, height: int) -> Any:
        self.asked.append((x_lv, y_lv, level, width, height))
        return super().read(x_lv, y_lv, level, width, height)


def test_one_large_level_is_read_in_bands(make_slide: Callable[..., Any], tmp_path: Path) -> None:
    tiny = make_slide(tmp_path / "one.tif", size=(6000, 3008), levels=1, compression="deflate")
    slide = Watched.of(open_slide("one", tiny.path))
    scan = scan_at(slide, 16.0)
    assert slide.asked == [(0, 0, 0, 6000, 2656), (0, 2656, 0, 6000, 352)]
    assert scan.thumbnail.shape == (188, 375, 3)
    np.testing.assert_allclose(scan.thumbnail, block_means(tiny.pixels, 16), atol=1)


def test_one_level_of_20000_px_is_not_read_at_once(tmp_path: Path) -> None:
    # 40 x 40 tiles, of which the first, the last and five in the eighth row are there
    path, there, colour = tmp_path / "large.tif", {0, 1599, *range(7 * 40 + 7, 7 * 40 + 12)}, (200, 120, 170)
    encoded = bytes(imagecodecs.jpeg8_encode(np.full((512, 512, 3), colour, np.uint8), level=90))
    with tifffile.TiffWriter(path) as file:
        file.write(
            iter([encoded if k in there else b"" for k in range(1600)]),
            shape=(20_000, 20_000, 3),
            dtype=np.uint8,
            tile=(512, 512),
            photometric="ycbcr",
            subsampling=(2, 2),
            compression="jpeg",
            resolution=(20_000, 20_000),
            resolutionunit="CENTIMETER",
            metadata=None,
        )
    slide = Watched.of(open_slide("large", path))
    scan = read_scan(slide, 16.0, 8.0)  # of 0.5 um/px
    assert max(width * height for *_, width, height in slide.asked) <= 17_000_000
    assert sum(height for *_, height in slide.asked) == 20_000
    assert scan.coarse.pixels.shape == (1250, 1250, 3)
    assert scan.thumbnail.shape == (625, 625, 3)
    expected = np.full((625, 625), 255)
    for first in ((0, 0), (624, 624), *((112, 16 * column) for column in range(7, 12))):
        expected[first[0] : first[0] + 16, first[1] : first[1] + 16] = 120
    np.testing.assert_allclose(scan.thumbnail[..., 1], expected, atol=1)
    np.testing.assert_array_equal(scan.scanned, expected == 120)


@pytest.mark.parametrize("mpp", [16.0, 13.7, 7.31])
def test_bands_make_no_difference(slide: Slide, monkeypatch: pytest.MonkeyPatch, mpp: float) -> None:
    whole = scan_at(slide, mpp)
    monkeypatch.setattr(overview, "BAND_PX", 20_000)
    np.testing.assert_array_equal(scan_at(slide, mpp).thumbnail, whole.thumbnail)


def bounded(slide: Slide, *bounds_l0: int) -> Slide:
    return dataclasses.replace(slide, geometry=dataclasses.replace(slide.geometry, bounds_l0=bounds_l0))


def test_only_the_scanned_bounds_are_read(slide: Slide) -> None:
    scan = scan_at(bounded(slide, 320, 160, 960, 640), 16.0)
    assert scan.origin_um == (320.0, 160.0)
    np.testing.assert_array_equal(scan.thumbnail, scan_at(slide, 16.0).thumbnail[10:50, 20:80])


def test_bounds_that_the_file_states_are_the_overview_s(
    tiny_slide: Any, spoil_tile: Callable[..., None], tmp_path: Path
) -> None:
    """OpenSlide states the bounds of a sparse slide: here the first column and row of tiles are absent."""
    sparse = tmp_path / "sparse.tif"
    shutil.copy(tiny_slide.path, sparse)
    for index in (*range(8), *range(8, 48, 8)):
        spoil_tile(sparse, index, absent=True)
    slide = open_slide("sparse", sparse)
    assert slide.geometry.bounds_l0 == (256, 256, 1792, 1280)
    scan = scan_at(slide, 16.0, 8.0)
    assert scan.origin_um == (256.0, 256.0)
    assert scan.thumbnail.shape == (80, 112, 3)
    whole = scan_at(open_slide("tiny", tiny_slide.path), 16.0, 8.0)
    np.testing.assert_array_equal(scan.thumbnail, whole.thumbnail[16:, 16:])
    np.testing.assert_array_equal(scan.coarse.pixels, whole.coarse.pixels[32:, 32:])


def test_an_absent_tile_has_the_colour_of_the_background(
    tiny_slide: Any, spoil_tile: Callable[..., None], tmp_path: Path
) -> None:
    sparse = tmp_path / "sparse.tif"
    shutil.copy(tiny_slide.path, sparse)
    spoil_tile(sparse, 3, absent=True, page=1)  # 512 x 384 px: the second tile of the second row
    slide = dataclasses.replace(open_slide("sparse", sparse), background_rgb=(1, 2, 3))
    scan = scan_at(slide, 8.0)
    hole = np.zeros((192, 256), bool)
    hole[128:, 128:] = True
    np.testing.assert_array_equal(scan.scanned, ~hole)
    assert (scan.thumbnail[hole] == (1, 2, 3)).all()


def test_a_corrupt_tile_is_an_error(tiny_slide: Any, spoil_tile: Callable[..., None], tmp_path: Path) -> None:
    bad = tmp_path / "bad.tif"
    shutil.copy(tiny_slide.path, bad)
    spoil_tile(bad, 0, absent=False, page=2)
    with pytest.raises(SlideError, match="cannot read 128 x 96 px"):
        scan_at(open_slide("bad", bad), 16.0)


def test_tissue_cells_and_glass(slide: Slide) -> None:
    slide = dataclasses.replace(slide, background_rgb=(1, 2, 3))
    seen = make_overview(slide, scan_at(slide, 16.0), 8, SETTINGS)
    assert seen.scan.background_rgb == WHITE
    assert seen.cell_tissue.shape == (12, 16)
    rows, columns = np.nonzero(seen.tissue.mask)  # 400, 200 to 1200, 700 um
    assert abs(columns.min() - 25) <= 1
    assert abs(columns.max() - 74) <= 1
    assert abs(rows.min() - 12.5) <= 1
    assert abs(rows.max() - 43) <= 1
    assert seen.cell_tissue[3, 6] == 1
    assert seen.cell_tissue[8, 10] == 0


def made_of(image: np.ndarray, scanned: np.ndarray | None = None) -> Scan:
    """A scan at 16 um/px without a slide."""
    seen = np.ones(image.shape[:2], bool) if scanned is None else scanned
    rgba = Image.fromarray(np.dstack([image, np.where(seen, 255, 0).astype(np.uint8)]))
    return Scan(rgba, rgba, (16.0, 16.0), 16.0, (0.0, 0.0), (255, 255, 255))


def plain(colour: tuple[int, int, int]) -> Scan:
    return made_of(np.full((96, 128, 3), colour, np.uint8))


def test_without_glass_the_background_is_the_scanner_s(slide: Slide) -> None:
    assert make_overview(slide, plain((170, 90, 160)), 8, SETTINGS).scan.background_rgb == (255, 255, 255)


def test_a_dark_background_is_refused(slide: Slide) -> None:
    with pytest.raises(SlideError, match="background is dark") as caught:
        make_overview(slide, plain((5, 5, 30)), 8, SETTINGS)
    assert "exclude column" in caught.value.remedy


def test_a_slide_without_tissue_is_refused(slide: Slide) -> None:
    with pytest.raises(SlideError, match="no tissue was found"):
        make_overview(slide, plain(WHITE), 8, SETTINGS)


def test_a_hole_is_neither_tissue_nor_glass(slide: Slide) -> None:
    scan = scan_at(slide, 16.0)
    scanned = scan.scanned.copy()
    scanned[:, 50:] = False
    image = scan.thumbnail.copy()
    image[:, 50:] = (160, 90, 170)
    seen = make_overview(slide, made_of(image, scanned), 8, SETTINGS)
    assert not seen.tissue.mask[:, 50:].any()
    assert seen.tissue.mask[20:40, 28:48].all()
    assert seen.scan.background_rgb == WHITE
