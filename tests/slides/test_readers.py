import dataclasses
import gc
import os
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import openslide
import pytest
import tifffile
from numpy.typing import NDArray

from foveate.errors import SlideError
from foveate.slides import readers
from foveate.slides.geometry import Geometry
from foveate.slides.handle import Slide, open_slide
from foveate.slides.jpeg import library
from foveate.slides.overview_file import StoredOverview
from foveate.slides.readers import Caches, OpenSlideReader, Reader, choose_reader, open_reader, pyramid
from foveate.slides.tiff import TiffImage, read_tiff
from foveate.slides.tiles import TileCache

SHARED = os.environ.get("FOVEATE_SHARED")
needs_shared = pytest.mark.skipif(not SHARED, reason="FOVEATE_SHARED is not set")
needs_turbojpeg = pytest.mark.skipif(library() is None, reason="TurboJPEG 3 is not installed")
OUTSIDE = (1, 2, 3)

PHILIPS = """<?xml version="1.0" encoding="UTF-8" ?>
<DataObject ObjectType="DPUfsImport">
  <Attribute Name="PIM_DP_SCANNED_IMAGES"><Array>
    <DataObject ObjectType="DPScannedImage">
      <Attribute Name="PIM_DP_IMAGE_TYPE">WSI</Attribute>
      <Attribute Name="DICOM_PIXEL_SPACING">"0.0005" "0.0005"</Attribute>
      <Attribute Name="PIIM_PIXEL_DATA_REPRESENTATION_SEQUENCE"><Array>{levels}</Array></Attribute>
    </DataObject>
  </Array></Attribute>
</DataObject>"""
PHILIPS_LEVEL = """
        <DataObject ObjectType="PixelDataRepresentation">
          <Attribute Name="DICOM_PIXEL_SPACING">"{spacing}" "{spacing}"</Attribute>
        </DataObject>"""
APERIO = "Aperio Image Library v10.0.51\n{0}x{0} [0,0 {0}x{0}] (64x64) JPEG/RGB Q=90|AppMag = 20|MPP = 0.5"


def region(reader: Reader, x: int, y: int, level: int, width: int, height: int) -> NDArray[np.uint8]:
    out = np.full((height, width, 3), 77, np.uint8)
    reader.read(x, y, level, out)
    return out


def chosen(path: Path, mpp: float | None = None) -> tuple[Reader, str]:
    return choose_reader(open_slide("a", path, mpp), read_tiff(path))


def noise(width: int, height: int, seed: int = 0) -> NDArray[np.uint8]:
    """Coloured squares of 8 px."""
    small = np.random.default_rng(seed).integers(0, 256, (-(-height // 8), -(-width // 8), 3))
    return small.repeat(8, 0).repeat(8, 1)[:height, :width].astype(np.uint8)


def largest_difference(path: Path, mpp: float | None = None) -> list[int]:
    """Between the reader that was chosen and OpenSlide, over the whole of each level and around it."""
    slide = open_slide("a", path, mpp)
    reader, _ = choose_reader(slide, read_tiff(path))
    reference = OpenSlideReader(slide, slide.background_rgb)
    found = []
    for level, (width, height) in enumerate(slide.geometry.sizes_lv):
        box = (-32, -16, level, width + 64, height + 48)
        found.append(int(np.abs(region(reader, *box).astype(int) - region(reference, *box)).max()))
    return found


@pytest.fixture
def bad(tiny_slide: Any, spoil_tile: Callable[..., None], tmp_path: Path) -> Path:
    """The tiny slide with noise for the second tile of its second row."""
    path = tmp_path / "bad.tif"
    shutil.copy(tiny_slide.path, path)
    spoil_tile(path, 9, absent=False)
    return path


@needs_turbojpeg
def test_tiles_are_chosen_where_they_give_the_same_pixels(tiny_slide: Any) -> None:
    reader, reason = chosen(tiny_slide.path)
    assert (reader.kind, reason) == ("tiles", "its JPEG tiles give the pixels that OpenSlide gives")
    assert largest_difference(tiny_slide.path) == [0, 0, 0]


def test_other_tiles_are_left_to_openslide(exact_slide: Any) -> None:
    reader, reason = chosen(exact_slide.path)
    assert (reader.kind, reason) == ("openslide", "level 0 has no JPEG tiles")


def test_without_turbojpeg_openslide_reads(tiny_slide: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "library", lambda: None)
    reader, reason = chosen(tiny_slide.path)
    assert (reader.kind, reason) == ("openslide", "TurboJPEG 3 is not installed")
    assert largest_difference(tiny_slide.path) == [0, 0, 0]


@needs_turbojpeg
def test_a_difference_hands_the_slide_to_openslide(tiny_slide: Any, tmp_path: Path) -> None:
    path = tmp_path / "rgb.tif"
    shutil.copy(tiny_slide.path, path)
    with tifffile.TiffFile(path, mode="r+") as tiff:  # OpenSlide takes luma for red from now on, on the last level
        tiff.pages[2].tags["PhotometricInterpretation"].overwrite(2)
    reader, reason = chosen(path)
    assert reader.kind == "openslide"
    assert reason.startswith("at (0, 0) of level 2 its tiles differ from OpenSlide by ")


@needs_turbojpeg
def test_tiles_that_only_openslide_can_read_hand_it_the_slide(
    tiny_slide: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise SlideError("a", "tile 0, 0 (column, row) of level 0 cannot be decoded: unknown")

    monkeypatch.setattr(readers.TileReader, "read", refuse)
    reader, reason = chosen(tiny_slide.path)
    assert (reader.kind, reason) == ("openslide", "tile 0, 0 (column, row) of level 0 cannot be decoded: unknown")


@needs_turbojpeg
@pytest.mark.parametrize("page", [0, 1, 2])
def test_a_damaged_tile_is_no_reason_against_tiles(
    tiny_slide: Any, spoil_tile: Callable[..., None], tmp_path: Path, page: int
) -> None:
    path = tmp_path / "bad.tif"
    shutil.copy(tiny_slide.path, path)
    spoil_tile(path, 0, absent=False, page=page)  # under the crop at the first corner
    assert chosen(path)[0].kind == "tiles"


@needs_turbojpeg
def test_a_sparse_slide_is_read_from_its_tiles(
    tiny_slide: Any, spoil_tile: Callable[..., None], tmp_path: Path
) -> None:
    path = tmp_path / "sparse.tif"
    shutil.copy(tiny_slide.path, path)
    for index in (9, 20, 47):
        spoil_tile(path, index, absent=True)
    spoil_tile(path, 3, absent=True, page=1)
    assert chosen(path)[0].kind == "tiles"
    assert largest_difference(path) == [0, 0, 0]
    reader, _ = chosen(path)
    assert (region(reader, 256, 256, 0, 256, 256) == 255).all()


def write_aperio(path: Path, make_pyramid: Callable[..., None], shrunk: Callable[..., Any]) -> None:
    """Levels of 1024 and 256 px, in tiles of 64."""
    fine = noise(1024, 1024)
    make_pyramid(path, [fine, shrunk(fine, 4)], tile=64, description=APERIO.format(1024), mpp=None)


@needs_turbojpeg
def test_an_svs_is_read_from_its_tiles(
    make_pyramid: Callable[..., None], shrunk: Callable[..., Any], tmp_path: Path
) -> None:
    write_aperio(tmp_path / "a.svs", make_pyramid, shrunk)
    assert open_slide("a", tmp_path / "a.svs").vendor == "aperio"
    assert chosen(tmp_path / "a.svs")[0].kind == "tiles"
    assert largest_difference(tmp_path / "a.svs") == [0, 0]


@needs_turbojpeg
def test_an_svs_with_absent_tiles_is_left_to_openslide_which_draws_them_from_other_levels(
    make_pyramid: Callable[..., None],
    shrunk: Callable[..., Any],
    spoil_tile: Callable[..., None],
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.svs"
    write_aperio(path, make_pyramid, shrunk)
    whole = region(OpenSlideReader(open_slide("a", path), OUTSIDE), 0, 128, 1, 64, 64)
    spoil_tile(path, 9 * 16 + 1, absent=True)  # of level 0, in the area of the first tile of the third row of level 1
    slide = open_slide("a", path)
    redrawn = region(OpenSlideReader(slide, OUTSIDE), 0, 128, 1, 64, 64)
    assert np.abs(redrawn[32:, 32:].astype(int) - whole[32:, 32:]).max() > 2  # away from the absent tile, too
    reader, reason = chosen(path)
    assert reader.kind == "openslide"
    assert "absent tiles of an Aperio slide" in reason


@pytest.fixture
def philips(make_pyramid: Callable[..., None], shrunk: Callable[..., Any], tmp_path: Path) -> Path:
    """As CAMELYON's: every image padded to whole tiles of 256 px, so that the two smallest are of one size."""
    fine = noise(1536, 1280)
    images = [fine]
    for k in range(1, 5):
        level = shrunk(fine, 2**k)
        padding = ((0, -level.shape[0] % 256), (0, -level.shape[1] % 256), (0, 0))
        images.append(np.pad(level, padding, constant_values=30))
    levels = "".join(PHILIPS_LEVEL.format(spacing=0.0005 * 2**k) for k in range(5))
    path = tmp_path / "philips.tif"
    make_pyramid(path, images, mpp=None, description=PHILIPS.format(levels=levels), software="Philips DP v1.0")
    return path


@needs_turbojpeg
def test_a_philips_tiff_is_read_from_its_tiles_without_the_padding(philips: Path) -> None:
    slide = open_slide("a", philips)
    assert (slide.vendor, slide.geometry.mpp) == ("philips", (0.5, 0.5))
    assert slide.geometry.sizes_lv == ((1536, 1280), (768, 640), (384, 320), (192, 160), (96, 80))
    images = read_tiff(philips)
    assert images is not None
    assert [image.size for image in images] == [(1536, 1280), (768, 768), (512, 512), (256, 256), (256, 256)]
    assert pyramid(slide.geometry, images) == list(images)
    assert chosen(philips)[0].kind == "tiles"
    assert largest_difference(philips) == [0, 0, 0, 0, 0]


@needs_turbojpeg
def test_a_sparse_philips_tiff_is_read_from_its_tiles(philips: Path, spoil_tile: Callable[..., None]) -> None:
    for page, index in ((0, 7), (0, 8), (1, 3), (4, 0)):
        spoil_tile(philips, index, absent=True, page=page)
    reader, _ = chosen(philips)
    assert reader.kind == "tiles"
    assert largest_difference(philips) == [0, 0, 0, 0, 0]
    assert (region(reader, 256, 256, 0, 512, 256) == 255).all()
    assert (region(reader, 0, 0, 4, 96, 80) == 255).all()


@needs_turbojpeg
def test_an_unaligned_level(make_pyramid: Callable[..., None], tmp_path: Path) -> None:
    path = tmp_path / "unaligned.tif"
    make_pyramid(path, [noise(1921, 1921), noise(60, 60, seed=1)], mpp=(0.5, 0.5))
    slide = open_slide("a", path)
    assert slide.geometry.downsamples[1] == pytest.approx(32.01667)
    reader, reason = chosen(path)
    assert (reader.kind, reason) == ("tiles", "its JPEG tiles give the pixels that OpenSlide gives")
    reference = OpenSlideReader(slide, (255, 255, 255))
    # pixel 0 and 60 of the level begin at whole pixels of level 0, the first few after them nearly
    for x in (0, 1, 2, 5):
        for y in (0, 1, 4):
            difference = region(reader, x, y, 1, 40, 40).astype(int) - region(reference, x, y, 1, 40, 40)
            assert np.abs(difference).max() <= 2
    # elsewhere OpenSlide blurs, and the tiles are the level itself
    level = tifffile.imread(path, key=1)
    np.testing.assert_array_equal(region(reader, 30, 31, 1, 25, 20), level[31:51, 30:55])
    assert np.abs(region(reference, 30, 31, 1, 25, 20).astype(int) - level[31:51, 30:55]).max() > 2


@needs_turbojpeg
def test_tiles_of_red_green_and_blue_that_do_not_say_so(tmp_path: Path) -> None:
    path = tmp_path / "rgb.tif"
    encoded = bytes(imagecodecs.jpeg8_encode(noise(256, 256), level=90, colorspace="RGB", outcolorspace="RGB"))
    marker = encoded.index(b"\xff\xee")
    assert encoded[marker + 4 : marker + 9] == b"Adobe"
    encoded = encoded[:marker] + encoded[marker + 16 :]
    tags = {"resolution": (10_000, 10_000), "resolutionunit": "CENTIMETER", "metadata": None}
    with tifffile.TiffWriter(path) as file:
        options = {"shape": (256, 512, 3), "dtype": np.uint8, "tile": (256, 256), "compression": "jpeg"}
        file.write(iter([encoded] * 2), photometric="rgb", **options, **tags)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages[0].tags["PhotometricInterpretation"].overwrite(2)
    assert chosen(path)[0].kind == "tiles"
    assert largest_difference(path) == [0]
    seen = region(chosen(path)[0], 0, 0, 0, 256, 256).astype(int)
    assert np.abs(seen - noise(256, 256)).mean() < 20


def test_pyramid_says_what_is_missing(tiny_slide: Any) -> None:
    geometry, images = open_slide("a", tiny_slide.path).geometry, read_tiff(tiny_slide.path)
    assert images is not None
    assert pyramid(geometry, images) == list(images)
    assert pyramid(geometry, images[::-1]) == list(images)
    assert pyramid(geometry, None) == "it is no TIFF"
    assert pyramid(geometry, ()) == "level 0 has no JPEG tiles"
    assert pyramid(geometry, images[:2]) == "level 2 has no JPEG tiles"
    strips = dataclasses.replace(images[1], jpeg=False)
    assert pyramid(geometry, (images[0], strips, images[2])) == "level 1 has no JPEG tiles"


def test_an_image_that_is_smaller_or_larger_by_a_tile_is_not_the_level(tiny_slide: Any) -> None:
    images = read_tiff(tiny_slide.path)
    assert images is not None

    def fits(width: int, height: int) -> bool:
        image: TiffImage = dataclasses.replace(images[0], size=(width, height))
        return pyramid(Geometry((1.0, 1.0), ((1000, 1000),), (1.0,), (0, 0, 1, 1)), [image]) == [image]

    assert fits(1000, 1000)
    assert fits(1024, 1255)
    assert not fits(999, 1000)
    assert not fits(1000, 1256)


def test_openslide_reads_on_after_a_damaged_tile(bad: Path, tiny_slide: Any) -> None:
    reader = OpenSlideReader(open_slide("spoilt", bad), OUTSIDE)
    expected = region(OpenSlideReader(open_slide("a", tiny_slide.path), OUTSIDE), 1000, 500, 0, 40, 30)
    for _ in range(2):
        with pytest.raises(SlideError, match=r"^spoilt: cannot read 8 x 9 px .* of level 0, in tile 1, 1 \(column"):
            region(reader, 300, 310, 0, 8, 9)
        np.testing.assert_array_equal(region(reader, 1000, 500, 0, 40, 30), expected)


def test_only_a_damaged_tile_makes_openslide_open_the_slide_again(bad: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []

    def counted(slide: Slide) -> Slide:
        opened.append(slide)
        return reopen(slide)

    reopen = Slide.reopen
    monkeypatch.setattr(Slide, "reopen", counted)
    reader = OpenSlideReader(open_slide("spoilt", bad), OUTSIDE)
    with pytest.raises(SlideError):
        region(reader, 300, 310, 0, 8, 9)
    after = len(opened)
    for _ in range(5):
        region(reader, 1000, 500, 0, 40, 30)
    assert len(opened) == after > 0


def test_openslide_stops_at_one_byte_that_is_wrong(
    tiny_slide: Any, break_tile: Callable[..., None], tmp_path: Path
) -> None:
    path = tmp_path / "bad.tif"
    shutil.copy(tiny_slide.path, path)
    break_tile(path, 10, at=0.3)
    reader = OpenSlideReader(open_slide("a", path), OUTSIDE)
    with pytest.raises(SlideError, match=r"of level 0, in one of the tiles 2, 1 to 3, 1 \(column, row\): Corrupt"):
        region(reader, 760, 260, 0, 50, 50)
    assert region(reader, 800, 260, 0, 50, 50).shape == (50, 50, 3)


def test_threads_beside_one_that_meets_a_damaged_tile_go_on(bad: Path, tiny_slide: Any) -> None:
    reader = OpenSlideReader(open_slide("spoilt", bad), OUTSIDE)
    expected = region(OpenSlideReader(open_slide("a", tiny_slide.path), OUTSIDE), 600, 300, 0, 60, 60)

    def right(k: int) -> bool:
        if k % 7:
            return bool((region(reader, 600, 300, 0, 60, 60) == expected).all())
        try:
            region(reader, 300, 310, 0, 8, 8)
        except SlideError:
            return True
        return False

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(right, range(70)))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts open files through /proc")
def test_damaged_tiles_leave_no_files_open(bad: Path) -> None:
    reader = OpenSlideReader(open_slide("spoilt", bad), OUTSIDE)
    counts = []
    for _ in range(3):
        for _ in range(5):
            with pytest.raises(SlideError):
                region(reader, 300, 310, 0, 8, 8)
        gc.collect()
        counts.append(sum(file.resolve() == bad for file in Path("/proc/self/fd").iterdir()))
    assert counts[0] == counts[2] <= 4


@pytest.fixture(scope="module")
def stored(overview_of: Callable[..., StoredOverview], tiny_slide: Any) -> StoredOverview:
    return dataclasses.replace(overview_of(tiny_slide), background_rgb=OUTSIDE)


@pytest.fixture
def caches() -> Caches:
    return Caches(TileCache(10**7), openslide.OpenSlideCache(10**7))


@needs_turbojpeg
def test_the_reader_that_was_chosen_is_opened_again(stored: StoredOverview, caches: Caches) -> None:
    tiles = open_reader(stored, caches)
    plain = open_reader(dataclasses.replace(stored, reader="openslide"), caches)
    assert (tiles.kind, plain.kind) == ("tiles", "openslide")
    for level, (width, height) in enumerate(stored.geometry.sizes_lv):
        box = (width - 50, height - 60, level, 70, 80)
        seen = region(tiles, *box)
        np.testing.assert_array_equal(seen, region(plain, *box))
        assert (seen[60:] == OUTSIDE).all()


def test_without_turbojpeg_what_was_to_be_read_from_tiles_is_read_with_openslide(
    stored: StoredOverview, caches: Caches, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = region(open_reader(stored, caches), 300, 200, 0, 500, 500)
    monkeypatch.setattr(readers, "library", lambda: None)
    reader = open_reader(dataclasses.replace(stored, reader="tiles"), caches)
    assert reader.kind == "openslide"
    np.testing.assert_array_equal(region(reader, 300, 200, 0, 500, 500), expected)


@pytest.mark.parametrize("kind", ["tiles", "openslide"])
def test_a_slide_that_went_away_or_is_none_any_more(
    stored: StoredOverview, caches: Caches, tmp_path: Path, kind: str
) -> None:
    gone = dataclasses.replace(stored, reader=kind, path=tmp_path / "gone.tif")
    with pytest.raises(SlideError, match=r"gone\.tif cannot be read: No such file"):
        open_reader(gone, caches)
    gone.path.write_text("no slide")
    with pytest.raises(SlideError, match=r"gone\.tif has 8 bytes; it had [0-9,]+ when its overview was made"):
        open_reader(gone, caches)


def test_a_file_of_the_same_length_that_is_no_slide(stored: StoredOverview, caches: Caches, tmp_path: Path) -> None:
    gone = dataclasses.replace(stored, reader="openslide", path=tmp_path / "gone.tif", file_bytes=8)
    gone.path.write_text("no slide")
    with pytest.raises(SlideError, match="OpenSlide cannot open"):
        open_reader(gone, caches)


@needs_shared
@needs_turbojpeg
def test_a_real_svs_is_read_from_its_tiles() -> None:
    path = Path(str(SHARED), "data", "slides", "CMU-1-Small-Region.svs")
    images = read_tiff(path)
    assert images is not None
    assert images[0].tables
    assert chosen(path)[0].kind == "tiles"
    assert largest_difference(path) == [0]


@needs_shared
@pytest.mark.parametrize(
    ("name", "mpp", "reason"),
    [
        ("TCGA-CR-7395-no-mpp.svs", 0.5, "level 0 has no JPEG tiles"),
        ("camelyon16_tumor_072_level7.dcm", None, "it is no TIFF"),
        ("fluorescence-DAPI.ndpi", None, "level 0 has no JPEG tiles"),
    ],
)
def test_real_slides_of_other_formats_are_left_to_openslide(name: str, mpp: float | None, reason: str) -> None:
    path = Path(str(SHARED), "data", "slides", name)
    reader, why = chosen(path, mpp)
    assert (reader.kind, why) == ("openslide", reason)
    slide = open_slide("a", path, mpp)
    level = len(slide.geometry.sizes_lv) - 1
    width, height = (min(side, 300) for side in slide.geometry.sizes_lv[level])
    plain = slide.handle.read_region((0, 0), level, (width, height)).convert("RGB")
    np.testing.assert_array_equal(region(reader, 0, 0, level, width, height), np.asarray(plain))
