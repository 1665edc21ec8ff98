"""Where the tissue is, and where somebody drew on the glass, on the overview.

Stain is colour: tissue is saturated, or dark. The threshold of saturation is Otsu's (IEEE Trans. SMC 9, 1979),
kept within bounds because a slide that is almost all glass or almost all tissue has no two modes. Everything is
integer arithmetic and separable boxes: an overview of 5 million pixels takes a fraction of a second.

Images are (H, W, 3) uint8, RGB, brightfield.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu

Mask = NDArray[np.bool_]
Grey = NDArray[np.uint8]

# Saturation, 255 (max - min) / max, which keeps the dark and greyish stains of some centres farther from glass than
# max - min alone. Glass of a real slide stays below 12 (99.9 %); tissue of the five CAMELYON17 centres, averaged to
# 16 um/px, is above 45.
SATURATION_BOUNDS = (12, 45)
# Where Otsu's threshold is under the lower bound, or it finds less than this share (dust and fibres must not hide a
# pale section, so not 0), the slide is empty or pale. Then what rises so far above the commonest saturation, which is
# the glass's tint, is tissue.
NEXT_TO_NOTHING = 0.001
PALE_RISE = 4
DARK = 150  # mean grey below which a pixel is tissue whatever its colour
BLACK = 25  # brightest channel of the slide's edge, or of a hole in the scan
FLUORESCENCE = 70  # brightest quarter of the overview below this: the background is dark

# Felt pens. In H&E green is the weakest channel: averaged to 16 um/px, R - G is at least 0.35 (max - min) in the
# lymphoid tissue of the five centres, and 0.08 in undiluted haematoxylin (Ruifrok and Johnston, 2001).
COLD_RISE, COLD_DIVISOR = 4, 20  # blue and green ink: G is above R by more than the rise + (max - min) / divisor
INK_CHROMA = 25  # ... and max - min is at least this: paler is a tint of the glass
# Red ink, and blue ink with a touch of violet, are told by their strength: blood has a hue as red, but its saturation
# at 16 um/px stays below 150, and undiluted haematoxylin's at 155. Pale red ink is taken for eosin.
INK_SATURATION = 165
RED_DIVISOR, VIOLET_DIVISOR = 3, 8  # red: |G - B|, violet-blue: R - G is at most (max - min) / divisor
INK_BLACK, INK_GREY = 90, 18  # black: max, max - min at most. The darkest lymphoid tissue has max - min above 25

SMOOTH_UM = 16  # boxes reach this far from their centre, at least one pixel
CLOSE_UM, OPEN_UM = 32, 16
INK_OPEN_UM = 32  # a stroke is wider than twice this
HALO_UM = 48  # the soft edge of ink and of the black border, on either side


@dataclass(frozen=True)
class TissueSettings:
    """Physical sizes in um²: smaller pieces are dropped, smaller holes filled."""

    min_area_um2: float
    hole_area_um2: float


@dataclass(frozen=True)
class Tissue:
    """What an overview shows. mask, pen: (H, W) bool. pale: whether a second, lower threshold was needed."""

    mask: Mask
    pen: Mask
    pale: bool


def has_dark_background(image: Grey) -> bool:
    """Whether an (H, W, 3) overview is dark where brightfield slides are bright."""
    total = image[..., 0] + image[..., 1].astype(np.uint16) + image[..., 2]
    return bool(np.percentile(total, 75) < 3 * FLUORESCENCE)


def find_tissue(image: Grey, scanned: Mask, mpp: float, settings: TissueSettings) -> Tissue:
    """Tissue and pen marks of an overview.

    Parameters
    ----------
    image : (H, W, 3), brightfield.
    scanned : (H, W), False where the slide has no pixels.
    mpp : um per pixel of the image.

    Returns
    -------
    Tissue
        `mask` and `pen` are disjoint and within `scanned`. The mask is all False where there is no tissue.
    """
    colour = _Colour.of(image)
    pen = _pen(colour, mpp) & scanned
    black = colour.high <= BLACK
    if black.any():
        black = _grown(black, _px(HALO_UM, mpp))
    usable = scanned & ~pen & ~black
    if not usable.any():
        return Tissue(np.zeros_like(usable), pen, False)
    saturation = _smoothed(colour.saturation, mpp)
    counts = np.bincount(saturation[usable], minlength=256)
    candidates = usable & ~colour.cold
    dark = colour.total < 3 * DARK
    otsu = _otsu(counts)
    mask = _cleaned(candidates & (dark | (saturation > np.clip(otsu, *SATURATION_BOUNDS))), mpp, settings)
    pale = False
    if otsu < SATURATION_BOUNDS[0] or mask.sum() < NEXT_TO_NOTHING * usable.sum():
        glass = int(counts.argmax())
        # cut off, so that smoothing does not spread a speck of strong colour over its surroundings
        weak = _smoothed(np.minimum(colour.saturation, glass + 2 * PALE_RISE), mpp)
        lower = _cleaned(candidates & (dark | (weak > glass + PALE_RISE)), mpp, settings)
        pale = bool(lower.sum() > mask.sum())
        mask |= lower
    return Tissue(mask & scanned & ~pen, pen, pale)


def cell_shares(mask: Mask, cell_px: int) -> NDArray[np.float32]:
    """(rows, columns) share of each `cell_px` x `cell_px` cell that the mask covers; edge cells count as full size."""
    rows, columns = (-(-side // cell_px) for side in mask.shape)
    padded = np.zeros((rows * cell_px, columns * cell_px), np.float32)
    padded[: mask.shape[0], : mask.shape[1]] = mask
    return padded.reshape(rows, cell_px, columns, cell_px).mean((1, 3))


@dataclass(frozen=True)
class _Colour:
    """Per pixel: the three channels, and what follows from them."""

    r: Grey
    g: Grey
    b: Grey
    high: Grey
    chroma: Grey
    saturation: Grey
    total: NDArray[np.uint16]
    cold: Mask

    @classmethod
    def of(cls, image: Grey) -> "_Colour":
        r, g, b = (np.ascontiguousarray(image[..., k]) for k in range(3))
        high = np.maximum(np.maximum(r, g), b)
        chroma = high - np.minimum(np.minimum(r, g), b)
        saturation = (chroma * np.uint16(255) // np.maximum(high, 1)).astype(np.uint8)
        total = r + g.astype(np.uint16) + b
        cold = (g > r) & (g - r > chroma // COLD_DIVISOR + COLD_RISE)
        return cls(r, g, b, high, chroma, saturation, total, cold)


def _pen(colour: _Colour, mpp: float) -> Mask:
    r, g, b, chroma = colour.r, colour.g, colour.b, colour.chroma
    ink = colour.cold & (chroma >= INK_CHROMA)
    ink |= (colour.high <= INK_BLACK) & (colour.high > BLACK) & (chroma <= INK_GREY)
    strong = colour.saturation >= INK_SATURATION
    if strong.any():
        red = (r == colour.high) & (np.maximum(g, b) - np.minimum(g, b) <= chroma // RED_DIVISOR)
        violet = (b == colour.high) & (r.astype(np.int16) - g <= chroma // VIOLET_DIVISOR)
        ink |= strong & (red | violet)
    if not ink.any():
        return ink
    ink = _opened(ink, _px(INK_OPEN_UM, mpp))
    return _grown(ink, _px(HALO_UM, mpp)) if ink.any() else ink


def _smoothed(image: Grey, mpp: float) -> Grey:
    return ndimage.uniform_filter(image, 2 * _px(SMOOTH_UM, mpp) + 1)


def _otsu(counts: NDArray[np.int64]) -> int:
    """Otsu's threshold of a histogram; 0 where all is of one level."""
    return int(threshold_otsu(hist=counts)) if np.count_nonzero(counts) > 1 else 0


def _cleaned(mask: Mask, mpp: float, settings: TissueSettings) -> Mask:
    """Close, open, drop crumbs, fill holes."""
    reach = _px(CLOSE_UM, mpp)
    closed = _shrunk(_grown(np.pad(mask, reach), reach), reach)[reach:-reach, reach:-reach]
    mask = _opened(closed, _px(OPEN_UM, mpp))
    mask = _without_small(mask, settings.min_area_um2 / mpp**2)
    # glass that touches the edge of the overview is no hole: a frame of it around makes it one large piece
    outside = np.pad(~mask, 1, constant_values=True)
    return ~_without_small(outside, settings.hole_area_um2 / mpp**2)[1:-1, 1:-1]


def _without_small(mask: Mask, area_px: float) -> Mask:
    """Drop the pieces, joined by edges, of at most `area_px` pixels."""
    pieces, count = ndimage.label(mask)
    keep = np.bincount(pieces.ravel(), minlength=count + 1) > area_px
    keep[0] = False
    return keep[pieces]


def _opened(mask: Mask, reach: int) -> Mask:
    return _grown(_shrunk(mask, reach), reach)


def _shrunk(mask: Mask, reach: int) -> Mask:
    """Eroded with the same box. Outside the image it goes on as at the edge."""
    return ~_grown(~mask, reach)


def _grown(mask: Mask, reach: int) -> Mask:
    """Dilated with a box of 2 `reach` + 1 pixels a side. Outside the image there is nothing."""
    for axis in (0, 1):
        source = np.moveaxis(mask, axis, 0)
        grown = mask.copy()
        target = np.moveaxis(grown, axis, 0)
        for step in range(1, reach + 1):
            target[step:] |= source[:-step]
            target[:-step] |= source[step:]
        mask = grown
    return mask


def _px(reach_um: float, mpp: float) -> int:
    return max(1, round(reach_um / mpp))
