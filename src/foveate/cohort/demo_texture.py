"""Tissue textures of the demo slides: how much haematoxylin and eosin each pixel of a tissue holds.

A `Texture` is a square of `SIDE` px at 1 um/px that tiles without a seam, as two concentrations. Colour comes from
them through Beer and Lambert's law, so the same tissue can be stained differently on each slide (`Stain`).
Germinal centres and tumor are made so that they differ only near: different nuclei, but the same mean colour
and the same spread at 16 um/px (`alike`).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SIDE = 768
BLOCK = 16  # px of a texture in one overview pixel
FRAY = 10.0  # um: the most by which the noise at an edge moves it
BEND = 5.0  # px that each wave bends the grid of nuclei
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
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


# Optical densities of H and E at five centres, as scanners and dyes differ: blue to purple, rose to salmon.
CENTERS = np.array(
    [
        [[0.62, 0.71, 0.33], [0.13, 0.78, 0.40]],
        [[0.55, 0.75, 0.36], [0.09, 0.72, 0.52]],
        [[0.68, 0.69, 0.27], [0.20, 0.80, 0.34]],
        [[0.52, 0.70, 0.30], [0.16, 0.66, 0.30]],
        [[0.66, 0.78, 0.42], [0.10, 0.86, 0.46]],
    ]
)


def stain(rng: np.random.Generator, center: int) -> Stain:
    """The stain of one slide: that of its center with its own strength and tint."""
    strength = np.exp(rng.normal(size=(2, 1)) * 0.11) * [[2.1], [1.35]]
    tint = np.exp(rng.normal(size=(2, 3)) * 0.05)
    glass = np.array([243.0, 241.0, 244.0]) + rng.normal(size=3) * 1.5
    return Stain((CENTERS[center] * strength * tint).astype(np.float32), glass.astype(np.float32))


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


def places(rng: np.random.Generator, pitch: float, loose: float, share: float) -> NDArray[np.float32]:
    """(n, 2) random points (x, y) about `pitch` px apart on the torus.

    A jittered grid, bent by a few waves of 90 to 770 px, so that no rows are left. The waves are transverse: they
    move points along their crests, which keeps the density even.
    """
    count = round(SIDE / pitch)
    row, column = np.mgrid[:count, :count]
    grid = np.stack([column + 0.5 * (row % 2), row], axis=-1).reshape(-1, 2)
    points = (grid + rng.uniform(-0.5, 0.5, grid.shape) * loose) * (SIDE / count)
    waves = rng.integers(1, 7, (8, 2)) * rng.choice([-1, 1], (8, 2))
    phase = points @ waves.T * (2 * np.pi / SIDE) + rng.uniform(0, 2 * np.pi, 8)
    along = waves[:, ::-1] * [1, -1] / np.hypot(*waves.T)[:, None]
    points = points + BEND * np.sin(phase) @ along
    return (points % SIDE).astype(np.float32)[rng.uniform(size=len(points)) < share]


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


def stamp(plane: Plane, rng: np.random.Generator, points: NDArray[np.float32], kind: Nuclei) -> None:
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


@dataclass(frozen=True)
class Noises:
    """Seamless noises that the textures of a slide share, each moved to another place."""

    fine: Plane
    cell: Plane
    fibre: Plane

    @staticmethod
    def draw(rng: np.random.Generator) -> "Noises":
        """fine: chromatin; cell: cytoplasm; fibre: collagen along the rows."""
        return Noises(grain(rng, 0.9), grain(rng, 3.0), grain(rng, 1.5, stretch=14.0))


LYMPHOCYTES = Nuclei(7.4, (2.7, 3.9), 0.8, 0.06, (0.55, 1.0), loose=0.9)
CENTROCYTES = Nuclei(11.6, (4.0, 5.2), 0.72, 0.14, (0.42, 0.75), hollow=0.4, loose=0.9, share=0.92)
CARCINOMA = Nuclei(17.5, (6.2, 9.2), 0.62, 0.16, (0.55, 0.95), hollow=0.6, loose=0.7, share=0.97)
FIBROBLASTS = Nuclei(26.0, (2.4, 3.6), 0.25, 0.1, (0.4, 0.8), loose=1.0, share=0.6)


def lymphoid(rng: np.random.Generator, noises: Noises, share: float) -> Texture:
    """Small round dark nuclei, close together; with a small `share` the looser tissue of sinus and paracortex."""
    h = np.zeros((SIDE, SIDE), np.float32)
    kind = Nuclei(**{**vars(LYMPHOCYTES), "share": share})
    stamp(h, rng, places(rng, kind.pitch, kind.loose, kind.share), kind)
    pale = Nuclei(30.0, (4.2, 6.0), 0.6, 0.15, (0.35, 0.5), hollow=0.4, loose=1.0, share=0.5)
    stamp(h, rng, places(rng, pale.pitch, pale.loose, pale.share), pale)
    h *= 1 + 0.22 * noises.fine
    h += 0.10 + 0.03 * noises.cell
    e = 0.30 + (1 - share) * 0.25 + 0.10 * np.roll(noises.cell, 201, 0) + 0.04 * noises.fine
    return Texture(even(np.maximum(h, 0)), even(np.maximum(e, 0)))


def centre(rng: np.random.Generator, noises: Noises) -> Texture:
    """A germinal centre: mid-sized open nuclei, some lymphocytes between, pale macrophages."""
    h = np.zeros((SIDE, SIDE), np.float32)
    stamp(h, rng, places(rng, CENTROCYTES.pitch, CENTROCYTES.loose, CENTROCYTES.share), CENTROCYTES)
    stamp(h, rng, places(rng, 24.0, 1.0, 0.5), LYMPHOCYTES)
    holes = np.zeros_like(h)
    macrophage = Nuclei(64.0, (8.0, 11.0), 0.7, 0.15, (0.75, 0.9), loose=1.0, share=0.45)
    stamp(holes, rng, places(rng, macrophage.pitch, macrophage.loose, macrophage.share), macrophage)
    h *= (1 + 0.25 * np.roll(noises.fine, 300, 0)) * (1 - holes)
    h += 0.13 + 0.04 * np.roll(noises.cell, 100, 1)
    e = (0.36 + 0.10 * np.roll(noises.cell, 399, 0) + 0.04 * noises.fine) * (1 - 0.35 * holes)
    return Texture(even(np.maximum(h, 0)), even(np.maximum(e, 0)))


def tumor(rng: np.random.Generator, noises: Noises) -> Texture:
    """Carcinoma: large pleomorphic open nuclei with nucleoli in plenty of eosinophilic cytoplasm."""
    h = np.zeros((SIDE, SIDE), np.float32)
    points = places(rng, CARCINOMA.pitch, CARCINOMA.loose, CARCINOMA.share)
    stamp(h, rng, points, CARCINOMA)
    h *= 1 + 0.26 * np.roll(noises.cell, 77, 1)
    body = h > 0.12
    nucleolus = Nuclei(1.0, (1.3, 2.2), 0.8, 0.0, (0.75, 1.1))
    chosen = points[rng.uniform(size=len(points)) < 0.6]
    stamp(h, rng, chosen + rng.normal(size=chosen.shape).astype(np.float32) * 1.8, nucleolus)
    h *= 1 + 0.12 * np.roll(noises.fine, 500, 0)
    h += np.where(body, np.float32(0.06), 0.10 + 0.04 * np.roll(noises.cell, 333, 0))
    e = 0.52 + 0.13 * np.roll(noises.cell, 555, 1) + 0.05 * noises.fine
    e = np.where(body, np.float32(0.92), np.float32(1.0)) * e
    return Texture(even(np.maximum(h, 0)), even(np.maximum(e, 0)))


def stroma(rng: np.random.Generator, noises: Noises) -> Texture:
    """Capsule and septa: wavy pink fibres with a few thin dark nuclei along them."""
    h = np.zeros((SIDE, SIDE), np.float32)
    stamp(h, rng, places(rng, FIBROBLASTS.pitch, FIBROBLASTS.loose, FIBROBLASTS.share), FIBROBLASTS)
    wave = (
        14 * np.sin(np.arange(SIDE) * (4 * np.pi / SIDE)) + 6 * np.sin(np.arange(SIDE) * (10 * np.pi / SIDE))
    ).astype(int)
    row = (np.arange(SIDE)[:, None] + wave) % SIDE
    fibre = noises.fibre[row, np.arange(SIDE)]
    e = 0.72 + 0.24 * fibre + 0.05 * noises.fine
    return Texture(h * (1 + 0.2 * noises.fine) + 0.06, np.maximum(e, 0.05))


def fat(rng: np.random.Generator, noises: Noises) -> Texture:
    """Adipose tissue: empty cells of 50 to 80 um with thin pink walls, a flat nucleus here and there."""
    count = round(SIDE / 62.0)
    lattice = np.stack(np.meshgrid(np.arange(count), np.arange(count)), axis=-1) + 0.5
    lattice = (lattice + rng.uniform(-0.42, 0.42, lattice.shape)).astype(np.float32) * (SIDE / count)
    half = np.arange(0, SIDE, 2, dtype=np.float32)
    owner = (half * (count / SIDE)).astype(int)
    first = np.full((len(half), len(half)), np.inf, np.float32)
    second = first.copy()
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            near = lattice[(owner + down)[:, None] % count, (owner + right)[None] % count]
            dx = np.abs(near[..., 0] - half[None])
            dy = np.abs(near[..., 1] - half[:, None])
            far = np.hypot(np.minimum(dx, SIDE - dx), np.minimum(dy, SIDE - dy))
            second = np.minimum(second, np.maximum(first, far))
            first = np.minimum(first, far)
    wall = np.exp(-(((second - first) / 4.5) ** 2)).repeat(2, 0).repeat(2, 1)
    wall = (wall + np.roll(wall, 1, 0) + np.roll(wall, 1, 1) + np.roll(wall, (1, 1), (0, 1))) / 4
    h = np.zeros((SIDE, SIDE), np.float32)
    flat = Nuclei(70.0, (2.2, 3.2), 0.35, 0.1, (0.4, 0.7), loose=1.0, share=0.4)
    stamp(h, rng, places(rng, flat.pitch, flat.loose, flat.share), flat)
    h *= wall > 0.1
    e = wall * (0.42 + 0.12 * noises.cell) + 0.012 + 0.006 * noises.cell
    return Texture(h, np.maximum(e, 0).astype(np.float32))


def brightness(texture: Texture, stain: Stain) -> Plane:
    """(n, n) luma of the texture at BLOCK um/px."""
    return blocks(stain.colour(texture.haematoxylin, texture.eosin) @ LUMA)


def mean_colour(planes: NDArray[np.float32], gain: NDArray[np.float32], stain: Stain) -> NDArray[np.float32]:
    """(3,) mean colour of (2, n) concentrations of H and E, each times its gain."""
    return stain.colour(gain[0] * planes[0], gain[1] * planes[1]).mean(axis=0)


def sample(texture: Texture) -> NDArray[np.float32]:
    """(2, n) concentrations of every seventh pixel: plenty for a mean."""
    return np.stack([texture.haematoxylin.ravel()[::7], texture.eosin.ravel()[::7]])


def recoloured(model: Texture, other: Texture, stain: Stain) -> Texture:
    """`other` with a gain on each stain, so that on this slide its mean colour is that of `model`.

    The two gains come by Gauss and Newton on the three channels.
    """
    target = mean_colour(sample(model), np.ones(2, np.float32), stain)
    planes, gain = sample(other), np.ones(2, np.float32)
    for _ in range(3):
        colour = stain.colour(gain[0] * planes[0], gain[1] * planes[1])
        slope = -np.einsum("nc,kn,kc->ck", colour, planes, stain.vectors) / planes.shape[1]
        gain += np.linalg.lstsq(slope, target - colour.mean(axis=0), rcond=None)[0]
    return Texture(other.haematoxylin * gain[0], other.eosin * gain[1])


def patchy(rng: np.random.Generator, model: Texture, variance: float, stain: Stain) -> Texture:
    """`model` with haematoxylin that varies from block to block, which adds about `variance` to its luma there."""
    planes, step = sample(model), np.float32(0.05)
    more = mean_colour(planes, np.array([1 + step, 1], np.float32), stain)
    response = float((more - mean_colour(planes, np.ones(2, np.float32), stain)) @ LUMA / step)
    pattern = spread(rng.standard_normal((2 * SIDE // BLOCK, 2 * SIDE // BLOCK), dtype=np.float32))
    pattern -= spread(blocks(pattern, 2 * BLOCK))
    share = np.sqrt(max(variance, 0.0)) / abs(response) / blocks(pattern).std()
    return Texture(model.haematoxylin * np.maximum(1 + share * pattern, np.float32(0.3)), model.eosin)


def alike(rng: np.random.Generator, model: Texture, other: Texture, stain: Stain) -> tuple[Texture, Texture]:
    """Both textures changed so that on this slide they look the same at BLOCK um/px: mean colour, spread of luma.

    Chroma has no spread to speak of there: JPEG has halved its resolution.
    """
    other = recoloured(model, other, stain)
    lacking = float(brightness(other, stain).var() - brightness(model, stain).var())
    model = patchy(rng, model, lacking, stain)
    return model, recoloured(model, other, stain)


def tissues(rng: np.random.Generator, stain: Stain) -> tuple[dict[str, Texture], Plane]:
    """The textures of one slide by the names of demo_anatomy.LAYERS, and the noise that frays their edges, um."""
    noises = Noises.draw(rng)
    germinal, carcinoma = alike(rng, centre(rng, noises), tumor(rng, noises), stain)
    fibres = stroma(rng, noises)
    return {
        "fat": fat(rng, noises),
        "stroma": fibres,
        "upright": Texture(fibres.haematoxylin.T.copy(), fibres.eosin.T.copy()),
        "lymph": lymphoid(rng, noises, 0.97),
        "sinus": lymphoid(rng, noises, 0.35),
        "centre": germinal,
        "tumor": carcinoma,
    }, np.clip(4 * np.roll(noises.cell, 640, 0), -FRAY, FRAY)
