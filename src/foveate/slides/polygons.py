"""Masks as polygons along the borders of their pixels, and what polygons enclose, by shapely.

On a grid, pixel (row, column) covers [column, column + 1) in x and [row, row + 1) in y; vertices are (x, y).
"""

from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from foveate.slides.outlines import Outline, Polygon


def polygons(mask: NDArray[np.bool_]) -> list[Polygon]:
    """The pieces of `mask` (H, W) that are joined by edges, as polygons with their holes.

    Drawn again they give the mask, pixel for pixel. They are valid as simple features: where pixels meet at a corner
    alone, rings touch there, and none touches itself.
    """
    step = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    (row, left), (_, right) = np.nonzero(step == 1), np.nonzero(step == -1)
    runs = shapely.box(left, row, right, row + 1)
    return pieces(shapely.simplify(shapely.union_all(runs), 0))  # without the vertices that a side passes straight


def enclosed(polygon: Sequence[Outline]) -> BaseGeometry:
    """What an outline and its holes enclose as they are filled: all that is crossed into an odd number of times.

    Valid: several pieces where the outline crosses itself, lines or a point where it encloses nothing.
    """
    outline, *holes = polygon
    return shapely.make_valid(shapely.Polygon(outline, holes))


def pieces(area: BaseGeometry) -> list[Polygon]:
    """The polygons of an area, each its outline and its holes."""
    # a collection may hold a multipolygon
    single = shapely.get_parts(shapely.get_parts(area))
    found = single[shapely.get_type_id(single) == shapely.GeometryType.POLYGON]
    return [tuple(shapely.get_coordinates(ring)[:-1] for ring in shapely.get_rings(one)) for one in found]
