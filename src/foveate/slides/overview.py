"""The overview: the whole slide at low resolution, read in bands, with tissue and cells."""

import dataclasses
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from foveate.errors import SlideError
from foveate.slides.geometry import EQUAL
from foveate.slides.handle import Slide, composite
from foveate.slides.raster import Raster
from foveate.slides.tissue import Tissue, TissueSettings, cell_shares, find_tissue, has_dark_background

BAND_PX = 16_000_000  # level pixels read at once: 64 MB of RGBA, whatever the slide's size
MIN_GLASS = 0.01  # share of the overview below which there is too little glass to take its colour


@dataclass(frozen=True)
class Scan:
    """The scanned area of a slide, small, over a plain colour where it has holes.

    rgba: the level that serves coarse scales, transparent in holes, with pixels of `pixel_um` (x, y). small: the same
    averaged to `mpp` um per pixel. Both begin at `origin_um` (x, y).
    """

    rgba: Image.Image
    small: Image.Image
    pixel_um: tuple[float, float]
    mpp: float
    origin_um: tuple[float, float]
    background_rgb: tuple[int, int, int]

    @cached_property
    def coarse(self) -> Raster:
        """The level that serves coarse scales."""
        return Raster(composite(self.rgba, self.background_rgb), self.pixel_um, self.origin_um)

    @cached_property
    def thumbnail(self) -> NDArray[np.uint8]:
        """(H, W, 3), the area at `mpp` um per pixel."""
        return composite(self.small, self.background_rgb)

    @cached_property
    def scanned(self) -> NDArray[np.bool_]:
        """(H, W), False in holes of the thumbnail."""
        return np.asarray(self.small.getchannel("A")) > 127


@dataclass(frozen=True)
class Overview:
    """A scan and what it shows: all that is known of a slide before the first glimpse.

    scan: over the colour of the glass. cell_tissue: (rows, columns) share of tissue.
    """

    scan: Scan
    tissue: Tissue
    cell_tissue: NDArray[np.float32]


def read_scan(slide: Slide, mpp: float, coarse_mpp: float) -> Scan:
    """Read the slide's bounds at `coarse_mpp` um per pixel, and average them to a thumbnail at `mpp`.

    A level within 5 % of `coarse_mpp` is taken as it is, pixel for pixel; a finer one is averaged; where all are
    coarser, the finest is taken. The last row and column may reach past the bounds by less than a pixel.
    """
    rgba, pixel_um, origin_um = _read_bounds(slide, coarse_mpp)
    coarse = Image.fromarray(rgba)
    columns, rows = (int(np.ceil(n * p / mpp - 1e-6)) for n, p in zip(coarse.size, pixel_um, strict=True))
    small = _average(coarse, (mpp / pixel_um[0], mpp / pixel_um[1]), columns, rows)
    return Scan(coarse, small, pixel_um, mpp, origin_um, slide.background_rgb)


def make_overview(slide: Slide, scan: Scan, cell_px: int, settings: TissueSettings) -> Overview:
    """Find the tissue on a scan, and the colour of the glass around it.

    Raises
    ------
    SlideError
        If the background is dark, or no tissue is found.
    """
    image, scanned = scan.thumbnail, scan.scanned
    if scanned.any() and has_dark_background(image[scanned][None]):
        raise SlideError(
            slide.name,
            "the background is dark: a fluorescence scan, not brightfield H&E",
            "set the exclude column",
        )
    tissue = find_tissue(image, scanned, scan.mpp, settings)
    if not tissue.mask.any():
        raise SlideError(
            slide.name,
            "no tissue was found on the overview",
            "look at its thumbnail; lower tissue.min_area_um2, or set the exclude column",
        )
    glass = scanned & ~tissue.mask & ~tissue.pen
    background = slide.background_rgb
    if glass.mean() > MIN_GLASS:
        r, g, b = np.median(image[glass], 0)
        background = (int(r), int(g), int(b))
    return Overview(dataclasses.replace(scan, background_rgb=background), tissue, cell_shares(tissue.mask, cell_px))


def _read_bounds(slide: Slide, mpp: float) -> tuple[NDArray[np.uint8], tuple[float, float], tuple[float, float]]:
    """RGBA pixels of the bounds, um per pixel (x, y), and um (x, y) of their corner."""
    geometry = slide.geometry
    level = geometry.coarsest_within(mpp) or 0
    pixel_um = geometry.pixel_um(level)
    x, y, width, height = (side / geometry.downsamples[level] for side in geometry.bounds_l0)
    native = geometry.level_mpp(level) * EQUAL >= mpp
    if native:  # from the whole pixel at or before the corner to the one at or after the end
        right, bottom = np.ceil(x + width - 1e-6), np.ceil(y + height - 1e-6)
        x, y = float(np.floor(x + 1e-6)), float(np.floor(y + 1e-6))
        width, height = right - x, bottom - y
    step_x, step_y = (1.0, 1.0) if native else (mpp / pixel_um[0], mpp / pixel_um[1])
    columns, rows = int(np.ceil(width / step_x - 1e-6)), int(np.ceil(height / step_y - 1e-6))
    rgba = np.empty((rows, columns, 4), np.uint8)
    band = max(1, int(BAND_PX / (width * step_y)))
    for first in range(0, rows, band):
        count = min(band, rows - first)
        left, top = int(x), int(y + first * step_y)
        inset = (x - left, y + first * step_y - top)
        wide, tall = int(np.ceil(inset[0] + columns * step_x)), int(np.ceil(inset[1] + count * step_y))
        region = slide.read(left, top, level, wide, tall)
        rgba[first : first + count] = np.asarray(_average(region, (step_x, step_y), columns, count, inset))
    x_um, y_um = geometry.lv_to_um(np.array((x, y)), level).tolist()
    return rgba, (pixel_um[0] * step_x, pixel_um[1] * step_y), (x_um, y_um)


def _average(
    image: Image.Image, step: tuple[float, float], columns: int, rows: int, inset: tuple[float, float] = (0.0, 0.0)
) -> Image.Image:
    """The mean of each `step` (x, y) px of an image from `inset` on, transparent beyond it.

    Where a step is no whole number, each pixel counts for the mean that its centre lies in.
    """
    right, bottom = inset[0] + columns * step[0], inset[1] + rows * step[1]
    if step == (1.0, 1.0) and inset == (0.0, 0.0):
        return image.crop((0, 0, columns, rows))
    if right > image.width or bottom > image.height:
        image = image.crop((0, 0, max(image.width, int(np.ceil(right))), max(image.height, int(np.ceil(bottom)))))
    return image.resize((columns, rows), Image.Resampling.BOX, (*inset, right, bottom))
