"""An image of a slide that is held as an array: the overview's thumbnail, and the level that serves coarse scales."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Raster:
    """pixels: (H, W, 3) uint8; pixel_um: um per pixel (x, y); origin_um: (x, y) of its top-left corner."""

    pixels: NDArray[np.uint8]
    pixel_um: tuple[float, float]
    origin_um: tuple[float, float]

    @property
    def mpp(self) -> float:
        """Um per pixel, the mean of x and y."""
        return (self.pixel_um[0] + self.pixel_um[1]) / 2

    def read(self, x: int, y: int, out: NDArray[np.uint8], background_rgb: tuple[int, int, int]) -> None:
        """Fill `out` (h, w, 3) from pixel (x, y) on; what lies outside is background."""
        cut_out(self.pixels, x, y, out, background_rgb)


def cut_out(image: NDArray[Any], x: int, y: int, out: NDArray[Any], around: Any) -> None:
    """Fill `out` (h, w, ...) with `image` (H, W, ...) from its pixel (x, y) on, and what lies outside with `around`."""
    top, left = max(0, -y), max(0, -x)
    part = image[max(0, y) : max(0, y + out.shape[0]), max(0, x) : max(0, x + out.shape[1])]
    bottom, right = top + part.shape[0], left + part.shape[1]
    if part.shape != out.shape:
        # by lines it is much faster than by pixels
        line = np.tile(np.asarray(around, out.dtype), (out.shape[1], *[1] * (out.ndim - 2)))
        out[:top], out[bottom:] = line, line
        out[top:bottom, :left], out[top:bottom, right:] = line[:left], line[right:]
    out[top:bottom, left:right] = part
