"""Lesion outlines: ASAP XML and NCRF JSON files, drawn on a pixel grid, and measured.

Vertices are (x, y) in level-0 pixels, where pixel (0, 0) covers [0, 1) x [0, 1).
ASAP: https://computationalpathologygroup.github.io/ASAP. NCRF: Li and Ping, 2018, arXiv:1806.07064.
"""

import json
import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError

import numpy as np
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring
from numpy.typing import NDArray

from foveate.errors import FoveateError
from foveate.slides import outlines
from foveate.slides.outlines import Outline

log = logging.getLogger(__name__)

# CAMELYON16 names its groups _0, _1 (tumor) and _2 or Exclusion (not to count), CAMELYON17 metastases, Tumor
# and normal. Compared in lower case.
LESION_GROUPS = ("_0", "_1", "Tumor", "metastases")
HOLE_GROUPS = ("_2", "normal", "Exclusion")
AREA_TYPES = ("Polygon", "Spline", "Rectangle")
OTHER_TYPES = ("Dot", "PointSet", "Measurement")
FARTHEST_L0 = 10**9  # a slide has some 10**5 pixels a side; what is farther out is no coordinate


@dataclass(frozen=True)
class Annotation:
    """The outlines of a slide: lesions, and holes that are no lesion. Each is (n, 2), x and y, level-0 px."""

    lesions: list[Outline] = field(default_factory=list)
    holes: list[Outline] = field(default_factory=list)


def read_annotation(path: Path) -> Annotation:
    """Read an annotation: ASAP's if its name ends in .xml, NCRF's if in .json.

    Outlines of fewer than three vertices are left out, with a warning in the log. Raises FoveateError for a
    file that is neither, that has a document type (the way to entity bombs and to other files), that names
    an unknown group, or whose coordinates are not numbers.
    """
    readers = {".xml": _read_asap, ".json": _read_ncrf}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise FoveateError(f"{path}: expected an annotation, .xml (ASAP) or .json (NCRF)")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FoveateError(f"{path}: cannot be read: {error.strerror}; expected an annotation") from error
    return reader(path, data)


def rasterize(
    annotation: Annotation,
    shape: tuple[int, int],
    origin_l0: tuple[float, float],
    l0_per_px: tuple[float, float],
) -> NDArray[np.uint16]:
    """Draw the lesions on a grid.

    shape: (rows, columns) of the grid. origin_l0: x and y of its top-left corner, level-0 px. l0_per_px: how
    many level-0 pixels a grid pixel spans in x and y. Returns (rows, columns): 0 is no lesion, k the k-th.

    A pixel belongs to a lesion that its centre lies in and to no hole. Where lesions overlap, the smaller one
    is seen. A lesion between all centres, seen nowhere otherwise, gets the pixel that its centroid (of
    the vertices) lies in.
    """
    if len(annotation.lesions) > np.iinfo(np.uint16).max:
        raise FoveateError(f"{len(annotation.lesions)} lesions on one slide; expected at most 65,535")
    lesions = [(outline - origin_l0) / l0_per_px for outline in annotation.lesions]
    holes = [(outline - origin_l0) / l0_per_px for outline in annotation.holes]
    grid = np.zeros(shape, np.uint16)
    tiny = []
    for k in sorted(range(len(lesions)), key=lambda k: -outlines.area(lesions[k])):
        if not outlines.fill(grid, lesions[k], k + 1):
            tiny.append(k)
    for hole in holes:
        outlines.fill(grid, hole, 0)
    for k in tiny:  # after the holes: one that is as small would take the whole pixel
        column, row = np.floor(lesions[k].mean(axis=0))
        if 0 <= row < shape[0] and 0 <= column < shape[1]:
            grid[int(row), int(column)] = k + 1
    return grid


def lesion_diameters_um(annotation: Annotation, mpp: tuple[float, float]) -> NDArray[np.float32]:
    """Longest distance between two vertices of each lesion, (K,), um. mpp: um per level-0 pixel, x and y."""
    return np.array([outlines.diameter(v * mpp) for v in annotation.lesions], np.float32)


def _read_asap(path: Path, data: bytes) -> Annotation:
    try:
        root = fromstring(data, forbid_dtd=True)
    except DefusedXmlException as error:
        raise FoveateError(f"{path}: has a document type or entities; expected plain ASAP XML") from error
    except ParseError as error:
        raise FoveateError(f"{path}:{error.position[0]}: not XML: {error}") from error
    except (LookupError, ValueError) as error:  # an encoding that the parser does not read
        raise FoveateError(f"{path}: not XML: {error}") from error
    if root.tag != "ASAP_Annotations":
        raise FoveateError(f"{path}: the first tag is {root.tag!r}; expected ASAP_Annotations")
    annotation = Annotation()
    for element in root.iterfind("Annotations/Annotation"):
        place = f"{path}: annotation {element.get('Name', '')!r}"
        if _is_area(element, place):
            target = annotation.holes if _is_hole(element, place) else annotation.lesions
            _add(target, _asap_vertices(element, place), place)
    return annotation


def _is_area(element: Element, place: str) -> bool:
    kind = element.get("Type", "")
    if kind.lower() in _lower(AREA_TYPES):
        return True
    if kind.lower() in _lower(OTHER_TYPES):
        return False
    raise FoveateError(f"{place}: type {kind!r}; expected one of {', '.join(AREA_TYPES + OTHER_TYPES)}")


def _is_hole(element: Element, place: str) -> bool:
    group = element.get("PartOfGroup", "")
    if group.lower() in _lower(HOLE_GROUPS):
        return True
    if group.lower() in _lower(LESION_GROUPS):
        return False
    known = f"{', '.join(LESION_GROUPS)} for lesions, {', '.join(HOLE_GROUPS)} for holes"
    raise FoveateError(f"{place}: group {group!r}; expected {known}")


def _lower(words: Iterable[str]) -> set[str]:
    return {word.lower() for word in words}


def _asap_vertices(element: Element, place: str) -> list[tuple[float, float]]:
    ordered = []
    for position, vertex in enumerate(element.iterfind("Coordinates/Coordinate")):
        order = _number(vertex.get("Order", position), "Order", place)
        x, y = (_number(vertex.get(axis), axis, place) for axis in ("X", "Y"))
        ordered.append((order, position, x, y))
    return [(x, y) for _, _, x, y in sorted(ordered)]


def _number(value: Any, name: str, place: str) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not abs(number) <= FARTHEST_L0:
        shown = repr(value) if len(repr(value)) < 60 else f"{repr(value)[:50]}..."
        raise FoveateError(f"{place}: {name} is {shown}; expected a number within ±{FARTHEST_L0:,}")
    return number


def _add(target: list[Outline], vertices: list[tuple[float, float]], place: str) -> None:
    if len(vertices) < 3:
        log.warning("%s: left out, it has %d vertices and an outline has 3 or more", place, len(vertices))
    else:
        target.append(np.array(vertices, np.float64))


def _read_ncrf(path: Path, data: bytes) -> Annotation:
    try:
        content = json.loads(data.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        raise FoveateError(f"{path}:{error.lineno}: not JSON: {error.msg}") from error
    except (ValueError, RecursionError) as error:  # not UTF-8, digits without end, nesting without end
        raise FoveateError(f"{path}: not JSON: {error}") from error
    expected = 'an object with the lists "positive" and "negative"'
    if not isinstance(content, dict) or set(content) != {"positive", "negative"}:
        raise FoveateError(f"{path}: expected {expected}")
    annotation = Annotation()
    for key, target in (("positive", annotation.lesions), ("negative", annotation.holes)):
        if not isinstance(content[key], list):
            raise FoveateError(f"{path}: {key!r} is no list; expected {expected}")
        for number, part in enumerate(content[key]):
            name = part.get("name", number) if isinstance(part, dict) else number
            place = f"{path}: {key} {name!r}"
            _add(target, _ncrf_vertices(part, place), place)
    return annotation


def _ncrf_vertices(part: Any, place: str) -> list[tuple[float, float]]:
    vertices = part.get("vertices") if isinstance(part, dict) else None
    if not isinstance(vertices, list) or not all(isinstance(v, list) and len(v) == 2 for v in vertices):
        raise FoveateError(f'{place}: expected an object with the list "vertices" of [x, y] pairs')
    return [(_number(x, "x", place), _number(y, "y", place)) for x, y in vertices]
