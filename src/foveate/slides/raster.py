"""An image of a slide that is held as an array: the overview's thumbnail, and the level that serves coarse scales."""

from dataclasses import dataclass

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
        rows, columns = self.pixels.shape[:2]
        bottom, right = y + out.shape[0], x + out.shape[1]
        if x < 0 or y < 0 or bottom > rows or right > columns:
            out[:] = background_rgb
        top, left, bottom, right = max(y, 0), max(x, 0), min(bottom, rows), min(right, columns)
        if top < bottom and left < right:
            out[top - y : bottom - y, left - x : right - x] = self.pixels[top:bottom, left:right]
