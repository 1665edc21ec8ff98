"""Annotations as QuPath reads and writes them: GeoJSON (RFC 7946) with its own properties.

The properties are those of QuPath's `qupath.lib.io.QuPathTypeAdapters` and `GsonTools`: objectType, name, color,
classification {name, color}, isLocked, measurements; QuPath before 0.4 wrote object_type, a list of measurements and
colorRGB, which are read as well. Coordinates are level-0 pixels in place of longitude and latitude.

QuPath counts them from the corner of the slide's bounds (openslide.bounds-x, -y), to which it crops MIRAX and Leica SCN
unless it is told `--no-crop`; other slides have none, and the corner is (0, 0).
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from shapely.geometry import mapping
from shapely.geometry.base import BaseGeometry

from foveate.errors import FoveateError
from foveate.slides.marks import AREA, LINE, POINTS, Mark, Placed, number, shown
from foveate.slides.outlines import Outline, Polygon
from foveate.slides.polygons import enclosed, pieces

# objectType of what is no annotation: QuPath takes all else for one. QuPath 0.2 kept its names in the feature's id.
LEGACY_OTHERS = ("PathDetectionObject", "PathCellObject", "PathTileObject", "TMACoreObject", "PathRootObject")
OTHERS = ("detection", "cell", "tile", "tmaCore", "tma_core", "root", *LEGACY_OTHERS)
GEOMETRIES = ("Polygon", "MultiPolygon", "LineString", "MultiLineString", "Point", "MultiPoint")


def is_geojson(content: Any) -> bool:
    """Whether a JSON value means to be GeoJSON: QuPath writes a collection, a list of features or one feature."""
    return isinstance(content, list) or (isinstance(content, dict) and "type" in content)


def read_geojson(path: Path, content: Any, corner_l0: tuple[int, int] = (0, 0)) -> list[Placed]:
    """The annotations of a file whose JSON is `content`, in its order; rings do not repeat their first vertex.

    corner_l0: where QuPath counts from, level-0 px. Detections, cells, tiles and TMA cores are no annotations and left
    out; so are features without geometry. A class that is derived from another, as `Tumor: Positive`, counts as that.

    Raises FoveateError for what is no GeoJSON, has another geometry, or coordinates that are no numbers.
    """
    corner = np.array(corner_l0, np.float64)
    marks = []
    for place, feature in _features(path, content):
        properties, geometry = feature.get("properties") or {}, feature.get("geometry")
        if not isinstance(properties, dict):
            raise FoveateError(f"{place}: properties are {shown(properties)}; expected an object")
        if _object_type(feature, properties) in OTHERS or geometry is None:
            continue
        kind, parts = _geometry(geometry, corner, place)
        group = _class(properties.get("classification"), place)
        marks.append((place, Mark(group, kind, parts, _name(properties))))
    return marks


def _features(path: Path, content: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every feature with the place of it, those that QuPath has nested in others too."""
    if isinstance(content, dict) and content.get("type") == "FeatureCollection":
        content = content.get("features")
        if not isinstance(content, list):
            raise FoveateError(f"{path}: features are {shown(content)}; expected a list")
    for position, feature in enumerate(content if isinstance(content, list) else [content]):
        yield from _nested(feature, f"{path}: feature {position}")


def _nested(feature: Any, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    found = feature.get("type") if isinstance(feature, dict) else feature
    if not isinstance(feature, dict) or found != "Feature":
        raise FoveateError(f"{place}: the type is {shown(found)}; expected FeatureCollection or Feature")
    properties = feature.get("properties")
    if isinstance(properties, dict):
        if name := _name(properties):
            place = f"{place} {name!r}"
        children = properties.get("childObjects", properties.get("children"))
    else:
        children = None
    yield place, feature
    for position, child in enumerate(children if isinstance(children, list) else []):
        yield from _nested(child, f"{place}: child {position}")


def _name(properties: dict[str, Any]) -> str:
    name = properties.get("name")
    return "" if name is None else str(name)


def _object_type(feature: dict[str, Any], properties: dict[str, Any]) -> str:
    """What QuPath calls the object; "annotation" where nothing is said, as other programs write it."""
    for name in ("objectType", "object_type", "type"):
        if properties.get(name) is not None:
            return str(properties[name])
    identity = feature.get("id")  # today a UUID
    return str(identity) if identity in LEGACY_OTHERS else "annotation"


def _class(value: Any, place: str) -> str:
    """The name of the class that a classification is derived from; "" without any."""
    found = value
    if isinstance(value, dict):
        found = value.get("name", value.get("names", ""))
    if isinstance(found, list) and found:
        found = found[0]
    if found is None or found == []:
        return ""
    if not isinstance(found, str):
        raise FoveateError(f"{place}: the classification is {shown(value)}; expected a name")
    return found.split(":")[0].strip()


def _geometry(geometry: Any, corner: Outline, place: str) -> tuple[str, tuple[Polygon, ...]]:
    kind = geometry.get("type") if isinstance(geometry, dict) else geometry
    if kind not in GEOMETRIES:
        raise FoveateError(f"{place}: the geometry is {shown(kind)}; expected one of {', '.join(GEOMETRIES)}")
    coordinates = geometry.get("coordinates")
    if kind in ("Polygon", "MultiPolygon"):
        pieces = [coordinates] if kind == "Polygon" else _list(coordinates, "polygons", place)
        return AREA, tuple(_polygon(piece, corner, place) for piece in pieces)
    lines = _list(coordinates, "lines", place) if kind == "MultiLineString" else [coordinates]
    if kind == "Point":
        lines = [[coordinates]]
    parts = tuple((_positions(line, place) + corner,) for line in lines)
    return (LINE if "Line" in kind else POINTS), parts


def _polygon(rings: Any, corner: Outline, place: str) -> Polygon:
    return tuple(_open(_positions(ring, place) + corner) for ring in _list(rings, "rings", place))


def _open(ring: Outline) -> Outline:
    return ring[:-1] if len(ring) > 1 and (ring[0] == ring[-1]).all() else ring


def _positions(value: Any, place: str) -> Outline:
    pairs = []
    for position in _list(value, "positions [x, y]", place):
        if not isinstance(position, list) or len(position) < 2:
            raise FoveateError(f"{place}: a position is {shown(position)}; expected [x, y]")
        pairs.append((number(position[0], "x", place), number(position[1], "y", place)))
    return np.array(pairs, np.float64).reshape(-1, 2)


def _list(value: Any, what: str, place: str) -> list[Any]:
    if not isinstance(value, list):
        raise FoveateError(f"{place}: coordinates are {shown(value)}; expected a list of {what}")
    return value


def geojson_text(marks: Sequence[Mark], corner_l0: tuple[int, int] = (0, 0)) -> str:
    """The text of a GeoJSON file, a feature a line; see `feature_collection`."""
    features = feature_collection(marks, corner_l0)["features"]
    lines = ",\n".join(json.dumps(f, ensure_ascii=False, allow_nan=False) for f in features)
    return f'{{"type": "FeatureCollection", "features": [\n{lines}\n]}}\n'


def feature_collection(marks: Sequence[Mark], corner_l0: tuple[int, int] = (0, 0)) -> dict[str, Any]:
    """The marks as QuPath annotations: a GeoJSON FeatureCollection, with rings as RFC 7946 wants them.

    corner_l0: where QuPath counts from, level-0 px. An outline that crosses itself becomes the pieces that it encloses,
    and one that encloses nothing lines: QuPath 0.6 opens no file with an invalid polygon in it.
    """
    corner = np.array(corner_l0, np.float64)
    return {"type": "FeatureCollection", "features": [_feature(mark, corner) for mark in marks]}


def _feature(mark: Mark, corner: Outline) -> dict[str, Any]:
    properties: dict[str, Any] = {"objectType": "annotation", "name": mark.name}
    if mark.own_colour is not None:
        properties["color"] = list(mark.own_colour)
    # QuPath's reader wants both of them
    properties["classification"] = {"name": mark.group, "color": list(mark.colour)}
    if mark.locked:
        properties["isLocked"] = True
    if mark.measurements:
        properties["measurements"] = dict(mark.measurements)
    geometry = _written(mark.kind, [[vertices - corner for vertices in part] for part in mark.parts])
    return {"type": "Feature", "geometry": mapping(geometry), "properties": properties}


def _written(kind: str, parts: list[list[Outline]]) -> BaseGeometry:
    """A mark's geometry, valid, and counterclockwise by its numbers, holes clockwise (RFC 7946, 3.1.6)."""
    if kind == AREA:
        areas = [enclosed(part) for part in parts]
        found = [shapely.Polygon(outline, holes) for area in areas for outline, *holes in pieces(area)]
        return shapely.orient_polygons(shapely.MultiPolygon(found) if len(found) > 1 else (found or areas)[0])
    vertices = parts[0][0]
    if kind == LINE:
        return shapely.LineString(vertices)
    return shapely.Point(vertices[0]) if len(vertices) == 1 else shapely.MultiPoint(vertices)
