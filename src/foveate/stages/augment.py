"""Made-up variety for training: what a scanner, a stain or the mounting of a slide could have changed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STRENGTH, TINT = 0.18, 0.1  # how far all channels together, and each on its own, are stained more or less


def stain(pixels: NDArray[np.uint8], exponents: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Glimpses (n, ..., 3) stained more or less: optical density times `exponents`, (n, 3).

    Beer and Lambert: intensity is 255 * 10^-density, so a factor on the density is a power of the intensity.
    """
    tables = 255 * (np.arange(256) / 255) ** np.asarray(exponents)[..., None]
    tables = (tables + 0.5).astype(np.uint8)
    out = np.empty_like(pixels)
    for row, channels in enumerate(tables):
        for channel, table in enumerate(channels):
            out[row, ..., channel] = table[pixels[row, ..., channel]]
    return out


def stain_exponents(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Random factors on the optical density, (count, 3)."""
    together = rng.uniform(-STRENGTH, STRENGTH, (count, 1))
    return np.exp(together + rng.uniform(-TINT, TINT, (count, 3)))


def turn(pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Each glimpse (n, S, g, g, 3) in one of the square's eight orientations."""
    out = np.empty_like(pixels)
    for row, (quarter, flip) in enumerate(rng.integers((4, 2), size=(len(pixels), 2))):
        glimpse = pixels[row, :, :, ::-1] if flip else pixels[row]
        out[row] = np.rot90(glimpse, quarter, axes=(1, 2))
    return out


@dataclass(frozen=True)
class Variety:
    """What is changed for a whole rollout of B slides, so that a slide cannot be told by its stain or place.

    exponents: (B, 3) for `stain`. mirror: (B, 2), 1 or -1, on the locations x, y that the model gets; glimpses
    need no mirroring, because sight is trained in all orientations. rng: moves each glimpse within its cell.
    """

    exponents: NDArray[np.float64]
    mirror: NDArray[np.int64]
    rng: np.random.Generator


def variety(count: int, rng: np.random.Generator) -> Variety:
    """Draw the variety of a rollout over `count` slides."""
    return Variety(stain_exponents(count, rng), rng.choice([-1, 1], (count, 2)), rng)
