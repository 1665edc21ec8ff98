"""Grey images as pyramidal OME-TIFF: the lower levels are SubIFDs, as QuPath and Bio-Formats write them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from foveate.files import atomic

TILE = 256


def halved(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The means of squares of 2 x 2 pixels, rounded. pixels: (H, W), both even."""
    wide = pixels.astype(np.uint16)
    total = wide[::2, ::2] + wide[1::2, ::2] + wide[::2, 1::2] + wide[1::2, 1::2]
    return ((total + 2) // 4).astype(np.uint8)


def write_ome_tiff(path: Path, levels: Sequence[NDArray[np.uint8]], pixel_um: tuple[float, float], name: str) -> None:
    """Write a pyramid atomically. levels: (H, W) each, the finest first. pixel_um: (x, y) of the finest."""
    with atomic(path) as partial, tifffile.TiffWriter(partial, ome=True) as file:
        for k, level in enumerate(levels):
            times = levels[0].shape[1] / level.shape[1]
            about = {
                "axes": "YX",
                "Name": name,
                "Channel": {"Name": [name]},
                "PhysicalSizeX": pixel_um[0],
                "PhysicalSizeXUnit": "µm",
                "PhysicalSizeY": pixel_um[1],
                "PhysicalSizeYUnit": "µm",
            }
            file.write(
                level,
                tile=(TILE, TILE),
                photometric="minisblack",
                compression="zlib",
                subfiletype=1 if k else 0,
                subifds=None if k else len(levels) - 1,
                resolution=tuple(10_000 / (side * times) for side in pixel_um),  # for readers that know no OME
                resolutionunit="CENTIMETER",
                metadata=None if k else about,
            )
