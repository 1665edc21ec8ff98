import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shapely.geometry import shape

from foveate.errors import FoveateError
from foveate.slides.geojson import feature_collection, is_geojson, read_geojson
from foveate.slides.marks import AREA, LINE, POINTS, Mark
from foveate.slides.outlines import fill

from .rfc7946 import faults

PATH = Path("a.geojson")
SQUARE = [[0, 0], [9, 0], [9, 9], [0, 9], [0, 0]]
HOLE = [[2, 2], [2, 4], [4, 4], [4, 2], [2, 2]]


def outline(*vertices: tuple[float, float]) -> np.ndarray:
    return np.array(vertices, float)


A = outline((0, 0), (8.5, 0), (8.5, 9.25), (0, 9.25))
CUT = outline((2, 2), (4, 2), (4, 4), (2, 4))
B = outline((20, 20), (25, 20), (20, 26))
MARKS = [
    Mark("Tissue", AREA, ((A, CUT), (B[::-1],)), "t", (1, 2, 3), None, {"area_mm2": 0.5}, True),
    Mark("Tumor", AREA, ((A[::-1], CUT),), "lesion 1", own_colour=(7, 8, 9)),
    Mark("Path", LINE, ((B,),), "p"),
    Mark("Fixation", POINTS, ((B,),)),
    Mark("Fixation", POINTS, ((B[:1],),)),
]


def feature(geometry: object, classification: object = "Tumor", **properties: object) -> dict[str, Any]:
    made: dict[str, Any] = {"objectType": "annotation", **properties}
    if classification is not None:
        made["classification"] = classification
    return {"type": "Feature", "id": "8f0e", "geometry": geometry, "properties": made}


def polygon(*rings: object) -> dict[str, object]:
    return {"type": "Polygon", "coordinates": list(rings)}


def read(*features: object, corner: tuple[int, int] = (0, 0)) -> list[Mark]:
    return [mark for _, mark in read_geojson(PATH, {"type": "FeatureCollection", "features": list(features)}, corner)]


def rings(mark: Mark) -> list[list[frozenset[frozenset[tuple[float, ...]]]]]:
    """The sides of each ring, whichever way it turns and wherever it begins."""
    return [
        [
            frozenset(
                frozenset((tuple(a), tuple(b)))
                for a, b in zip(ring.tolist(), np.roll(ring, -1, axis=0).tolist(), strict=True)
            )
            for ring in part
        ]
        for part in mark.parts
    ]


@pytest.mark.parametrize("corner", [(0, 0), (1000, 20)])
def test_what_is_written_is_geojson_and_read_back_the_same(corner: tuple[int, int]) -> None:
    collection = feature_collection(MARKS, corner)
    assert faults(collection) == []
    again = read(*json.loads(json.dumps(collection))["features"], corner=corner)
    assert [(m.group, m.kind, m.name) for m in again] == [(m.group, m.kind, m.name) for m in MARKS]
    assert [rings(m) for m in again] == [rings(m) for m in MARKS]


def test_qupath_gets_valid_polygons_that_are_filled_as_they_were_drawn() -> None:
    bow_tie = outline((0, 0), (4, 4), (4, 0), (0, 4))
    loop = outline((0, 0), (6, 0), (6, 6), (2, 6), (2, 2), (4, 2), (4, 4), (0, 4))
    line = outline((0, 0), (6, 0), (9, 0))
    collection = feature_collection([Mark("Tumor", AREA, ((ring,),)) for ring in (bow_tie, loop, line)])
    assert faults(collection) == []
    shapes = [shape(found["geometry"]) for found in collection["features"]]
    assert all(found.is_valid for found in shapes)
    assert [(found.geom_type, found.area) for found in shapes[:2]] == [("MultiPolygon", 8), ("Polygon", 28)]
    two, one, none = read(*json.loads(json.dumps(collection))["features"])
    for mark, ring in ((two, bow_tie), (one, loop)):
        drawn, again = np.zeros((2, 7, 7), np.uint16)
        fill(drawn, ring, 1)
        for outer, *holes in mark.parts:
            fill(again, outer, 1, holes)
        np.testing.assert_array_equal(again, drawn)
    assert none.kind == LINE


def test_the_properties_are_those_of_qupath() -> None:
    first, second, *_ = feature_collection(MARKS)["features"]
    assert first["properties"] == {
        "objectType": "annotation",
        "name": "t",
        "classification": {"name": "Tissue", "color": [1, 2, 3]},
        "isLocked": True,
        "measurements": {"area_mm2": 0.5},
    }
    assert second["properties"]["color"] == [7, 8, 9]
    assert "isLocked" not in second["properties"]
    types = [f["geometry"]["type"] for f in feature_collection(MARKS)["features"]]
    assert types == ["MultiPolygon", "Polygon", "LineString", "MultiPoint", "Point"]
    assert feature_collection(MARKS, (1, 2))["features"][4]["geometry"]["coordinates"] == (19, 18)


def test_the_checks_of_this_test_see_faults() -> None:
    good = feature_collection(MARKS)
    for spoil, expected in (
        (lambda f: f["geometry"]["coordinates"][0][0].pop(), "not closed"),
        (lambda f: f["geometry"]["coordinates"][0][1].reverse(), "turns the wrong way"),
        (lambda f: f["geometry"]["coordinates"][0][0].__setitem__(slice(2, None), []), "oneOf"),
        (lambda f: f.pop("properties"), "properties"),
        (lambda f: f.update(coordinates=[]), "coordinates"),
    ):
        bad = json.loads(json.dumps(good))
        spoil(bad["features"][0])
        assert expected in " ".join(faults(bad))


def test_every_form_that_qupath_writes() -> None:
    one = feature(polygon(SQUARE, HOLE), {"name": "Tumor", "color": [200, 0, 0]}, name="n")
    for content in ([one], one, {"type": "FeatureCollection", "features": [one]}):
        assert is_geojson(content)
        ((place, mark),) = read_geojson(PATH, content)
        assert place == "a.geojson: feature 0 'n'"
        assert (mark.group, mark.name, [len(ring) for ring in mark.parts[0]]) == ("Tumor", "n", [4, 4])
    assert is_geojson([])  # nothing is annotated
    assert not is_geojson({"positive": [], "negative": []})


@pytest.mark.parametrize(
    ("classification", "group"),
    [
        ({"name": "Tumor", "colorRGB": -3670016}, "Tumor"),
        ({"names": ["Tumor", "Positive"], "color": [1, 2, 3]}, "Tumor"),
        ("Tumor: Positive", "Tumor"),
        ({}, ""),
        (None, ""),
    ],
)
def test_classifications(classification: object, group: str) -> None:
    assert read(feature(polygon(SQUARE), classification))[0].group == group


def test_a_multipolygon_keeps_the_holes_of_each_piece() -> None:
    far = [[x + 20, y] for x, y in SQUARE]
    (mark,) = read(feature({"type": "MultiPolygon", "coordinates": [[SQUARE, HOLE], [far]]}))
    assert [len(part) for part in mark.parts] == [2, 1]
    assert mark.parts[1][0].tolist() == far[:-1]


def test_what_is_no_annotation_is_left_out_and_nested_features_are_not() -> None:
    nested = feature(polygon(SQUARE), name="outer", childObjects=[feature(polygon(HOLE), name="inner")])
    cell = feature(polygon(SQUARE)) | {"properties": {"objectType": "cell"}}
    old = {"type": "Feature", "id": "PathDetectionObject", "geometry": polygon(SQUARE), "properties": {}}
    nowhere = feature(None, name="nowhere")
    assert [mark.name for mark in read(cell, nested, old, nowhere)] == ["outer", "inner"]
    kept = [{"type": "Feature", "id": "PathAnnotationObject", "geometry": polygon(SQUARE), "properties": {}}]
    assert len(read(*kept, {"type": "Feature", "geometry": polygon(SQUARE), "properties": None})) == 2


@pytest.mark.parametrize(
    ("properties", "kept"),
    [
        ({"objectType": None, "name": None}, True),  # as GeoPandas writes what it does not know
        ({"objectType": "region"}, True),  # QuPath takes what it does not know for an annotation
        ({"type": "Polygon"}, True),
        ({"objectType": "tile"}, False),
        ({"objectType": "detection"}, False),
        ({"object_type": "tma_core"}, False),
        ({"type": "cell"}, False),
        ({"objectType": "root"}, False),
    ],
)
def test_an_object_of_a_type_that_qupath_does_not_know_is_an_annotation(
    properties: dict[str, object], kept: bool
) -> None:
    found = read(feature(polygon(SQUARE)) | {"properties": {"classification": {"name": "Tumor"}} | properties})
    assert [(mark.group, mark.name) for mark in found] == [("Tumor", "")] * kept


@pytest.mark.parametrize("identity", ["PathCellObject", "PathTileObject", "TMACoreObject", "PathRootObject"])
def test_the_types_of_qupath_0_2(identity: str) -> None:
    one = {"type": "Feature", "id": identity, "geometry": polygon(SQUARE), "properties": {}}
    assert read(one) == []
    assert len(read(one | {"id": "Path 7"})) == 1


def test_an_ellipse_is_read_as_the_polygon_that_it_is_written_as() -> None:
    plane = {"c": -1, "z": 0, "t": 0}
    (mark,) = read(feature(polygon(SQUARE) | {"isEllipse": True, "plane": plane}, isLocked=True))
    assert mark.parts[0][0].tolist() == SQUARE[:-1]


def test_a_third_coordinate_and_an_open_ring_are_taken_as_they_are_meant() -> None:
    (mark,) = read(feature(polygon([[0, 0, 5], [9, 0, 5], [9, 9, 5]])))
    assert mark.parts[0][0].tolist() == [[0, 0], [9, 0], [9, 9]]


def test_lines_and_points() -> None:
    lines = read(
        feature({"type": "LineString", "coordinates": [[1, 2], [3, 4]]}),
        feature({"type": "MultiLineString", "coordinates": [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]}),
        feature({"type": "Point", "coordinates": [1, 2]}),
        feature({"type": "MultiPoint", "coordinates": [[1, 2], [3, 4]]}),
    )
    assert [(m.kind, len(m.parts), len(m.parts[0][0])) for m in lines] == [
        (LINE, 1, 2),
        (LINE, 2, 2),
        (POINTS, 1, 1),
        (POINTS, 1, 2),
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (3, "a.geojson: feature 0: the type is 3; expected FeatureCollection or Feature"),
        ({"type": "Topology"}, "a.geojson: feature 0: the type is 'Topology'; expected FeatureCollection or Feature"),
        ({"type": "FeatureCollection"}, "a.geojson: features are None; expected a list"),
        ([{"type": "Feature", "properties": 5}], "feature 0: properties are 5; expected an object"),
        ([feature({"type": "Circle"}, name="c")], "feature 0 'c': the geometry is 'Circle'; expected one of Polygon"),
        ([feature(7)], "feature 0: the geometry is 7; expected one of Polygon"),
        ([feature({"type": "Polygon"})], "feature 0: coordinates are None; expected a list of rings"),
        ([feature(polygon([[1, 2], 3]))], "feature 0: a position is 3; expected [x, y]"),
        ([feature(polygon([[1]]))], "feature 0: a position is [1]; expected [x, y]"),
        ([feature(polygon([[1, "b"]]))], "feature 0: y is 'b'; expected a number"),
        ([feature(polygon([[float("nan"), 1]]))], "feature 0: x is nan; expected a number"),
        ([feature(polygon(SQUARE), 12)], "feature 0: the classification is 12; expected a name"),
        ([feature(polygon(SQUARE), children=[4])], "feature 0: child 0: the type is 4; expected FeatureCollection"),
    ],
)
def test_bad_geojson(content: object, expected: str) -> None:
    with pytest.raises(FoveateError) as caught:
        read_geojson(PATH, content)
    assert str(caught.value).startswith("a.geojson: ")
    assert expected in str(caught.value)
