"""One scale of a glimpse on one slide: which pixels serve it, and how they become g x g px."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from foveate.errors import SlideError
from foveate.slides.area import AreaFilter
from foveate.slides.geometry import EQUAL, Geometry, sides_px, window
from foveate.slides.raster import Raster
from foveate.slides.reader import Reader, Region

CROP_BYTES = 2**24  # of pixels that wait to be averaged, at a time
ReadMany = Callable[[Sequence[Region]], dict[int, SlideError]]


class View:
    """Squares of `px` x `px` pixels at one scale.

    Parameters
    ----------
    read_many : fills regions of some grid of pixels; number of a region -> why it could not be.
    pixel_um, origin_um : um per pixel (x, y) of that grid, and its corner.
    side_um : side of a square.
    """

    def __init__(
        self,
        read_many: ReadMany,
        pixel_um: tuple[float, float],
        origin_um: tuple[float, float],
        side_um: float,
        px: int,
    ) -> None:
        self._read_many, self._pixel_um, self._origin_um = read_many, pixel_um, origin_um
        self._sides = sides_px(side_um, px, pixel_um)
        self._plain = self._sides == (px, px)
        self._area = AreaFilter(self._sides, px)

    def fill(
        self, places_um: Sequence[tuple[float, float]], outs: Sequence[NDArray[np.uint8]]
    ) -> dict[int, SlideError]:
        """Fill each of `outs` (g, g, 3) with the square around its place: the grid's own pixels, or area means.

        Returns, by number of the place, why it could not be read.
        """
        corners = [window(place, self._sides, self._pixel_um, self._origin_um) for place in places_um]
        if self._plain:
            return self._read_many([(x, y, out) for (x, y), out in zip(corners, outs, strict=True)])
        width, height = (int(np.ceil(side)) for side in self._sides)
        step = max(1, CROP_BYTES // (3 * width * height))
        errors: dict[int, SlideError] = {}
        for first in range(0, len(corners), step):
            part = slice(first, first + step)
            found = self._average(corners[part], outs[part], (width, height))
            errors |= {first + number: error for number, error in found.items()}
        return errors

    def _average(
        self, corners: Sequence[tuple[int, int]], outs: Sequence[NDArray[np.uint8]], size: tuple[int, int]
    ) -> dict[int, SlideError]:
        width, height = size
        crops = np.empty((len(corners), height, width, 3), np.uint8)
        errors = self._read_many([(x, y, crop) for (x, y), crop in zip(corners, crops, strict=True)])
        for number, (crop, out) in enumerate(zip(crops, outs, strict=True)):
            if number not in errors:
                out[:] = self._area.apply(crop)
        return errors


def slide_view(reader: Reader, geometry: Geometry, slide: str, scale_mpp: float, px: int) -> View:
    """A scale served from the coarsest level that is fine enough.

    Raises
    ------
    SlideError
        If the slide is too coarse for the scale.
    """
    level = geometry.level_for(scale_mpp, slide)
    return View(partial(reader.read_many, level), geometry.pixel_um(level), (0.0, 0.0), scale_mpp * px, px)


def raster_view(
    rasters: Sequence[Raster], background_rgb: tuple[int, int, int], scale_mpp: float, px: int
) -> View | None:
    """A scale served from the first of some stored images that is fine enough; None where none is."""
    raster = next((raster for raster in rasters if raster.mpp <= scale_mpp * EQUAL), None)
    if raster is None:
        return None

    def read_many(regions: Sequence[Region]) -> dict[int, SlideError]:
        for x, y, out in regions:
            raster.read(x, y, out, background_rgb)
        return {}

    return View(read_many, raster.pixel_um, raster.origin_um, scale_mpp * px, px)
