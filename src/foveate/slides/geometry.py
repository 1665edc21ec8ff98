"""Where things are on a slide: levels, micrometres, and which level serves which scale.

Frames: `_l0` level-0 pixels; `_um` micrometres from the level-0 corner (0, 0), x_um = x_l0 * mpp_x;
`_lv` pixels of one level. Order is (x, y).
"""

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

    def um_to_l0(self, location_um: NDArray[np.floating]) -> NDArray[np.float64]:
        """(..., 2) micrometres to level-0 pixels, both (x, y)."""
        return np.asarray(location_um, np.float64) / self.mpp

    def l0_to_um(self, location_l0: NDArray[np.floating]) -> NDArray[np.float64]:
        """(..., 2) level-0 pixels to micrometres, both (x, y)."""
        return np.asarray(location_l0, np.float64) * self.mpp

    def level_for(self, scale_mpp: float, slide: str) -> int:
        """The coarsest level that is at least as fine as `scale_mpp`, to 5 %.

        Where even level 0 is coarser it serves up to twice the scale, upsampled.

        Raises
        ------
        SlideError
            If level 0 is coarser than twice the scale: such pixels would be invented.
        """
        fine_enough = [k for k in range(len(self.downsamples)) if self.level_mpp(k) <= scale_mpp * EQUAL]
        if fine_enough:
            return max(fine_enough, key=self.level_mpp)
        if self.level_mpp(0) <= scale_mpp * MAX_UPSAMPLING:
            return 0
        raise SlideError(
            slide,
            f"level 0 has {self.level_mpp(0):.4g} um/px, coarser than twice the glimpse scale of {scale_mpp:g} um/px",
            "use a model with coarser glimpse.scales_mpp, or a finer scan",
        )


@dataclass(frozen=True)
class Window:
    """A square of the slide in pixels of one level: origin (x, y), whole pixels; side (x, y), may be fractional."""

    x_lv: int
    y_lv: int
    width_lv: float
    height_lv: float


def window(
    location_um: tuple[float, float],
    side_um: float,
    px: int,
    pixel_um: tuple[float, float],
    origin_um: tuple[float, float] = (0.0, 0.0),
) -> Window:
    """The square of side `side_um` around `location_um`, on a grid of pixels of `pixel_um` that starts at `origin_um`.

    The origin is rounded to whole pixels of the grid: half a pixel would cost a second decode and blur.
    Where the grid is within 5 % of the glimpse's own scale the window has `px` pixels exactly.
    """
    scale = side_um / px
    sides = [float(px) if 1 / EQUAL <= p / scale <= EQUAL else side_um / p for p in pixel_um]
    corners = [
        int(np.floor((c - o) / p - n / 2 + 0.5))
        for c, o, p, n in zip(location_um, origin_um, pixel_um, sides, strict=True)
    ]
    return Window(corners[0], corners[1], sides[0], sides[1])
