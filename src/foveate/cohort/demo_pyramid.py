"""Paint a demo slide tile by tile and write it as a pyramidal tiled JPEG BigTIFF."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from foveate.cohort.demo_anatomy import LAYERS, TILE, Anatomy
from foveate.cohort.demo_shapes import CELL, Field
from foveate.cohort.demo_texture import SIDE, Plane, Stain, Texture
from foveate.cohort.demo_tissue import FRAY

Pixels = NDArray[np.uint8]
QUALITY = 80
PER_CM = 10_000.0  # level-0 pixels per centimetre: 1 um/px
SMALLEST = 512  # px: the last level is no wider or taller
SOFT = 7.0  # um over which one tissue passes into the next
GLASS = 8  # different empty tiles, so that the glass does not look stamped


def encode(tile: Pixels) -> bytes:
    """A tile (h, w, 3) as JPEG, YCbCr 4:2:0."""
    return bytes(
        imagecodecs.jpeg8_encode(tile, level=QUALITY, colorspace="RGB", outcolorspace="YCBCR", subsampling="420")
    )


def enlarge(nodes: Field) -> Plane:
    """(n + 2, n + 2) values at cell centres, one cell of margin included, to (n * CELL, n * CELL) pixels."""
    part = (np.arange(CELL, dtype=np.float32) + np.float32(0.5)) / np.float32(CELL)
    wide = nodes[:, :-1, None] + (nodes[:, 1:] - nodes[:, :-1])[:, :, None] * part
    wide = np.ascontiguousarray(wide.reshape(len(nodes), -1)[:, CELL // 2 : -CELL // 2])
    full = (wide[1:] - wide[:-1])[:, None, :] * part[None, :, None]
    full += wide[:-1, None, :]
    return full.reshape(-1, wide.shape[1])[CELL // 2 : -CELL // 2]


def halve(pixels: Pixels) -> Pixels:
    """Means of squares of 2 x 2 pixels, rounded."""
    rows = np.add(pixels[0::2], pixels[1::2], dtype=np.uint16)
    rows += 1
    out = np.empty((rows.shape[0], rows.shape[1] // 2, 3), np.uint8)
    for channel in range(3):  # numpy is slow on a last axis of three
        out[..., channel] = (rows[:, 0::2, channel] + rows[:, 1::2, channel]) >> 2
    return out


@dataclass
class Painter:
    """Paints the tiles of one slide. textures: one for each of demo_anatomy.LAYERS. edge: seamless noise."""

    anatomy: Anatomy
    textures: dict[str, Texture]
    stain: Stain
    edge: Plane

    def __post_init__(self) -> None:
        """Give every field one cell of margin, so that all tiles are cut alike."""

        def padded(values: Field) -> Field:
            return np.pad(values, 1, mode="edge")

        self._layers = [(name, padded(self.anatomy.layers[name])) for name in LAYERS]
        self._h_gain, self._e_gain = padded(self.anatomy.h_gain), padded(self.anatomy.e_gain)

    def tile(self, row: int, column: int) -> Pixels | None:
        """The (256, 256, 3) tile at (row, column) of level 0; None where there is only glass."""
        cells = TILE // CELL
        at = np.s_[row * cells : (row + 1) * cells + 2, column * cells : (column + 1) * cells + 2]
        top, left = row * TILE % SIDE, column * TILE % SIDE
        here = np.s_[top : top + TILE, left : left + TILE]
        reach = SOFT / 2 + FRAY
        seen: list[tuple[Texture, Field]] = []
        h, e = np.zeros((TILE, TILE), np.float32), np.zeros((TILE, TILE), np.float32)
        for name, values in reversed(self._layers):
            if values[at].min() > reach:
                h, e = self.textures[name].haematoxylin[here].copy(), self.textures[name].eosin[here].copy()
                break
            if values[at].max() > -reach:
                seen.append((self.textures[name], values[at]))
        else:
            if not seen:
                return None
        for texture, values in reversed(seen):
            share = enlarge(values)
            share += self.edge[here]
            share *= np.float32(1 / SOFT)
            share += np.float32(0.5)
            np.clip(share, 0, 1, out=share)
            h += (texture.haematoxylin[here] - h) * share
            e += (texture.eosin[here] - e) * share
        h *= enlarge(self._h_gain[at])
        e *= enlarge(self._e_gain[at])
        return self.stain.bytes(h, e)

    def glass(self, rng: np.random.Generator) -> list[Pixels]:
        """Some empty tiles with a trace of noise."""
        flat = np.broadcast_to(self.stain.glass, (TILE, TILE, 3))
        return [(flat + rng.normal(size=(TILE, TILE, 1)) * 0.8).round().astype(np.uint8) for _ in range(GLASS)]


def sizes(size: tuple[int, int]) -> list[tuple[int, int]]:
    """(width, height) of all levels, each half the one before."""
    levels = [size]
    while max(levels[-1]) > SMALLEST:
        levels.append((levels[-1][0] // 2, levels[-1][1] // 2))
    return levels


def _first(painter: Painter, rng: np.random.Generator, below: Pixels) -> Iterator[bytes]:
    """The tiles of level 0 in order, encoded; fills `below`, level 1, on the way."""
    width, height = painter.anatomy.size
    empty = painter.glass(rng)
    coded, halved = [encode(tile) for tile in empty], [halve(tile) for tile in empty]
    half = TILE // 2
    for row in range(height // TILE):
        for column in range(width // TILE):
            tile, which = painter.tile(row, column), int(rng.integers(GLASS))
            below[row * half : (row + 1) * half, column * half : (column + 1) * half] = (
                halved[which] if tile is None else halve(tile)
            )
            yield coded[which] if tile is None else encode(tile)


def coded_tiles(pixels: Pixels, side: int = TILE) -> Iterator[bytes]:
    """The tiles of a level (h, w, 3) in order, encoded; those at the right and lower edge are padded."""
    height, width = pixels.shape[:2]
    whole = np.pad(pixels, [(0, -height % side), (0, -width % side), (0, 0)], mode="edge")
    for top in range(0, height, side):
        for left in range(0, width, side):
            yield encode(np.ascontiguousarray(whole[top : top + side, left : left + side]))


def write(path: Path, painter: Painter, rng: np.random.Generator) -> None:
    """Write the slide: tiles of 256 px, level 0 at 1 um/px, resolution tags in pixels per centimetre."""
    levels = sizes(painter.anatomy.size)
    pixels = np.empty((levels[1][1], levels[1][0], 3), np.uint8)
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for k, (width, height) in enumerate(levels):
            if k > 1:
                pixels = halve(pixels[: height * 2, : width * 2])
            per_cm = PER_CM / 2**k
            file.write(
                _first(painter, rng, pixels) if k == 0 else coded_tiles(pixels),
                shape=(height, width, 3),
                dtype=np.uint8,
                tile=(TILE, TILE),
                photometric="ycbcr",
                subsampling=(2, 2),
                compression="jpeg",
                subfiletype=1 if k else 0,
                resolution=(per_cm, per_cm),
                resolutionunit="CENTIMETER",
                metadata=None,
                software=False,
            )
