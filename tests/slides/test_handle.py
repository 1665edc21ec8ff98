import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from foveate.errors import SlideError
from foveate.slides.handle import check_length, composite, open_slide
from foveate.slides.tiff import read_tiff

SHARED = os.environ.get("FOVEATE_SHARED")
needs_shared = pytest.mark.skipif(not SHARED, reason="FOVEATE_SHARED is not set")


def directory_last(source: Path, target: Path) -> None:
    """Copy a BigTIFF so that its first directory comes after all tiles, as libtiff writes it."""
    data = source.read_bytes()
    (start,) = struct.unpack_from("<Q", data, 8)
    (entries,) = struct.unpack_from("<Q", data, start)
    directory = data[start : start + 16 + 20 * entries]
    target.write_bytes(data[:8] + struct.pack("<Q", len(data)) + data[16:] + directory)


def test_what_is_known_of_an_open_slide(make_slide: Callable[..., Any], tmp_path: Path) -> None:
    tiny = make_slide(tmp_path / "oblong.tif", size=(1024, 512), mpp=(0.5, 0.25))
    slide = open_slide("a", tiny.path)
    assert (slide.name, slide.path, slide.vendor) == ("a", tiny.path, "generic-tiff")
    assert slide.geometry.mpp == pytest.approx((0.5, 0.25))
    assert slide.geometry.sizes_lv == ((1024, 512), (256, 128), (64, 32))
    assert slide.geometry.downsamples == (1, 4, 16)
    assert slide.geometry.bounds_l0 == (0, 0, 1024, 512)
    assert "openslide.mpp-x" in slide.mpp_source
    assert slide.background_rgb == (255, 255, 255)
    assert slide.tiles_px == ((256, 256),) * 3


def test_the_mpp_column_goes_over_what_the_file_says(tiny_slide: Any) -> None:
    slide = open_slide("a", tiny_slide.path, mpp=0.24)
    assert slide.geometry.mpp == (0.24, 0.24)
    assert slide.mpp_source == "the mpp column"


def test_without_a_resolution_the_error_names_the_mpp_column(make_slide: Callable[..., Any], tmp_path: Path) -> None:
    tiny = make_slide(tmp_path / "a.tif", size=(512, 512), mpp=None)
    with pytest.raises(SlideError, match="resolution") as caught:
        open_slide("a", tiny.path)
    assert "mpp column" in caught.value.remedy
    assert open_slide("a", tiny.path, mpp=0.5).geometry.mpp == (0.5, 0.5)


@pytest.mark.parametrize("mpp", [(0.001, 1.0), (1.0, 0.001)])
def test_an_absurd_resolution_counts_as_none(
    make_slide: Callable[..., Any], tmp_path: Path, mpp: tuple[float, float]
) -> None:
    tiny = make_slide(tmp_path / "a.tif", size=(512, 512), mpp=mpp, levels=1, tissue_um=None)
    with pytest.raises(SlideError, match="resolution"):
        open_slide("a", tiny.path)


def test_an_absent_file_a_folder_and_a_text_are_no_slides(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match=r"absent\.tif cannot be read: No such file"):
        open_slide("a", tmp_path / "absent.tif")
    with pytest.raises(SlideError, match="cannot be read: File name too long"):
        open_slide("a", tmp_path / ("x" * 300))
    with pytest.raises(SlideError, match=f"OpenSlide cannot open {tmp_path}"):
        open_slide("a", tmp_path)
    text = tmp_path / "a.svs"
    text.write_text("no slide")
    with pytest.raises(SlideError, match="OpenSlide cannot open") as caught:
        open_slide("a", text)
    assert "path column" in caught.value.remedy


def open_whole(path: Path, mpp: float | None = None) -> None:
    """As the overview stage does: OpenSlide opens many a file that was cut."""
    slide = open_slide("a", path, mpp)
    check_length("a", path, read_tiff(path))
    slide.handle.close()


@pytest.mark.parametrize("share", [0.9, 0.6, 0.1])
def test_a_tiff_that_was_cut_short(tiny_slide: Any, tmp_path: Path, share: float) -> None:
    data = tiny_slide.path.read_bytes()
    cut = tmp_path / "cut.tif"
    cut.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(SlideError, match=r"^a: .*cut\.tif is cut short") as caught:
        open_whole(cut)
    assert "copy the file again" in caught.value.remedy


def test_a_tiff_that_lacks_its_last_byte(tiny_slide: Any, tmp_path: Path) -> None:
    images = read_tiff(tiny_slide.path)
    assert images is not None
    end = max(image.end for image in images)
    data, path = tiny_slide.path.read_bytes(), tmp_path / "a.tif"
    path.write_bytes(data[:end])
    check_length("a", path, images)
    path.write_bytes(data[: end - 1])
    with pytest.raises(SlideError, match=f"it has {end - 1:,} bytes, its tiles need {end:,}"):
        check_length("a", path, images)
    check_length("a", path, None)  # what is no TIFF has no table to compare with


def test_a_tiff_without_any_tile_is_not_cut(tiny_slide: Any, tmp_path: Path, spoil_tile: Callable[..., None]) -> None:
    path = tmp_path / "a.tif"
    shutil.copy(tiny_slide.path, path)
    for page, image in enumerate(read_tiff(path) or ()):
        for index in range(len(image.counts)):
            spoil_tile(path, index, absent=True, page=page)
    check_length("a", path, read_tiff(path))


def test_a_tiff_that_was_cut_before_its_directory(tiny_slide: Any, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.tif", tmp_path / "cut.tif"
    directory_last(tiny_slide.path, whole)
    assert open_slide("a", whole).geometry.sizes_lv[0] == (2048, 1536)
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    with pytest.raises(SlideError, match="is cut short"):
        open_whole(cut)


def test_a_region_is_where_it_was_asked_for(exact_slide: Any) -> None:
    slide = open_slide("a", exact_slide.path)
    x, y = exact_slide.marker_l0
    here = np.asarray(slide.read(x, y, 0, 32, 32))
    assert (here == (*exact_slide.marker_rgb, 255)).all()
    around = np.asarray(slide.read(x - 8, y - 4, 0, 64, 48))[..., :3]
    np.testing.assert_array_equal(around, exact_slide.pixels[y - 4 : y + 44, x - 8 : x + 56])
    quarter = np.asarray(slide.read(x // 4, y // 4, 1, 8, 8))
    assert (quarter == (*exact_slide.marker_rgb, 255)).all()


def test_outside_the_slide_is_transparent(exact_slide: Any) -> None:
    slide = open_slide("a", exact_slide.path)
    alpha = np.asarray(slide.read(-10, -20, 0, 30, 40))[..., 3]
    assert (alpha[20:, 10:] == 255).all()
    assert (alpha[:20] == 0).all()
    assert (alpha[:, :10] == 0).all()


def test_an_absent_tile_is_transparent_and_becomes_background(
    tiny_slide: Any, spoil_tile: Callable[..., None], tmp_path: Path
) -> None:
    sparse = tmp_path / "sparse.tif"
    shutil.copy(tiny_slide.path, sparse)
    spoil_tile(sparse, 9, absent=True)  # 8 tiles a row: the second tile of the second row
    region = open_slide("a", sparse).read(200, 200, 0, 400, 400)
    assert (np.asarray(region)[56:312, 56:312, 3] == 0).all()
    flat = composite(region, (250, 240, 230))
    assert (flat[56:312, 56:312] == (250, 240, 230)).all()
    np.testing.assert_array_equal(flat[:56], np.asarray(region)[:56, :, :3])


def test_a_corrupt_tile_is_an_error_and_spoils_the_handle(
    tiny_slide: Any, spoil_tile: Callable[..., None], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.tif"
    shutil.copy(tiny_slide.path, bad)
    spoil_tile(bad, 9, absent=False)
    slide = open_slide("spoilt", bad)
    slide.read(1024, 1024, 0, 8, 8)
    place = r"^spoilt: cannot read 8 x 8 px at \(300, 310\) of level 0, in tile 1, 1 \(column, row\): "
    with pytest.raises(SlideError, match=place) as caught:
        slide.read(300, 310, 0, 8, 8)
    assert "exclude" in caught.value.remedy
    with pytest.raises(SlideError):
        slide.read(1024, 1024, 0, 8, 8)
    fresh = slide.reopen()
    assert (fresh.geometry, fresh.name) == (slide.geometry, "spoilt")
    np.testing.assert_array_equal(
        fresh.read(1024, 1024, 0, 8, 8), open_slide("a", tiny_slide.path).read(1024, 1024, 0, 8, 8)
    )
    with pytest.raises(SlideError, match=r"in one of the tiles 0, 0 to 7, 5 \(column, row\)"):
        fresh.read(-10, -10, 0, 3000, 3000)


def test_a_slide_that_went_away_cannot_be_opened_again(tiny_slide: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    shutil.copy(tiny_slide.path, path)
    slide = open_slide("a", path)
    path.unlink()
    with pytest.raises(SlideError, match=r"a\.tif cannot be read: No such file"):
        slide.reopen()


def test_composite_blends_by_alpha() -> None:
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 0] = 200
    rgba[0, :, 3] = (0, 128, 255)
    flat = composite(Image.fromarray(rgba), (100, 50, 250))
    assert flat.shape == (1, 3, 3)
    assert flat[0, 0].tolist() == [100, 50, 250]
    np.testing.assert_allclose(flat[0, 1], [150, 25, 125], atol=1)
    assert flat[0, 2].tolist() == [200, 0, 0]


@needs_shared
@pytest.mark.parametrize("name", ["CMU-1-Small-Region.svs", "TCGA-CR-7395-no-mpp.svs", "fluorescence-DAPI.ndpi"])
def test_real_files_cut_at_60_percent(tmp_path: Path, name: str) -> None:
    whole = Path(str(SHARED), "data", "slides", name)
    assert open_slide("whole", whole, mpp=1.0).geometry.sizes_lv
    cut = tmp_path / name
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    with pytest.raises(SlideError, match="cut") as caught:
        open_whole(cut, mpp=1.0)
    assert "copy the file again" in caught.value.remedy
