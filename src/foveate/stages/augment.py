"""Made-up variety for training: what a scanner, a stain or the mounting of a slide could have changed."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from foveate.slides.stain import power_tables, restain

Kind = TypeVar("Kind", bound=np.generic)

STRENGTH, TINT = 0.06, 0.03  # how far all channels together, and each on its own, are stained more or less


def stain(pixels: NDArray[np.uint8], exponents: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Glimpses (n, ..., 3) stained more or less: optical density times `exponents`, (n, 3)."""
    out = np.empty_like(pixels)
    for row, tables in enumerate(power_tables(exponents)):
        restain(pixels[row], tables, out[row])
    return out


def stain_exponents(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Random factors on the optical density, (count, 3)."""
    together = rng.uniform(-STRENGTH, STRENGTH, (count, 1))
    return np.exp(together + rng.uniform(-TINT, TINT, (count, 3)))


def turned(square: NDArray[Kind], orientation: int) -> NDArray[Kind]:
    """A square (g, g, ...) in one of its eight orientations: mirrored left to right from 4 on, then turned
    counter-clockwise by `orientation` % 4 quarters.
    """
    return np.rot90(square[:, ::-1] if orientation >= 4 else square, orientation % 4)


def upright(places: NDArray[np.int64], orientation: int, side: int) -> NDArray[np.int64]:
    """Where places (n, 2) row, column of a turned square of `side` pixels were before."""
    rows, columns = places.T
    for _ in range(orientation % 4):
        rows, columns = columns, side - 1 - rows
    return np.stack([rows, side - 1 - columns if orientation >= 4 else columns], axis=1)


def turned_vectors(vectors: NDArray[np.floating], orientation: NDArray[np.int64]) -> NDArray[np.float64]:
    """Vectors (n, 2) x, y from the middle of squares, after these were turned. y points down. orientation: (n,)."""
    x, y = np.asarray(vectors, np.float64).T
    x = np.where(orientation >= 4, -x, x)
    quarter = np.pi / 2 * (orientation % 4)
    cos, sin = np.rint(np.cos(quarter)), np.rint(np.sin(quarter))
    return np.stack([cos * x + sin * y, cos * y - sin * x], axis=1)


def turned_glimpses(pixels: NDArray[np.uint8], orientation: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Glimpses (n, S, g, g, 3), each in its orientation (n,)."""
    out = np.empty_like(pixels)
    whole, made = pixels.view("V3")[..., 0], out.view("V3")[..., 0]  # pixels that move as one: twice as fast
    for row, one in enumerate(orientation.tolist()):
        for scale in range(pixels.shape[1]):
            made[row, scale] = turned(whole[row, scale], one)
    return out


@dataclass(frozen=True)
class Variety:
    """What is changed for all rollouts over B slides, so that a slide cannot be told by its stain, place or direction.

    exponents: (B, 3) for `stain`. orientation: (B,) for `turned`. shift: (B, 2) row, column, in cells from -0.5 to
    0.5: the lattice of cells is moved by it, so that a glimpse lies anywhere in its cell.
    """

    exponents: NDArray[np.float64]
    orientation: NDArray[np.int64]
    shift: NDArray[np.float64]


def variety(count: int, rng: np.random.Generator) -> Variety:
    """Draw the variety of rollouts over `count` slides."""
    return Variety(stain_exponents(count, rng), rng.integers(8, size=count), rng.random((count, 2)) - 0.5)
