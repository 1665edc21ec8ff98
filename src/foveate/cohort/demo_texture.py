"""The means to make tissue textures: seamless noise, nuclei, and colour from stain concentrations.

A `Texture` is a square of `SIDE` px at 1 um/px that tiles without a seam, as two concentrations. Colour comes from
them through Beer and Lambert's law, so the same tissue can be stained differently on each slide (`Stain`).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SIDE = 768
BLOCK = 16  # px of a texture in one overview pixel
BEND = 5.0  # px that each wave bends the grid of nuclei
Plane = NDArray[np.float32]


@dataclass(frozen=True)
class Texture:
    """Concentrations of haematoxylin and eosin, (SIDE, SIDE) float32 each, about 0 to 1.5."""

    haematoxylin: Plane
    eosin: Plane


@dataclass(frozen=True)
class Stain:
    """vectors: (2, 3) optical density (natural logarithm) of H and E per concentration; glass: (3,) RGB 0-255."""

    vectors: NDArray[np.float32]
    glass: NDArray[np.float32]

    def colour(self, haematoxylin: Plane, eosin: Plane) -> NDArray[np.float32]:
        """RGB, 0-255, of shape (..., 3): glass * exp(-(h * H + e * E))."""
        density = np.multiply.outer(haematoxylin, self.vectors[0])
        density += np.multiply.outer(eosin, self.vectors[1])
        return self.glass * np.exp(-density)

    def bytes(self, haematoxylin: Plane, eosin: Plane) -> NDArray[np.uint8]:
        """The same as 8-bit pixels, rounded; channel by channel, which is quicker on a tile."""
        out = np.empty((*haematoxylin.shape, 3), np.uint8)
        for channel in range(3):
            value = haematoxylin * -self.vectors[0, channel]
            value -= eosin * self.vectors[1, channel]
            np.exp(value, out=value)
            value *= self.glass[channel]
            value += np.float32(0.5)
            out[..., channel] = value
        return out


def grain(rng: np.random.Generator, feature: float, stretch: float = 1.0) -> Plane:
    """Seamless Gaussian noise of unit variance, blurred by `feature` px (times `stretch` along the rows)."""
    down = np.fft.fftfreq(SIDE)[:, None].astype(np.float32)
    across = np.fft.rfftfreq(SIDE)[None].astype(np.float32)
    low = np.exp(-2 * (np.pi * feature) ** 2 * (down**2 + (across * stretch) ** 2))
    white = rng.standard_normal((SIDE, SIDE), dtype=np.float32)
    smooth = np.fft.irfft2(np.fft.rfft2(white) * low, s=(SIDE, SIDE)).astype(np.float32)
    return smooth / smooth.std()


@dataclass(frozen=True)
class Nuclei:
    """How the nuclei of a tissue look. pitch: mean distance, px; radius: (least, largest), px.

    ratio: least ratio of short to long axis; lobes: how far the outline strays, as a share of the radius;
    depth: (least, largest) concentration; hollow: share that the middle is paler than the rim (a vesicular nucleus);
    loose: how far from a regular grid, 0 to 1; share: how many of the places are taken.
    """

    pitch: float
    radius: tuple[float, float]
    ratio: float
    lobes: float
    depth: tuple[float, float]
    hollow: float = 0.0
    loose: float = 0.75
    share: float = 1.0


def places(rng: np.random.Generator, kind: Nuclei) -> Plane:
    """(n, 2) random points (x, y) on the torus for the nuclei of a kind.

    A jittered grid, bent by a few waves of 90 to 770 px, so that no rows are left. The waves are transverse: they
    move points along their crests, which keeps the density even.
    """
    count = round(SIDE / kind.pitch)
    row, column = np.mgrid[:count, :count]
    grid = np.stack([column + 0.5 * (row % 2), row], axis=-1).reshape(-1, 2)
    points = (grid + rng.uniform(-0.5, 0.5, grid.shape) * kind.loose) * (SIDE / count)
    waves = rng.integers(1, 7, (8, 2)) * rng.choice([-1, 1], (8, 2))
    phase = points @ waves.T * (2 * np.pi / SIDE) + rng.uniform(0, 2 * np.pi, 8)
    along = waves[:, ::-1] * [1, -1] / np.hypot(*waves.T)[:, None]
    points = points + BEND * np.sin(phase) @ along
    return (points % SIDE).astype(np.float32)[rng.uniform(size=len(points)) < kind.share]


def shapes(rng: np.random.Generator, kind: Nuclei, count: int) -> Plane:
    """(count, w, w) different nuclei of a kind, each on its own small square."""

    def each(low: float, high: float) -> Plane:
        return rng.uniform(low, high, (count, 1, 1)).astype(np.float32)

    radius, ratio = each(*kind.radius), each(kind.ratio, 1.0)
    half = int(np.ceil(kind.radius[1] * (1.1 + kind.lobes))) + 1
    step = np.arange(-half, half + 1, dtype=np.float32)
    dx, dy = step[None, None, :] - each(-0.5, 0.5), step[None, :, None] - each(-0.5, 0.5)
    turn = each(0, 2 * np.pi)
    u = (np.cos(turn) * dx + np.sin(turn) * dy) * np.sqrt(ratio)
    v = (np.cos(turn) * dy - np.sin(turn) * dx) / np.sqrt(ratio)
    far = np.hypot(u, v) + np.float32(0.01)
    egg, bean = u * (u * u - 3 * v * v) / far**3, u / far  # cos(3 t) and cos(t) without the angle
    radius = radius * (1 + each(-kind.lobes, kind.lobes) * egg + each(-kind.lobes, kind.lobes) * bean)
    value = np.clip((radius - far) * np.float32(0.55) + np.float32(0.5), 0, 1) * each(*kind.depth)
    return value * (1 - kind.hollow * np.clip(np.float32(1.25) - (far / radius) ** 3, 0, 1))


def stamp(plane: Plane, rng: np.random.Generator, points: Plane, kind: Nuclei) -> None:
    """Put a nucleus at each of (n, 2) points (x, y); where two overlap the darker one wins."""
    stock = shapes(rng, kind, 300)
    width = stock.shape[1]
    square = np.arange(width) - width // 2
    corner = np.rint(points).astype(np.intp)
    row = (corner[:, 1, None] + square) % SIDE * SIDE
    column = (corner[:, 0, None] + square) % SIDE
    which = rng.integers(len(stock), size=len(points))
    flat = plane.reshape(-1)
    for first in range(0, len(points), 512):  # a chunk stays in the cache
        part = slice(first, first + 512)
        place = row[part, :, None] + column[part, None, :]
        np.maximum.at(flat, place.reshape(-1), stock[which[part]].reshape(-1))


def blocks(plane: Plane, side: int = BLOCK) -> Plane:
    """Means of squares of `side` px."""
    count = SIDE // side
    return plane.reshape(count, side, count, side).mean(axis=(1, 3))


def spread(coarse: Plane) -> Plane:
    """A seamless (n, n) plane enlarged to (SIDE, SIDE), linearly between the middles of its blocks."""
    padded = np.pad(coarse, 1, mode="wrap")
    at = (np.arange(SIDE) + 0.5) * (len(coarse) / SIDE) + 0.5
    low = at.astype(int)
    part = (at - low).astype(np.float32)
    rows = padded[low] + (padded[low + 1] - padded[low]) * part[:, None]
    return rows[:, low] + (rows[:, low + 1] - rows[:, low]) * part


def even(plane: Plane, side: int = 2 * BLOCK) -> Plane:
    """The plane without its changes over more than about `side` px: what is repeated must not be seen from afar."""
    mean = blocks(plane, side)
    return plane * spread(mean.mean() / np.maximum(mean, np.float32(1e-3)))
