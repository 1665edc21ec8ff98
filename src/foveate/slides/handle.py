"""Opening a slide: what it is, how large its pixels are, and regions without holes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openslide
import tifffile
from numpy.typing import NDArray
from PIL import Image

from foveate.errors import SlideError
from foveate.slides.geometry import Geometry

READ_ERRORS = (openslide.OpenSlideError, OSError)


@dataclass(frozen=True)
class Slide:
    """An open slide. `background_rgb` is the scanner's own, white where it states none."""

    name: str
    path: Path
    handle: openslide.OpenSlide
    geometry: Geometry
    mpp_source: str
    vendor: str
    background_rgb: tuple[int, int, int]

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
                f"cannot read {width} x {height} px at ({x_lv}, {y_lv}) of level {level}: {error}",
                "copy the file again, or set the exclude column",
            ) from error


def open_slide(name: str, path: str | Path, mpp: float | None = None, *, check: bool = True) -> Slide:
    """Open a slide with OpenSlide.

    Parameters
    ----------
    mpp : um per level-0 pixel, over what the file states; needed where it states nothing.
    check : whether to compare the file's length with its table of tiles, which costs more than the opening.

    Raises
    ------
    SlideError
        If the file is absent, no slide, cut short, or its resolution is unknown.
    """
    path = Path(path)
    try:
        path.stat()
    except OSError as error:
        raise SlideError(name, f"{path} cannot be read: {error.strerror}", "correct the path column") from error
    try:
        handle = openslide.OpenSlide(path)
    except READ_ERRORS as error:
        _check_length(name, path)
        raise SlideError(
            name,
            f"OpenSlide cannot open {path}: {error}",
            "correct the path column, copy the file again, or set the exclude column",
        ) from error
    try:
        if check:
            _check_length(name, path)
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
    return Slide(name, path, handle, geometry, source, vendor, background)


def composite(rgba: Image.Image, background_rgb: tuple[int, int, int]) -> NDArray[np.uint8]:
    """An RGBA image over a plain colour, (h, w, 3). Without it a hole would read as black."""
    if rgba.getchannel("A").getextrema() == (255, 255):
        return np.asarray(rgba.convert("RGB"))
    plain = Image.new("RGBA", rgba.size, (*background_rgb, 255))
    return np.asarray(Image.alpha_composite(plain, rgba).convert("RGB"))


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


def _check_length(name: str, path: Path) -> None:
    """A TIFF whose tiles or directory lie beyond its end was cut. OpenSlide would only notice at the hole."""
    size = path.stat().st_size
    try:
        with tifffile.TiffFile(path) as tiff:
            pages = [page for page in tiff.pages if isinstance(page, tifffile.TiffPage)]
            ends = [
                offset + count
                for page in pages
                for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)
            ]
    except (tifffile.TiffFileError, ValueError, IndexError, OSError):
        return  # no TIFF; OpenSlide opened it and knows better
    needs = f"its tiles need {max(ends):,}" if ends else "its directory lies behind them"
    if not pages or max(ends, default=0) > size:
        raise SlideError(
            name,
            f"{path} is cut short: it has {size:,} bytes, {needs}",
            "copy the file again, or set the exclude column",
        )
