"""Opening a slide: what it is, how large its pixels are, and regions without holes."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openslide
from numpy.typing import NDArray
from PIL import Image

from foveate.errors import SlideError
from foveate.slides.geometry import Geometry
from foveate.slides.tiff import TiffImage, read_tiff

READ_ERRORS = (openslide.OpenSlideError, OSError)


@dataclass(frozen=True)
class Slide:
    """An open slide. `background_rgb` is the scanner's own, white where it states none.

    tiles_px: (width, height) of the tiles of every level, where the format has any.
    """

    name: str
    path: Path
    handle: openslide.OpenSlide
    geometry: Geometry
    mpp_source: str
    vendor: str
    background_rgb: tuple[int, int, int]
    tiles_px: tuple[tuple[int, int] | None, ...]

    def read(self, x_lv: int, y_lv: int, level: int, width: int, height: int) -> Image.Image:
        """A region of a level, RGBA; outside the slide and in absent tiles alpha is 0.

        Raises
        ------
        SlideError
            If a tile cannot be decoded. OpenSlide's handle is of no use afterwards: every later read fails.
        """
        downsample = self.geometry.downsamples[level]
        corner_l0 = (round(x_lv * downsample), round(y_lv * downsample))
        try:
            return self.handle.read_region(corner_l0, level, (width, height))
        except READ_ERRORS as error:
            raise SlideError(
                self.name,
                f"cannot read {width} x {height} px at ({x_lv}, {y_lv}) of level {level}"
                f"{self._tiles(x_lv, y_lv, level, width, height)}: {error}",
                "copy the file again, or set the exclude column",
            ) from error

    def reopen(self) -> "Slide":
        """The same slide with a handle of its own. Raises SlideError if it cannot be opened any more."""
        return dataclasses.replace(self, handle=_open(self.name, self.path))

    def _tiles(self, x_lv: int, y_lv: int, level: int, width: int, height: int) -> str:
        """Which tiles a region touches, where the format has any."""
        tile = self.tiles_px[level]
        if tile is None:
            return ""
        columns, rows = self.geometry.sizes_lv[level]
        first = (max(0, x_lv) // tile[0], max(0, y_lv) // tile[1])
        last = ((min(x_lv + width, columns) - 1) // tile[0], (min(y_lv + height, rows) - 1) // tile[1])
        if first == last:
            return f", in tile {first[0]}, {first[1]} (column, row)"
        return f", in one of the tiles {first[0]}, {first[1]} to {last[0]}, {last[1]} (column, row)"


def open_slide(name: str, path: str | Path, mpp: float | None = None) -> Slide:
    """Open a slide with OpenSlide.

    Parameters
    ----------
    mpp : um per level-0 pixel, over what the file states; needed where it states nothing.

    Raises
    ------
    SlideError
        If the file is absent, no slide, or its resolution is unknown.
    """
    path = Path(path)
    handle = _open(name, path)
    try:
        pixel_um, source = _resolution(name, handle, mpp)
    except SlideError:
        handle.close()
        raise
    properties = handle.properties
    width, height = handle.dimensions
    bounds = (
        int(properties.get(openslide.PROPERTY_NAME_BOUNDS_X, 0)),
        int(properties.get(openslide.PROPERTY_NAME_BOUNDS_Y, 0)),
        int(properties.get(openslide.PROPERTY_NAME_BOUNDS_WIDTH, width)),
        int(properties.get(openslide.PROPERTY_NAME_BOUNDS_HEIGHT, height)),
    )
    geometry = Geometry(pixel_um, handle.level_dimensions, handle.level_downsamples, bounds)
    colour = properties.get(openslide.PROPERTY_NAME_BACKGROUND_COLOR, "ffffff")
    background = (int(colour[0:2], 16), int(colour[2:4], 16), int(colour[4:6], 16))
    vendor = properties.get(openslide.PROPERTY_NAME_VENDOR, "unknown")
    tiles = tuple(_tile(properties, level) for level in range(handle.level_count))
    return Slide(name, path, handle, geometry, source, vendor, background, tiles)


def composite(rgba: Image.Image, background_rgb: tuple[int, int, int]) -> NDArray[np.uint8]:
    """An RGBA image over a plain colour, (h, w, 3). Without it a hole would read as black."""
    if rgba.getchannel("A").getextrema() == (255, 255):
        return np.asarray(rgba.convert("RGB"))
    plain = Image.new("RGBA", rgba.size, (*background_rgb, 255))
    return np.asarray(Image.alpha_composite(plain, rgba).convert("RGB"))


def _tile(properties: Mapping[str, str], level: int) -> tuple[int, int] | None:
    width, height = (properties.get(f"openslide.level[{level}].tile-{side}") for side in ("width", "height"))
    return None if width is None or height is None else (int(width), int(height))


def _resolution(name: str, handle: openslide.OpenSlide, mpp: float | None) -> tuple[tuple[float, float], str]:
    if mpp is not None:
        return (mpp, mpp), "the mpp column"
    keys = (openslide.PROPERTY_NAME_MPP_X, openslide.PROPERTY_NAME_MPP_Y)
    try:
        x, y = (float(handle.properties[key]) for key in keys)
    except (KeyError, ValueError):
        x = y = 0.0
    if not (0.01 < x < 1000 and 0.01 < y < 1000):
        raise SlideError(
            name,
            "the file does not state its resolution (um per pixel)",
            "set the mpp column of the samples sheet",
        )
    return (x, y), "openslide.mpp-x, openslide.mpp-y"


def check_length(name: str, path: Path, images: Sequence[TiffImage] | None) -> None:
    """A TIFF whose tiles or directory lie beyond its end was cut. OpenSlide would only notice at the hole.

    Raises
    ------
    SlideError
        If the file is shorter than its own table of tiles says.
    """
    if images is None:
        return  # no TIFF; OpenSlide knows better
    size = path.stat().st_size
    try:
        needed = max(image.end for image in images)
        needs = f"its tiles need {needed:,}"
    except (OSError, ValueError):  # a table of tiles, or the whole directory
        needed, needs = size + 1, "its directory lies behind them"
    if needed > size:
        raise SlideError(
            name,
            f"{path} is cut short: it has {size:,} bytes, {needs}",
            "copy the file again, or set the exclude column",
        )


def _open(name: str, path: Path) -> openslide.OpenSlide:
    try:
        path.stat()
    except OSError as error:
        raise SlideError(name, f"{path} cannot be read: {error.strerror}", "correct the path column") from error
    try:
        return openslide.OpenSlide(path)
    except READ_ERRORS as error:
        check_length(name, path, read_tiff(path))
        raise SlideError(
            name,
            f"OpenSlide cannot open {path}: {error}",
            "correct the path column, copy the file again, or set the exclude column",
        ) from error
