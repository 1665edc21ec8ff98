"""Where the tissue is, on the overview.

Stain is colour: tissue is where the largest and the smallest of R, G, B lie far apart, or where it is
dark. The threshold is Otsu's (IEEE Trans. SMC 9, 1979), kept within bounds because a slide that is almost
all glass or almost all tissue has no two modes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from skimage.filters import threshold_otsu
from skimage.filters.rank import median
from skimage.morphology import closing, disk, opening, remove_small_holes, remove_small_objects

# Grey levels. Below the lower bound lie the scanner's noise and its tint; stained tissue is above the upper.
CHROMA_BOUNDS = (12, 40)
DARK = 150  # mean grey below which a pixel is tissue whatever its colour
BLACK = 25  # the slide's edge, or a hole in the scan
FLUORESCENCE = 70  # brightest quarter of the overview below this: the background is dark


@dataclass(frozen=True)
class TissueSettings:
    """Physical sizes in um²: smaller pieces are dropped, smaller holes filled."""

    min_area_um2: float
    hole_area_um2: float


def has_dark_background(image: NDArray[np.uint8]) -> bool:
    """Whether an (H, W, 3) overview is dark where brightfield slides are bright."""
    return bool(np.percentile(image.mean(2), 75) < FLUORESCENCE)


def tissue_mask(image: NDArray[np.uint8], mpp: float, settings: TissueSettings) -> NDArray[np.bool_]:
    """(H, W) bool of an (H, W, 3) overview at `mpp` um per pixel. All False where there is no tissue."""
    chroma = image.max(2) - image.min(2)
    chroma = median(chroma, disk(2))
    low, high = CHROMA_BOUNDS
    threshold = low if chroma.max() <= low else np.clip(threshold_otsu(chroma), low, high)
    grey = image.mean(2)
    mask = ((chroma > threshold) | (grey < DARK)) & (grey > BLACK)
    mask = opening(closing(mask, disk(2)), disk(1))
    mask = remove_small_objects(mask, max_size=int(settings.min_area_um2 / mpp**2))
    return remove_small_holes(mask, max_size=int(settings.hole_area_um2 / mpp**2))


def cell_shares(mask: NDArray[np.bool_], cell_px: int) -> NDArray[np.float32]:
    """(rows, columns) share of each `cell_px` x `cell_px` cell that the mask covers; edge cells count as full size."""
    rows, columns = (-(-side // cell_px) for side in mask.shape)
    padded = np.zeros((rows * cell_px, columns * cell_px), np.float32)
    padded[: mask.shape[0], : mask.shape[1]] = mask
    return padded.reshape(rows, cell_px, columns, cell_px).mean((1, 3))
