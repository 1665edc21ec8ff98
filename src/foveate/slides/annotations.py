"""Lesion outlines: ASAP XML, QuPath GeoJSON and NCRF JSON files, drawn on a pixel grid, and measured.

Vertices are (x, y) in level-0 pixels, where pixel (0, 0) covers [0, 1) x [0, 1).
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foveate.errors import FoveateError
from foveate.slides import outlines
from foveate.slides.asap import read_asap
from foveate.slides.geojson import is_geojson, read_geojson
from foveate.slides.marks import AREA, Placed, is_drawn, read_json
from foveate.slides.ncrf import read_ncrf
from foveate.slides.outlines import Outline, Polygon

log = logging.getLogger(__name__)

# CAMELYON16 names its groups _0, _1 (tumor) and _2 or Exclusion (not to count), CAMELYON17 metastases, Tumor
# and normal; Ignore* is QuPath's own class for what does not count. Compared in lower case.
LESION_GROUPS = ("_0", "_1", "Tumor", "metastases")
HOLE_GROUPS = ("_2", "normal", "Exclusion", "Ignore*")


@dataclass(frozen=True)
class Annotation:
    """The polygons of a slide, each an outline and the holes in it, (n, 2), x and y, level-0 px.

    lesions: what lies in a hole of one may be another. holes: are no lesion and cut out of every one, as in ASAP; what
    lies in a hole of these is not cut out.
    """

    lesions: list[Polygon] = field(default_factory=list)
    holes: list[Polygon] = field(default_factory=list)


def read_annotation(path: Path, corner_l0: tuple[int, int] = (0, 0)) -> Annotation:
    """Read an annotation: ASAP's if its name ends in .xml, QuPath's if in .geojson, that or NCRF's if in .json.

    corner_l0: x and y of the corner of the slide's bounds, from which QuPath counts. The pieces of a MultiPolygon are
    lesions of their own. Outlines of fewer than three vertices are left out, with a warning in the log, and so is what
    `foveate export` draws beside the lesions.

    Raises FoveateError for a file that is none of these, that has a document type (the way to entity bombs and to
    other files), that names an unknown group or class, or whose coordinates are not numbers.
    """
    kind = path.suffix.lower()
    if kind not in (".xml", ".geojson", ".json"):
        raise FoveateError(f"{path}: expected an annotation, .xml (ASAP), .geojson (QuPath) or .json (QuPath or NCRF)")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FoveateError(f"{path}: cannot be read: {error.strerror}; expected an annotation") from error
    if kind == ".xml":
        return _sorted(read_asap(path, data), "group")
    content = read_json(path, data)
    if kind == ".geojson" or is_geojson(content):
        return _sorted(read_geojson(path, content, corner_l0), "classification")
    return _sorted(read_ncrf(path, content), "group")


def _sorted(marks: Iterable[Placed], what: str) -> Annotation:
    """Lesions and holes by the group of each mark; what: how the format calls it."""
    annotation = Annotation()
    for place, mark in marks:
        if mark.kind != AREA or is_drawn(mark.group):
            continue
        hole = _is_hole(mark.group, what, place)
        for part in mark.parts:
            rings = [ring for ring in part if _encloses(ring, place)]
            if rings and rings[0] is part[0]:
                (annotation.holes if hole else annotation.lesions).append(tuple(rings))
    return annotation


def _is_hole(group: str, what: str, place: str) -> bool:
    if group.lower() in _lower(HOLE_GROUPS):
        return True
    if group.lower() in _lower(LESION_GROUPS):
        return False
    known = f"{', '.join(LESION_GROUPS)} for lesions, {', '.join(HOLE_GROUPS)} for holes"
    raise FoveateError(f"{place}: {what} {group!r}; expected {known}")


def _lower(words: Iterable[str]) -> set[str]:
    return {word.lower() for word in words}


def _encloses(ring: Outline, place: str) -> bool:
    if len(ring) < 3:
        log.warning("%s: left out, it has %d vertices and an outline has 3 or more", place, len(ring))
    return len(ring) >= 3


def rasterize(
    annotation: Annotation,
    shape: tuple[int, int],
    origin_l0: tuple[float, float],
    l0_per_px: tuple[float, float],
) -> NDArray[np.uint16]:
    """Draw the lesions on a grid.

    shape: (rows, columns) of the grid. origin_l0: x and y of its top-left corner, level-0 px. l0_per_px: how
    many level-0 pixels a grid pixel spans in x and y. Returns (rows, columns): 0 is no lesion, k the k-th.

    A pixel belongs to a lesion that its centre lies in and to no hole; a lesion's own holes are cut out
    of it alone. Where lesions overlap, the smaller one is seen. A lesion between all centres, seen nowhere otherwise,
    gets the pixel that its centroid (of the vertices) lies in.
    """
    if len(annotation.lesions) > np.iinfo(np.uint16).max:
        raise FoveateError(f"{len(annotation.lesions)} lesions on one slide; expected at most 65,535")

    def on_grid(polygon: Polygon) -> Polygon:
        return tuple((ring - origin_l0) / l0_per_px for ring in polygon)

    lesions = [on_grid(lesion) for lesion in annotation.lesions]
    grid = np.zeros(shape, np.uint16)
    tiny = []
    for k in sorted(range(len(lesions)), key=lambda k: -outlines.area(lesions[k][0])):
        outline, *holes = lesions[k]
        if not outlines.fill(grid, outline, k + 1, holes):
            tiny.append(k)
    for outline, *islands in map(on_grid, annotation.holes):
        outlines.fill(grid, outline, 0, islands)
    for k in tiny:  # after the holes: one that is as small would take the whole pixel
        column, row = np.floor(lesions[k][0].mean(axis=0))
        if 0 <= row < shape[0] and 0 <= column < shape[1]:
            grid[int(row), int(column)] = k + 1
    return grid


def lesion_diameters_um(annotation: Annotation, mpp: tuple[float, float]) -> NDArray[np.float32]:
    """Longest distance between two vertices of each lesion, (K,), um. mpp: um per level-0 pixel, x and y."""
    return np.array([outlines.diameter(outline * mpp) for outline, *_ in annotation.lesions], np.float32)
