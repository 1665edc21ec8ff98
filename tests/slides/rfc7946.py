"""Whether a value is GeoJSON as RFC 7946 has it: its structure by a schema, and what a schema cannot say."""

from itertools import pairwise
from typing import Any

import jsonschema_rs

POSITION = {"type": "array", "minItems": 2, "maxItems": 3, "items": {"type": "number"}}
LINE = {"type": "array", "minItems": 2, "items": POSITION}
RING = {"type": "array", "minItems": 4, "items": POSITION}
POLYGON = {"type": "array", "minItems": 1, "items": RING}
COORDINATES = {
    "Point": POSITION,
    "MultiPoint": {"type": "array", "items": POSITION},
    "LineString": LINE,
    "MultiLineString": {"type": "array", "items": LINE},
    "Polygon": POLYGON,
    "MultiPolygon": {"type": "array", "items": POLYGON},
}
# 7.1: a geometry has no member of a feature or of a collection, and the other way round
GEOMETRIES = [
    {
        "type": "object",
        "required": ["type", "coordinates"],
        "properties": {"type": {"const": name}, "coordinates": shape}
        | dict.fromkeys(("geometry", "properties", "features"), False),
    }
    for name, shape in COORDINATES.items()
]
FEATURE = {
    "type": "object",
    "required": ["type", "geometry", "properties"],
    "properties": {
        "type": {"const": "Feature"},
        "id": {"type": ["string", "number"]},
        "geometry": {"oneOf": [{"type": "null"}, *GEOMETRIES]},
        "properties": {"type": ["object", "null"]},
    }
    | dict.fromkeys(("coordinates", "geometries", "features"), False),
}
COLLECTION = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["type", "features"],
    "properties": {"type": {"const": "FeatureCollection"}, "features": {"type": "array", "items": FEATURE}}
    | dict.fromkeys(("coordinates", "geometry", "geometries", "properties", "crs"), False),
}
VALIDATOR = jsonschema_rs.Draft202012Validator(COLLECTION)


def faults(collection: Any) -> list[str]:
    """What is wrong with a FeatureCollection; nothing if it is as it should be."""
    found = [f"{list(e.instance_path)}: {e.message}" for e in VALIDATOR.iter_errors(collection)]
    if found:
        return found
    for number, feature in enumerate(collection["features"]):
        geometry = feature["geometry"] or {"type": "Point"}
        for polygon in {"Polygon": lambda c: [c], "MultiPolygon": list}.get(geometry["type"], lambda _: [])(
            geometry.get("coordinates")
        ):
            for k, ring in enumerate(polygon):
                if ring[0] != ring[-1]:  # 3.1.6
                    found.append(f"feature {number}: ring {k} is not closed")
                doubled = sum(a[0] * b[1] - b[0] * a[1] for a, b in pairwise(ring))
                if (doubled > 0) == (k > 0):  # 3.1.6: counterclockwise, holes clockwise
                    found.append(f"feature {number}: ring {k} turns the wrong way")
    return found
