"""The tissues of the demo slides: how they are built and how they are stained.

Germinal centres and tumor are made so that they differ only near: other nuclei, but the same mean colour and the
same spread of brightness at 16 um/px (`alike`).
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from foveate.cohort.demo_texture import (
    BLOCK,
    SIDE,
    Nuclei,
    Plane,
    Stain,
    Texture,
    blocks,
    even,
    grain,
    places,
    spread,
    stamp,
)

FRAY = 10.0  # um: the most by which the noise at an edge moves it
LUMA = np.array([0.299, 0.587, 0.114], np.float32)

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


HISTIOCYTES = Nuclei(30.0, (4.2, 6.0), 0.6, 0.15, (0.35, 0.5), hollow=0.4, loose=1.0, share=0.5)
MACROPHAGES = Nuclei(64.0, (8.0, 11.0), 0.7, 0.15, (0.75, 0.9), loose=1.0, share=0.45)
ADIPOCYTES = Nuclei(70.0, (2.2, 3.2), 0.35, 0.1, (0.4, 0.7), loose=1.0, share=0.4)
NUCLEOLI = Nuclei(CARCINOMA.pitch, (1.3, 2.2), 0.8, 0.0, (0.75, 1.1))
FAT_CELL = 62.0  # px


def scattered(rng: np.random.Generator, kind: Nuclei) -> Plane:
    """A plane with nuclei of a kind all over."""
    plane = np.zeros((SIDE, SIDE), np.float32)
    stamp(plane, rng, places(rng, kind), kind)
    return plane


def lymphoid(rng: np.random.Generator, noises: Noises, share: float) -> Texture:
    """Small round dark nuclei, close together; with a small `share` the looser tissue of sinus and paracortex."""
    h = scattered(rng, replace(LYMPHOCYTES, share=share))
    stamp(h, rng, places(rng, HISTIOCYTES), HISTIOCYTES)
    h *= 1 + 0.22 * noises.fine
    h += 0.10 + 0.03 * noises.cell
    e = 0.30 + (1 - share) * 0.25 + 0.10 * np.roll(noises.cell, 201, 0) + 0.04 * noises.fine
    return Texture(even(np.maximum(h, 0)), even(np.maximum(e, 0)))


def centre(rng: np.random.Generator, noises: Noises) -> Texture:
    """A germinal centre: mid-sized open nuclei, some lymphocytes between, pale macrophages."""
    h = scattered(rng, CENTROCYTES)
    few = replace(LYMPHOCYTES, pitch=24.0, loose=1.0, share=0.5)
    stamp(h, rng, places(rng, few), few)
    holes = scattered(rng, MACROPHAGES)
    h *= (1 + 0.25 * np.roll(noises.fine, 300, 0)) * (1 - holes)
    h += 0.13 + 0.04 * np.roll(noises.cell, 100, 1)
    e = (0.36 + 0.10 * np.roll(noises.cell, 399, 0) + 0.04 * noises.fine) * (1 - 0.35 * holes)
    return Texture(even(np.maximum(h, 0)), even(np.maximum(e, 0)))


def tumor(rng: np.random.Generator, noises: Noises) -> Texture:
    """Carcinoma: large pleomorphic open nuclei with nucleoli in plenty of eosinophilic cytoplasm."""
    h = np.zeros((SIDE, SIDE), np.float32)
    points = places(rng, CARCINOMA)
    stamp(h, rng, points, CARCINOMA)
    h *= 1 + 0.26 * np.roll(noises.cell, 77, 1)
    body = h > 0.12
    chosen = points[rng.uniform(size=len(points)) < 0.6]
    stamp(h, rng, chosen + rng.normal(size=chosen.shape).astype(np.float32) * 1.8, NUCLEOLI)
    h *= 1 + 0.12 * np.roll(noises.fine, 500, 0)
    h += np.where(body, np.float32(0.06), 0.10 + 0.04 * np.roll(noises.cell, 333, 0))
    e = 0.52 + 0.13 * np.roll(noises.cell, 555, 1) + 0.05 * noises.fine
    e = np.where(body, np.float32(0.92), np.float32(1.0)) * e
    return Texture(even(np.maximum(h, 0)), even(np.maximum(e, 0)))


def stroma(rng: np.random.Generator, noises: Noises) -> Texture:
    """Capsule and septa: wavy pink fibres along the rows, and a few thin dark nuclei."""
    h = scattered(rng, FIBROBLASTS)
    turn = np.arange(SIDE) * (2 * np.pi / SIDE)
    wave = (14 * np.sin(2 * turn) + 6 * np.sin(5 * turn)).astype(int)
    fibre = noises.fibre[(np.arange(SIDE)[:, None] + wave) % SIDE, np.arange(SIDE)]
    e = 0.72 + 0.24 * fibre + 0.05 * noises.fine
    h *= 1 + 0.2 * noises.fine
    h += 0.06
    return Texture(h, np.maximum(e, np.float32(0.05)))


def walls(rng: np.random.Generator) -> Plane:
    """Thin walls, 0 to 1, between cells of about FAT_CELL px: where the two nearest of scattered points are as near."""
    count = round(SIDE / FAT_CELL)
    points = np.stack(np.meshgrid(np.arange(count), np.arange(count)), axis=-1) + 0.5
    points = (points + rng.uniform(-0.42, 0.42, points.shape)).astype(np.float32) * (SIDE / count)
    half = np.arange(0, SIDE, 2, dtype=np.float32)  # at half the resolution: walls are smooth
    owner = (half * (count / SIDE)).astype(int)
    first = np.full((len(half), len(half)), np.inf, np.float32)
    second = first.copy()
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            near = points[(owner + down)[:, None] % count, (owner + right)[None] % count]
            dx, dy = np.abs(near[..., 0] - half[None]), np.abs(near[..., 1] - half[:, None])
            far = np.hypot(np.minimum(dx, SIDE - dx), np.minimum(dy, SIDE - dy))
            second = np.minimum(second, np.maximum(first, far))
            first = np.minimum(first, far)
    wall = np.exp(-(((second - first) / 4.5) ** 2)).repeat(2, 0).repeat(2, 1)
    return (wall + np.roll(wall, 1, 0) + np.roll(wall, 1, 1) + np.roll(wall, (1, 1), (0, 1))) / 4


def fat(rng: np.random.Generator, noises: Noises) -> Texture:
    """Adipose tissue: large empty cells with thin pink walls, a flat nucleus here and there."""
    wall = walls(rng)
    h = scattered(rng, ADIPOCYTES) * (wall > 0.1)
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
    share = float(np.sqrt(max(variance, 0.0)) / abs(response) / blocks(pattern).std())
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
