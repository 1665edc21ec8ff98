import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from foveate.slides.tiff import TiffImage, pack, read_tiff, unpack

SHARED = os.environ.get("FOVEATE_SHARED")
needs_shared = pytest.mark.skipif(not SHARED, reason="FOVEATE_SHARED is not set")


def images_of(path: Path) -> tuple[TiffImage, ...]:
    images = read_tiff(path)
    assert images is not None
    return images


def write(path: Path, pixels: np.ndarray, **options: Any) -> TiffImage:
    """One image with tiles of 64 px unless said otherwise, and where its tiles lie."""
    opening = {name: options.pop(name) for name in ("bigtiff", "byteorder") if name in options}
    tifffile.imwrite(path, pixels, **opening, **{"tile": (64, 64), "metadata": None, **options})
    (image,) = images_of(path)
    return image


def noise(*shape: int, dtype: Any = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape).astype(dtype)


def test_every_level_of_a_slide(tiny_slide: Any) -> None:
    images = images_of(tiny_slide.path)
    assert [image.size for image in images] == [(2048, 1536), (512, 384), (128, 96)]
    assert [image.tile for image in images] == [(256, 256)] * 3
    assert [image.grid for image in images] == [(8, 6), (2, 2), (1, 1)]
    assert all(image.jpeg for image in images)
    with tifffile.TiffFile(tiny_slide.path) as tiff:
        for image, page in zip(images, tiff.pages, strict=True):
            assert image.offsets.tolist() == list(page.dataoffsets)
            assert image.counts.tolist() == list(page.databytecounts)
            assert image.tables == b""
    assert images[0].end == max(o + c for o, c in zip(images[0].offsets, images[0].counts, strict=True))
    assert len(images[0].absent) == 0


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_all_four_layouts_of_the_numbers(tmp_path: Path, bigtiff: bool, byteorder: str) -> None:
    image = write(tmp_path / "a.tif", noise(100, 150, 3), bigtiff=bigtiff, byteorder=byteorder, compression="jpeg")
    assert (image.size, image.grid, image.jpeg) == ((150, 100), (3, 2), True)
    data = (tmp_path / "a.tif").read_bytes()
    for offset, count in zip(image.offsets.tolist(), image.counts.tolist(), strict=True):
        assert data[offset : offset + 2] == b"\xff\xd8"
        assert data[offset + count - 2 : offset + count] == b"\xff\xd9"


def test_a_single_tile_whose_numbers_lie_in_the_directory_itself(tmp_path: Path) -> None:
    image = write(tmp_path / "a.tif", noise(64, 64, 3), compression="jpeg")
    assert image.offsets.shape == image.counts.shape == (1,)
    data = (tmp_path / "a.tif").read_bytes()
    assert data[int(image.offsets[0]) :][:2] == b"\xff\xd8"
    assert image.end <= len(data)


@pytest.mark.parametrize(
    ("pixels", "options"),
    [
        (noise(128, 128, 3), {"compression": "deflate"}),
        (noise(128, 128, 3), {"compression": "jpeg2000"}),
        (noise(128, 128, 3), {"compression": "jpeg", "tile": None}),
        (noise(128, 128), {"compression": "jpeg"}),
        (noise(3, 128, 128), {"compression": "jpeg", "photometric": "rgb", "planarconfig": "separate"}),
        (noise(128, 128, 3, dtype=np.uint16), {}),
    ],
    ids=["deflate", "JPEG 2000", "strips", "grey", "channels apart", "16 bit"],
)
def test_what_is_not_made_of_rgb_jpeg_tiles_is_told_apart(
    tmp_path: Path, pixels: np.ndarray, options: dict[str, Any]
) -> None:
    image = write(tmp_path / "a.tif", pixels, **options)
    assert image.size == (128, 128)
    assert not image.jpeg
    assert image.end > 0


def test_absent_tiles(tiny_slide: Any, spoil_tile: Callable[..., None], tmp_path: Path) -> None:
    path = tmp_path / "sparse.tif"
    path.write_bytes(tiny_slide.path.read_bytes())
    spoil_tile(path, 9, absent=True)
    spoil_tile(path, 20, absent=True)
    assert images_of(path)[0].absent.tolist() == [9, 20]
    assert [len(image.absent) for image in images_of(path)] == [2, 0, 0]


@pytest.mark.parametrize("data", [b"", b"II", b"no slide at all", bytes(100)])
def test_what_is_no_tiff(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(data)
    assert read_tiff(path) is None
    assert read_tiff(tmp_path / "absent.tif") is None
    assert read_tiff(tmp_path) is None


def test_a_table_of_offsets_without_as_many_counts_cannot_be_understood(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", noise(128, 192, 3), compression="jpeg")
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as tiff:
        tiff.pages[0].tags["TileByteCounts"].overwrite([100] * 5)  # of 6
    assert read_tiff(tmp_path / "a.tif") == ()


def test_a_directory_that_makes_no_sense(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", noise(128, 192, 3), compression="jpeg")
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as tiff:
        tiff.pages[0].tags["TileWidth"].overwrite([64, 64])
    assert read_tiff(tmp_path / "a.tif") is None


def test_a_file_that_ends_within_its_table(tiny_slide: Any, tmp_path: Path) -> None:
    image = images_of(tiny_slide.path)[0]
    cut = tmp_path / "cut.tif"
    cut.write_bytes(tiny_slide.path.read_bytes()[: image.offset_tag.offset + 10])
    with pytest.raises(OSError, match="ends within its directory"):
        dataclasses.replace(image.offset_tag, path=cut).read()


@needs_shared
def test_a_real_svs_keeps_its_tables_apart() -> None:
    first, *others = images_of(Path(str(SHARED), "data", "slides", "CMU-1-Small-Region.svs"))
    assert (first.size, first.tile, first.jpeg) == ((2220, 2967), (240, 240), True)
    assert first.tables.startswith(b"\xff\xd8")
    assert b"Adobe" in first.tables  # its samples are red, green and blue, which the tiles themselves do not say
    assert first.tables.endswith(b"\xff\xd9")
    assert first.grid == (10, 13)
    assert first.counts.shape == (130,)
    assert not any(image.jpeg for image in others)  # thumbnail, label and macro lie in strips


def test_what_is_packed_is_unpacked(tiny_slide: Any, tmp_path: Path) -> None:
    images = read_tiff(tiny_slide.path)
    assert images is not None
    assert unpack(tiny_slide.path, pack(images)) == images
    assert [image.offset_tag.path for image in unpack(tmp_path, pack(images))] == [tmp_path] * 3
    assert unpack(tmp_path, pack(())) == ()
