"""Annotations as ASAP reads and writes them (XML).

ASAP: https://computationalpathologygroup.github.io/ASAP. The form is that of its `annotation/XmlRepository.cpp`:
a group that an annotation names must be in the list of groups, or ASAP reads nothing.

ASAP's polygons have no holes. They are kept as CAMELYON16 does it, as polygons of another group that are to be cut out:
`Exclusion` for lesions, and `Tissue hole`, as a part of the group `Tissue`, for what foveate draws. No
reader would know such a group for a hole in an exclusion: its outline is joined to the exclusion's by a cut.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError, SubElement, indent, tostring

import numpy as np
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from foveate.errors import FoveateError
from foveate.slides.marks import AREA, EXCLUSION, HOLE, LESION, LINE, POINTS, Colour, Mark, Placed, number
from foveate.slides.outlines import Outline, joined

KINDS = {
    "polygon": AREA, "spline": AREA, "rectangle": AREA, "dot": POINTS, "pointset": POINTS, "measurement": LINE,
}  # fmt: skip
NAMES = "Polygon, Spline, Rectangle, Dot, PointSet, Measurement"


def read_asap(path: Path, data: bytes) -> list[Placed]:
    """The annotations of an ASAP file, in its order, each of one part without holes.

    Raises FoveateError for what is no such file, has a document type (the way to entity bombs and to other files), an
    unknown type of annotation, or coordinates that are no numbers.
    """
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
    return [_mark(element, path) for element in root.iterfind("Annotations/Annotation")]


def _mark(element: Element, path: Path) -> Placed:
    name, kind = element.get("Name", ""), element.get("Type", "")
    place = f"{path}: annotation {name!r}"
    if kind.lower() not in KINDS:
        raise FoveateError(f"{place}: type {kind!r}; expected one of {NAMES}")
    group = element.get("PartOfGroup", "")
    return place, Mark(group, KINDS[kind.lower()], ((_vertices(element, place),),), name)


def _vertices(element: Element, place: str) -> Outline:
    ordered = []
    for position, vertex in enumerate(element.iterfind("Coordinates/Coordinate")):
        order = number(vertex.get("Order", position), "Order", place)
        x, y = (number(vertex.get(axis), axis, place) for axis in ("X", "Y"))
        ordered.append((order, position, x, y))
    return np.array([(x, y) for _, _, x, y in sorted(ordered)], np.float64).reshape(-1, 2)


def asap_xml(marks: Sequence[Mark]) -> str:
    """The text of an ASAP file. Pieces of one mark have the same name; each is followed by its holes."""
    root = Element("ASAP_Annotations")
    annotations, groups = SubElement(root, "Annotations"), SubElement(root, "AnnotationGroups")
    listed: dict[str, tuple[str, Colour]] = {}
    for mark in marks:
        listed.setdefault(mark.group, ("None", mark.colour))
        for part in mark.parts:
            outline, *holes = (joined(part),) if mark.group == EXCLUSION else part
            _append(annotations, mark, mark.group, outline)
            for hole in holes:
                listed.setdefault(*_hole_group(mark))
                _append(annotations, mark, _hole_group(mark)[0], hole)
    for name, (parent, colour) in listed.items():
        group = SubElement(groups, "Group", Name=name, PartOfGroup=parent, Color=_hex(colour))
        SubElement(group, "Attributes")
    indent(root)
    return f'<?xml version="1.0"?>\n{tostring(root, encoding="unicode")}\n'


def _hole_group(mark: Mark) -> tuple[str, tuple[str, Colour]]:
    """The group of a mark's holes, its parent and its colour."""
    if mark.group == LESION:
        return EXCLUSION, ("None", mark.colour)
    return f"{mark.group}{HOLE}", (mark.group, mark.colour)


def _append(annotations: Element, mark: Mark, group: str, vertices: Outline) -> None:
    kind = {AREA: "Polygon", LINE: "PointSet", POINTS: "Dot" if len(vertices) == 1 else "PointSet"}[mark.kind]
    colour = _hex(mark.own_colour or mark.colour)
    made = SubElement(annotations, "Annotation", Name=mark.name, Type=kind, PartOfGroup=group, Color=colour)
    _coordinates(SubElement(made, "Coordinates"), vertices.tolist())


def _coordinates(parent: Element, vertices: Iterable[tuple[float, float]]) -> None:
    for order, (x, y) in enumerate(vertices):
        SubElement(parent, "Coordinate", Order=str(order), X=repr(x), Y=repr(y))


def _hex(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
