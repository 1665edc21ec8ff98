"""Slides of any size in seconds: a seamless texture of lymphoid tissue, so that few different tiles are encoded.

Every tile is written to a place of its own in the file, as a scanner does; only its contents repeat.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from foveate.cohort import demo_tissue
from foveate.cohort.demo_pyramid import QUALITY, encode
from foveate.cohort.demo_texture import SIDE

APERIO = "Aperio Image Library v12.0\r\n{0}x{0} [0,0 {0}x{0}] ({1}x{1}) JPEG/YCC Q={2}|AppMag = 20|MPP = {3}"


@cache
def texture() -> NDArray[np.uint8]:
    """(2 SIDE, 2 SIDE, 3) of lymphoid tissue at 0.5 um/px without a seam. The demo draws it at 1 um/px."""
    rng = np.random.default_rng(0)
    stain = demo_tissue.stain(rng, 0)
    textures, _ = demo_tissue.tissues(rng, stain)
    chosen = textures["lymph"]
    drawn = Image.fromarray(np.tile(stain.bytes(chosen.haematoxylin, chosen.eosin), (3, 3, 1)))
    box = (SIDE, SIDE, 2 * SIDE, 2 * SIDE)
    return np.asarray(drawn.resize((2 * SIDE, 2 * SIDE), Image.Resampling.BICUBIC, box))


def write(path: Path, side_px: int, *, tile: int, step: int, levels: int, mpp: float, aperio: bool) -> None:
    """Write a square slide: JPEG 4:2:0 tiles, each level `step` times as coarse as the one before; BigTIFF or SVS."""
    pixels = texture()
    with tifffile.TiffWriter(path, bigtiff=not aperio) as file:
        for level in range(levels):
            if level:
                shrunk = pixels.reshape(len(pixels) // step, step, -1, step, 3).mean((1, 3))
                pixels = shrunk.round().astype(np.uint8)
            side = side_px // step**level
            per_cm = 10_000 / (mpp * step**level)
            file.write(
                _tiles(pixels, side, tile),
                shape=(side, side, 3),
                dtype=np.uint8,
                tile=(tile, tile),
                photometric="ycbcr",
                subsampling=(2, 2),
                compression="jpeg",
                description=APERIO.format(side, tile, QUALITY, mpp) if aperio else None,
                resolution=(per_cm, per_cm),
                resolutionunit="CENTIMETER",
                subfiletype=1 if level and not aperio else 0,
                metadata=None,
                software=False,
            )


def _tiles(pixels: NDArray[np.uint8], side: int, tile: int) -> Iterator[bytes]:
    period = len(pixels)
    wrapped = np.tile(pixels, (-(-2 * tile // period) + 1,) * 2 + (1,))
    coded: dict[tuple[int, int], bytes] = {}
    for y in range(0, side, tile):
        for x in range(0, side, tile):
            top, left = y % period, x % period
            if (top, left) not in coded:
                part = np.ascontiguousarray(wrapped[top : top + tile, left : left + tile])
                coded[top, left] = encode(part)
            yield coded[top, left]
