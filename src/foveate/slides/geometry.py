"""Where things are on a slide: levels, micrometres, cells, and which level serves which scale.

Frames: `_l0` level-0 pixels; `_um` micrometres from the level-0 corner (0, 0), x_um = x_l0 * mpp_x;
`_lv` pixels of one level. Order is (x, y), but for a `cell`, which is (row, column) of the overview's grid.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveate.errors import SlideError

# A level this close to the scale that was asked for serves it pixel for pixel.
EQUAL = 1.05
MAX_UPSAMPLING = 2.0


@dataclass(frozen=True)
class Geometry:
    """The pyramid of one slide.

    mpp: um per level-0 pixel (x, y). sizes_lv: (width, height) of every level, finest first.
    downsamples: level-0 pixels per level pixel. bounds_l0: (x, y, width, height) of the scanned area.
    """

    mpp: tuple[float, float]
    sizes_lv: tuple[tuple[int, int], ...]
    downsamples: tuple[float, ...]
    bounds_l0: tuple[int, int, int, int]

    def level_mpp(self, level: int) -> float:
        """Um per pixel of a level, the mean of x and y."""
        return self.downsamples[level] * (self.mpp[0] + self.mpp[1]) / 2

    def pixel_um(self, level: int) -> tuple[float, float]:
        """Um per pixel of a level, (x, y)."""
        return self.mpp[0] * self.downsamples[level], self.mpp[1] * self.downsamples[level]

    def um_to_l0(self, location_um: NDArray[np.floating]) -> NDArray[np.float64]:
        """(..., 2) micrometres to level-0 pixels, both (x, y)."""
        return np.asarray(location_um, np.float64) / self.mpp

    def l0_to_um(self, location_l0: NDArray[np.floating]) -> NDArray[np.float64]:
        """(..., 2) level-0 pixels to micrometres, both (x, y)."""
        return np.asarray(location_l0, np.float64) * self.mpp

    def um_to_lv(self, location_um: NDArray[np.floating], level: int) -> NDArray[np.float64]:
        """(..., 2) micrometres to pixels of a level, both (x, y)."""
        return np.asarray(location_um, np.float64) / self.pixel_um(level)

    def lv_to_um(self, location_lv: NDArray[np.floating], level: int) -> NDArray[np.float64]:
        """(..., 2) pixels of a level to micrometres, both (x, y)."""
        return np.asarray(location_lv, np.float64) * self.pixel_um(level)

    def coarsest_within(self, mpp: float) -> int | None:
        """The coarsest level that is at least as fine as `mpp`, to 5 %; None where all are coarser."""
        fine_enough = [k for k in range(len(self.downsamples)) if self.level_mpp(k) <= mpp * EQUAL]
        return max(fine_enough, key=self.level_mpp, default=None)

    def level_for(self, scale_mpp: float, slide: str) -> int:
        """The coarsest level that is at least as fine as `scale_mpp`, to 5 %.

        Where even level 0 is coarser it serves up to twice the scale, upsampled.

        Raises
        ------
        SlideError
            If level 0 is coarser than twice the scale: such pixels would be invented.
        """
        level = self.coarsest_within(scale_mpp)
        if level is not None:
            return level
        if self.level_mpp(0) <= scale_mpp * MAX_UPSAMPLING:
            return 0
        raise SlideError(
            slide,
            f"level 0 has {self.level_mpp(0):.4g} um/px, coarser than twice the glimpse scale of {scale_mpp:g} um/px",
            "use a model with coarser glimpse.scales_mpp, or a finer scan",
        )

    def upsampled(self, scales_mpp: Sequence[float], slide: str) -> list[str]:
        """A warning for each scale that is finer than level 0. Raises SlideError if one is finer by more than twice."""
        served = [(scale, self.level_mpp(self.level_for(scale, slide))) for scale in scales_mpp]
        return [
            f"the glimpse scale of {scale:g} um/px is upsampled from {found:.4g} um/px"
            for scale, found in served
            if found > scale * EQUAL
        ]


@dataclass(frozen=True)
class Grid:
    """The cells over an overview: squares of `cell_um`, the first with its corner at `origin_um` (x, y)."""

    cell_um: float
    origin_um: tuple[float, float]

    def centre_um(self, cell: NDArray[np.integer] | NDArray[np.floating]) -> NDArray[np.float64]:
        """(..., 2) cells (row, column) to the um (x, y) of their centres; fractions of a cell lie off the centre."""
        return (np.asarray(cell, np.float64)[..., ::-1] + 0.5) * self.cell_um + self.origin_um

    def cell_at(self, location_um: NDArray[np.floating]) -> NDArray[np.int64]:
        """(..., 2) um (x, y) to the cell (row, column) that holds them; outside the overview it is off the grid."""
        cell = (np.asarray(location_um, np.float64) - self.origin_um) / self.cell_um
        return np.floor(cell[..., ::-1]).astype(np.int64)


def sides_px(side_um: float, px: int, pixel_um: tuple[float, float]) -> tuple[float, float]:
    """Width and height of a square of side `side_um` in pixels of `pixel_um` (x, y); may be fractional.

    Where the square's own pixel is within 5 % of one, two, three ... of these it is as many times `px` exactly, so
    that whole pixels are averaged.
    """
    width, height = (_side_px(side_um / p, px) for p in pixel_um)
    return width, height


def _side_px(side: float, px: int) -> float:
    factor = max(1, round(side / px))
    return float(factor * px) if 1 / EQUAL <= side / px / factor <= EQUAL else side


def window(
    centre_um: tuple[float, float],
    sides_px: tuple[float, float],
    pixel_um: tuple[float, float],
    origin_um: tuple[float, float] = (0.0, 0.0),
) -> tuple[int, int]:
    """First pixel (x, y) of a rectangle of `sides_px` around a place, on a grid of pixels that starts at `origin_um`.

    Whole pixels of the grid: half a pixel would cost a second decode and blur.
    """
    x = math.floor((centre_um[0] - origin_um[0]) / pixel_um[0] - sides_px[0] / 2 + 0.5)
    y = math.floor((centre_um[1] - origin_um[1]) / pixel_um[1] - sides_px[1] / 2 + 0.5)
    return x, y
