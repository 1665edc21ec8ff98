"""Tiny real slides: pyramidal tiled BigTIFFs that OpenSlide opens, with contents that a test can predict."""

import dataclasses
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import settings

from foveate.cohort.samples import Sample
from foveate.config import Config, read_config
from foveate.slides.overview_file import Mapped, StoredOverview, read_overview
from foveate.stages import overview
from foveate.stages.outputs import Outputs

# the same examples in every run, and no clock: the machine may be busy
settings.register_profile("foveate", derandomize=True, deadline=None)
settings.load_profile("foveate")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Every test draws the same weights, its module's fixtures too, whichever tests its process ran before."""
    if keras := sys.modules.get("keras"):
        keras.utils.set_random_seed(0)


CONFIG = Path(__file__).parents[1] / "config" / "config.yaml"
GLASS = (244, 242, 246)
MARKER_RGB = (20, 150, 60)
Pixels = np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]


@dataclass(frozen=True)
class TinySlide:
    """A slide file and what was painted on it.

    pixels: (height, width, 3), level 0 before compression. mpp: (x, y) um/px. tissue_um: left, top, right,
    bottom. marker_l0: left, top of a square of `marker_px` pixels of one colour within the tissue.
    """

    path: Path
    pixels: Pixels
    mpp: tuple[float, float]
    tissue_um: tuple[float, float, float, float] | None = None
    marker_l0: tuple[int, int] = (640, 320)
    marker_px: int = 32
    marker_rgb: tuple[int, int, int] = MARKER_RGB
    glass_rgb: tuple[int, int, int] = GLASS


def write_slide(
    path: Path,
    *,
    size: tuple[int, int] = (2048, 1536),
    mpp: tuple[float, float] | None = (1.0, 1.0),
    levels: int = 3,
    step: int = 4,
    tile: int = 256,
    compression: str = "jpeg",
    subsampling: tuple[int, int] = (2, 2),
    tissue_um: tuple[float, float, float, float] | None = (400, 200, 1200, 700),
    glass: tuple[int, int, int] = GLASS,
) -> TinySlide:
    """White glass, a block of tissue at the left and top, a green marker in it. mpp None: no resolution tags."""
    made = TinySlide(path, _paint(size, mpp or (1.0, 1.0), tissue_um, glass), mpp or (1.0, 1.0), tissue_um)
    images = [made.pixels]
    for _ in range(levels - 1):
        images.append(shrink(images[-1], step))
    write_pyramid(path, images, mpp=mpp, tile=tile, compression=compression, subsampling=subsampling)
    return made


def write_pyramid(
    path: Path,
    images: Sequence[Pixels],
    *,
    mpp: tuple[float, float] | None = (1.0, 1.0),
    tile: int = 256,
    compression: str = "jpeg",
    subsampling: tuple[int, int] = (2, 2),
    description: str | None = None,
    software: str | None = None,
) -> None:
    """Write the levels of a slide, finest first. mpp: (x, y) um/px of the first; None: no resolution tags."""
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for k, image in enumerate(images):
            tags: dict[str, Any] = {}
            if compression == "jpeg":
                tags = {"compressionargs": {"level": 90}, "subsampling": subsampling}
            if mpp is not None:
                widths = images[0].shape[1] / image.shape[1]
                tags |= {"resolutionunit": "CENTIMETER", "resolution": tuple(10_000 / (side * widths) for side in mpp)}
            file.write(
                image,
                tile=(tile, tile),
                photometric="rgb",
                compression=compression,
                subfiletype=1 if k else 0,
                description=None if k else description,
                software=software,
                metadata=None,
                **tags,
            )


def _paint(
    size: tuple[int, int],
    mpp: tuple[float, float],
    tissue_um: tuple[float, float, float, float] | None,
    glass: tuple[int, int, int],
) -> Pixels:
    pixels = np.full((size[1], size[0], 3), glass, np.uint8)
    if tissue_um is not None:
        left, top, right, bottom = (round(side / mpp[k % 2]) for k, side in enumerate(tissue_um))
        height, width = pixels[top:bottom, left:right].shape[:2]
        rng = np.random.default_rng(0)
        nuclei = np.kron(rng.random((height // 8 + 1, width // 8 + 1)) < 0.4, np.ones((8, 8), bool))[:height, :width]
        tissue = np.where(nuclei[..., None], (110, 60, 150), (215, 140, 190)) + rng.integers(-8, 9, (height, width, 1))
        pixels[top:bottom, left:right] = tissue
        pixels[320:352, 640:672] = MARKER_RGB
    return pixels


def shrink(pixels: Pixels, step: int) -> Pixels:
    """The mean of each `step` x `step` pixels; what is left over at the right and below is cut off."""
    height, width = (side // step for side in pixels.shape[:2])
    whole = pixels[: height * step, : width * step].reshape(height, step, width, step, 3)
    return whole.mean((1, 3)).round().astype(np.uint8)


def overwrite_tile(path: Path, index: int, *, absent: bool, page: int = 0) -> None:
    """Spoil a tile of a page in place: fill it with noise, or mark it as absent (offset and length 0)."""
    with tifffile.TiffFile(path) as tiff:
        tags = [tiff.pages[page].tags[name] for name in ("TileOffsets", "TileByteCounts")]  # type: ignore[union-attr]
        entries = [(tag.valueoffset, tag.valuebytecount // tag.count) for tag in tags]
        offset, length = (tag.value[index] for tag in tags)
    with path.open("r+b") as file:
        if not absent:
            file.seek(offset)
            file.write(np.random.default_rng(1).integers(0, 256, length, np.uint8).tobytes())
            return
        for start, width in entries:
            file.seek(start + index * width)
            file.write(bytes(width))


def break_off_tile(path: Path, index: int, *, page: int = 0, at: float = 0.5) -> None:
    """Change one byte after a share `at` of a JPEG tile: others warn, if that, and give grey from there on.

    An escaped 0xFF becomes a restart marker that should not be there.
    """
    with tifffile.TiffFile(path) as tiff:
        images: Any = tiff.pages[page]
        offset, length = images.dataoffsets[index], images.databytecounts[index]
    data = bytearray(path.read_bytes())
    byte = data.index(b"\xff\x00", offset + round(length * at), offset + length) + 1
    data[byte] = 0xD0
    path.write_bytes(data)


@pytest.fixture(scope="session")
def make_slide() -> Callable[..., TinySlide]:
    """`write_slide`."""
    return write_slide


@pytest.fixture(scope="session")
def make_pyramid() -> Callable[..., None]:
    """`write_pyramid`."""
    return write_pyramid


@pytest.fixture(scope="session")
def shrunk() -> Callable[..., Pixels]:
    """`shrink`."""
    return shrink


@pytest.fixture(scope="session")
def break_tile() -> Callable[..., None]:
    """`break_off_tile`."""
    return break_off_tile


@pytest.fixture(scope="session")
def spoil_tile() -> Callable[..., None]:
    """`overwrite_tile`."""
    return overwrite_tile


@pytest.fixture(scope="session")
def tiny_slide(tmp_path_factory: pytest.TempPathFactory) -> TinySlide:
    """A good slide, 2048 x 1536 px at 1 um/px, levels of 1, 4 and 16 um/px, JPEG. Not to be changed."""
    return write_slide(tmp_path_factory.mktemp("slides") / "tiny.tif")


@pytest.fixture(scope="session")
def exact_slide(tmp_path_factory: pytest.TempPathFactory) -> TinySlide:
    """The same without loss. Not to be changed."""
    return write_slide(tmp_path_factory.mktemp("slides") / "exact.tif", compression="deflate")


@pytest.fixture
def mapped(tmp_path: Path) -> Callable[[Pixels], Mapped]:
    """Put an image into a file of its own, as an overview refers to it."""

    def put(pixels: Pixels) -> Mapped:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.raw"
        pixels.tofile(path)
        return Mapped(path, 0, pixels.shape)

    return put


@pytest.fixture(scope="session")
def config() -> Config:
    """The default configuration, with cells of 8 x 8 overview pixels whatever the default is."""
    default = read_config(CONFIG)
    return dataclasses.replace(default, overview=dataclasses.replace(default.overview, mpp=16.0, cell_um=128.0))


@pytest.fixture(scope="session")
def overview_of(tmp_path_factory: pytest.TempPathFactory, config: Config) -> Callable[..., StoredOverview]:
    """Run the overview stage on a TinySlide or a path and read what it wrote."""

    def make(source: TinySlide | Path, slide: str = "tiny") -> StoredOverview:
        path = source if isinstance(source, Path) else source.path
        out = Outputs.of(slide, tmp_path_factory.mktemp("results"))
        overview.run(config, Sample(slide, "patient", path), out)
        stored = read_overview(out.overview)
        assert stored is not None
        return stored

    return make
