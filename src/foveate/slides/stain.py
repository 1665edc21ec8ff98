"""Stain: how dense a slide's tissue is, and pixels as if every slide were stained alike.

By Beer and Lambert's law intensity is glass * 10^-density, so a factor on the density is a power of the intensity.
"""

import numpy as np
from numpy.typing import NDArray

from foveate.slides.overview_file import StoredOverview

ENOUGH = 100_000  # overview pixels that tell the density
LEAST = 0.02  # density of tissue that was stained
FARTHEST = 2.0  # factor on the density: a slide that needs more is not made to look like the others


def power_tables(
    exponents: NDArray[np.floating], glass_rgb: tuple[int, int, int] = (255, 255, 255)
) -> NDArray[np.uint8]:
    """Intensities (..., 3, 256) after each channel's density was multiplied by exponents (..., 3); glass is 255."""
    through = np.minimum(np.arange(256) / np.maximum(glass_rgb, 1)[:, None], 1.0)
    return (255 * through ** np.asarray(exponents)[..., None] + 0.5).astype(np.uint8)


def restain(pixels: NDArray[np.uint8], tables: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """Look pixels (..., 3) up in tables (3, 256), into `out`, which may be the pixels themselves."""
    for channel, table in enumerate(tables):
        out[..., channel] = np.take(table, pixels[..., channel], mode="clip")  # no check of each index: a fourth faster


def tissue_density(overview: StoredOverview) -> NDArray[np.float64]:
    """Mean optical density (3,) of the tissue in an overview, relative to its glass."""
    step = max(1, int((overview.tissue.sum() / ENOUGH) ** 0.5))
    tissue = overview.thumbnail[::step, ::step][overview.tissue[::step, ::step]]
    through = np.maximum(np.arange(256), 1) / np.maximum(np.array(overview.background_rgb), 1)[:, None]
    densities = -np.log10(np.minimum(through, 1.0))
    counts = np.stack([np.bincount(tissue[:, channel], minlength=256) for channel in range(3)])
    return (densities * counts).sum(1) / max(1, len(tissue))


def to_density(overview: StoredOverview, density: tuple[float, ...]) -> NDArray[np.uint8]:
    """Tables (3, 256) that give a slide's tissue this mean optical density (3,), as far as `FARTHEST` allows.

    Where tissue is hardly darker than the glass, that is no glass, and the colours stay as they are.
    """
    found = tissue_density(overview)
    if found.max() < LEAST:
        return power_tables(np.ones(3))
    factors = np.asarray(density) / np.maximum(found, LEAST)
    return power_tables(np.clip(factors, 1 / FARTHEST, FARTHEST), overview.background_rgb)
