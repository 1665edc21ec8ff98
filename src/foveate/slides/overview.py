"""The overview: the whole slide at low resolution, read in bands, with tissue and cells."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from foveate.errors import SlideError
from foveate.slides.handle import Slide, composite
from foveate.slides.tissue import TissueSettings, cell_shares, has_dark_background, tissue_mask

BAND_PX = 16_000_000  # level pixels read at once: 64 MB of RGBA, whatever the slide's size
MIN_GLASS = 0.01  # share of the overview below which there is too little glass to take its colour


@dataclass(frozen=True)
class Thumbnail:
    """The scanned area at `mpp` um per pixel.

    image: (H, W, 3), area-averaged, holes in the slide's background colour. scanned: (H, W) bool, False
    in holes. origin_um: (x, y) of the top-left corner.
    """

    image: NDArray[np.uint8]
    scanned: NDArray[np.bool_]
    mpp: float
    origin_um: tuple[float, float]


@dataclass(frozen=True)
class Overview:
    """A thumbnail and what it shows: all that is known of a slide before the first glimpse.

    tissue: (H, W) bool. cell_tissue: (rows, columns) share of tissue. background_rgb: the colour of the glass.
    """

    thumbnail: Thumbnail
    tissue: NDArray[np.bool_]
    cell_tissue: NDArray[np.float32]
    background_rgb: tuple[int, int, int]


def read_thumbnail(slide: Slide, mpp: float) -> Thumbnail:
    """Read the slide's bounds at `mpp` um per pixel from the nearest finer level.

    The last row and column may reach past the bounds by less than a pixel. A slide with one level is read
    in bands, never whole.
    """
    geometry = slide.geometry
    fine_enough = [k for k in range(len(geometry.downsamples)) if geometry.level_mpp(k) <= mpp * 1.001]
    level = max(fine_enough, key=geometry.level_mpp, default=0)
    downsample = geometry.downsamples[level]
    x, y, width, height = (side / downsample for side in geometry.bounds_l0)
    step_x, step_y = (mpp / (pixel * downsample) for pixel in geometry.mpp)
    columns, rows = int(np.ceil(width / step_x - 1e-6)), int(np.ceil(height / step_y - 1e-6))
    rgba = np.empty((rows, columns, 4), np.uint8)
    band = max(1, int(BAND_PX / (width * step_y)))
    for first in range(0, rows, band):
        count = min(band, rows - first)
        left, top = int(x), int(y + first * step_y)
        box = (x - left, y + first * step_y - top, x - left + columns * step_x, y + (first + count) * step_y - top)
        region = slide.read(left, top, level, int(np.ceil(box[2])), int(np.ceil(box[3])))
        rgba[first : first + count] = np.asarray(region.resize((columns, count), Image.Resampling.BOX, box))
    left_um, top_um = geometry.l0_to_um(np.array(geometry.bounds_l0[:2])).tolist()
    image = composite(Image.fromarray(rgba), slide.background_rgb)
    return Thumbnail(image, rgba[..., 3] > 127, mpp, (left_um, top_um))


def make_overview(slide: Slide, thumbnail: Thumbnail, cell_px: int, settings: TissueSettings) -> Overview:
    """Find the tissue on a thumbnail, and the colour of the glass around it.

    Raises
    ------
    SlideError
        If the background is dark, or no tissue is found.
    """
    image, scanned = thumbnail.image, thumbnail.scanned
    if scanned.any() and has_dark_background(image[scanned][None]):
        raise SlideError(
            slide.name,
            "the background is dark: a fluorescence scan, not brightfield H&E",
            "set the exclude column",
        )
    tissue = tissue_mask(image, thumbnail.mpp, settings) & scanned
    if not tissue.any():
        raise SlideError(
            slide.name,
            "no tissue was found on the overview",
            "look at its thumbnail; lower tissue.min_area_um2, or set the exclude column",
        )
    glass = scanned & ~tissue
    background = slide.background_rgb
    if glass.mean() > MIN_GLASS:
        r, g, b = np.median(image[glass], 0)
        background = (int(r), int(g), int(b))
    return Overview(thumbnail, tissue, cell_shares(tissue, cell_px), background)
