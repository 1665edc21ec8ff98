import json
import logging
import os
from pathlib import Path

import numpy as np
import pytest

from foveate.errors import FoveateError
from foveate.slides.annotations import Annotation, lesion_diameters_um, rasterize, read_annotation
from foveate.slides.outlines import Polygon

SHARED = os.environ.get("FOVEATE_SHARED")
needs_shared = pytest.mark.skipif(not SHARED, reason="FOVEATE_SHARED is not set")

TRIANGLE = [(1.0, 2.0), (5.0, 2.0), (1.0, 8.5)]


def element(
    vertices: list[tuple[object, object]], group: str = "Tumor", kind: str = "Polygon", name: str = "A 0"
) -> str:
    rows = "".join(f'<Coordinate Order="{k}" X="{x}" Y="{y}" />' for k, (x, y) in enumerate(vertices))
    opening = f'<Annotation Name="{name}" Type="{kind}" PartOfGroup="{group}" Color="#F4FA58">'
    return f"{opening}<Coordinates>{rows}</Coordinates></Annotation>"


def asap(folder: Path, *elements: str, head: str = '<?xml version="1.0"?>') -> Path:
    path = folder / "a.xml"
    body = f"<Annotations>{''.join(elements)}</Annotations><AnnotationGroups />"
    path.write_text(f"{head}\n<ASAP_Annotations>{body}</ASAP_Annotations>")
    return path


def ncrf(folder: Path, content: object) -> Path:
    path = folder / "a.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def vertices(polygons: list[Polygon]) -> list[list[tuple[float, ...]]]:
    """Of polygons without holes."""
    assert all(outline.dtype == np.float64 for (outline,) in polygons)
    return [[tuple(v) for v in outline.tolist()] for (outline,) in polygons]


@pytest.mark.parametrize("group", ["_0", "_1", "Tumor", "metastases", "tumor", "Metastases"])
@pytest.mark.parametrize("kind", ["Polygon", "Spline", "Rectangle"])
def test_asap_lesions(tmp_path: Path, group: str, kind: str) -> None:
    annotation = read_annotation(asap(tmp_path, element(TRIANGLE, group, kind)))
    assert vertices(annotation.lesions) == [TRIANGLE]
    assert annotation.holes == []


@pytest.mark.parametrize("group", ["_2", "normal", "Normal", "Exclusion"])
def test_asap_holes(tmp_path: Path, group: str) -> None:
    annotation = read_annotation(asap(tmp_path, element(TRIANGLE, group)))
    assert vertices(annotation.holes) == [TRIANGLE]
    assert annotation.lesions == []


def test_asap_order_decides_and_not_the_place_in_the_file(tmp_path: Path) -> None:
    text = "".join(f'<Coordinate Order="{k}" X="{k}" Y="{k * k}" />' for k in (10, 2, 0, 9, 1))
    path = asap(tmp_path, element([]).replace("<Coordinates>", f"<Coordinates>{text}"))
    assert vertices(read_annotation(path).lesions) == [[(0, 0), (1, 1), (2, 4), (9, 81), (10, 100)]]


def test_asap_points_and_measures_have_no_area(tmp_path: Path) -> None:
    kinds = ("Dot", "PointSet", "Measurement")
    path = asap(tmp_path, *(element([(1, 1)], "no group", kind) for kind in kinds), element(TRIANGLE))
    assert vertices(read_annotation(path).lesions) == [TRIANGLE]


def test_outlines_of_two_vertices_are_left_out_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = asap(tmp_path, element(TRIANGLE[:2], name="line"), element(TRIANGLE))
    assert vertices(read_annotation(path).lesions) == [TRIANGLE]
    assert [r.levelno for r in caplog.records] == [logging.WARNING]
    assert caplog.messages == [f"{path}: annotation 'line': left out, it has 2 vertices and an outline has 3 or more"]


def test_asap_without_annotations(tmp_path: Path) -> None:
    assert read_annotation(asap(tmp_path)) == Annotation([], [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            element(TRIANGLE, "Stroma"),
            "annotation 'A 0': group 'Stroma'; expected _0, _1, Tumor, metastases for",
        ),
        (element(TRIANGLE, kind="Blob"), "annotation 'A 0': type 'Blob'; expected one of Polygon, Spline,"),
        (element([(1, 2), (3, "nan"), (4, 5)]), "annotation 'A 0': Y is 'nan'; expected a number"),
        (element([(1, 2), ("inf", 3), (4, 5)]), "annotation 'A 0': X is 'inf'; expected a number"),
        (element([("1,5", 2), (3, 3), (4, 5)]), "annotation 'A 0': X is '1,5'; expected a number"),
        (element([(1e300, 2), (3, 3), (4, 5)]), "annotation 'A 0': X is '1e+300'; expected a number within"),
        (element([(1, 2)]).replace("Y=", "Z="), "annotation 'A 0': Y is None; expected a number"),
        (
            element([(1, 2)]).replace('"0"', '"first"'),
            "annotation 'A 0': Order is 'first'; expected a number",
        ),
        ("<Annotation>", "a.xml:2: not XML: mismatched tag"),
    ],
)
def test_bad_asap(tmp_path: Path, text: str, expected: str) -> None:
    path = asap(tmp_path, text)
    with pytest.raises(FoveateError) as caught:
        read_annotation(path)
    assert str(caught.value).startswith(str(path))
    assert expected in str(caught.value)


def square(left: float, top: float, side: float) -> list[list[float]]:
    """A closed ring."""
    right, bottom = left + side, top + side
    return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]


def geojson(folder: Path, *drawn: tuple[str | None, str, object], name: str = "a.geojson") -> Path:
    """A file of features: classification, type of geometry, coordinates."""
    features = [
        {
            "type": "Feature",
            "geometry": {"type": kind, "coordinates": coordinates},
            "properties": {"objectType": "annotation", "name": f"f{k}"}
            | ({"classification": {"name": group, "color": [200, 0, 0]}} if group else {}),
        }
        for k, (group, kind, coordinates) in enumerate(drawn)
    ]
    path = folder / name
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


@pytest.mark.parametrize("name", ["a.geojson", "a.json"])
def test_geojson_lesions_and_holes(tmp_path: Path, name: str) -> None:
    drawn = [
        ("Tumor", "Polygon", [square(0, 0, 9), square(2, 2, 3)]),
        ("metastases", "MultiPolygon", [[square(20, 0, 5)], [square(30, 0, 5)]]),
        ("Ignore*", "MultiPolygon", [[square(1, 7, 1)], [square(20, 0, 5), square(22, 2, 1)]]),
        ("Stroma", "LineString", [[0, 0], [5, 5]]),  # it has no area
    ]
    annotation = read_annotation(geojson(tmp_path, *drawn, name=name))
    assert [[ring.tolist() for ring in lesion] for lesion in annotation.lesions] == [
        [square(0, 0, 9)[:-1], square(2, 2, 3)[:-1]], [square(20, 0, 5)[:-1]], [square(30, 0, 5)[:-1]],
    ]  # fmt: skip
    assert [[ring.tolist() for ring in hole] for hole in annotation.holes] == [
        [square(1, 7, 1)[:-1]], [square(20, 0, 5)[:-1], square(22, 2, 1)[:-1]],
    ]  # fmt: skip
    assert lesion_diameters_um(annotation, (1, 1)) == pytest.approx([9 * 2**0.5, 5 * 2**0.5, 5 * 2**0.5])


def test_a_lesion_within_the_hole_of_another_is_seen(tmp_path: Path) -> None:
    rings = [square(0, 0, 7), square(1, 1, 5)]
    path = geojson(tmp_path, ("Tumor", "MultiPolygon", [rings, [square(3, 3, 1)]]))
    grid = rasterize(read_annotation(path), (7, 7), (0, 0), (1, 1))
    assert grid.tolist() == [
        [1, 1, 1, 1, 1, 1, 1],
        [1, 0, 0, 0, 0, 0, 1],
        [1, 0, 0, 0, 0, 0, 1],
        [1, 0, 0, 2, 0, 0, 1],
        [1, 0, 0, 0, 0, 0, 1],
        [1, 0, 0, 0, 0, 0, 1],
        [1, 1, 1, 1, 1, 1, 1],
    ]


def test_what_lies_in_the_hole_of_an_exclusion_is_seen(tmp_path: Path) -> None:
    path = geojson(
        tmp_path, ("Tumor", "Polygon", [square(0, 0, 7)]), ("Exclusion", "Polygon", [square(1, 1, 5), square(2, 2, 3)])
    )
    grid = rasterize(read_annotation(path), (7, 7), (0, 0), (1, 1))
    assert grid.tolist() == [
        [1, 1, 1, 1, 1, 1, 1],
        [1, 0, 0, 0, 0, 0, 1],
        [1, 0, 1, 1, 1, 0, 1],
        [1, 0, 1, 1, 1, 0, 1],
        [1, 0, 1, 1, 1, 0, 1],
        [1, 0, 0, 0, 0, 0, 1],
        [1, 1, 1, 1, 1, 1, 1],
    ]


def test_geojson_is_counted_from_the_corner_of_the_bounds_and_asap_is_not(tmp_path: Path) -> None:
    path = geojson(tmp_path, ("Tumor", "Polygon", [square(0, 0, 9), square(2, 2, 3)]))
    annotation = read_annotation(path, (1000, 20))
    assert [ring[0].tolist() for ring in annotation.lesions[0]] == [[1000, 20], [1002, 22]]
    assert vertices(read_annotation(asap(tmp_path, element(TRIANGLE)), (1000, 20)).lesions) == [TRIANGLE]


def test_what_foveate_draws_is_no_annotation(tmp_path: Path) -> None:
    ours = ("Tissue", "Tissue hole", "Fixation", "Attention 50%", "Attention 50% hole")
    path = geojson(tmp_path, *((group, "Polygon", [square(0, 0, 9)]) for group in (*ours, "Tumor")))
    assert len(read_annotation(path).lesions) == 1
    assert len(read_annotation(asap(tmp_path, *(element(TRIANGLE, group) for group in (*ours, "_2")))).holes) == 1


def test_rings_of_two_vertices_are_left_out_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    line = [[3, 3], [4, 4], [3, 3]]
    path = geojson(
        tmp_path, ("Tumor", "Polygon", [line, square(0, 0, 2)]), ("Tumor", "Polygon", [square(0, 0, 9), line])
    )
    annotation = read_annotation(path)
    assert vertices(annotation.lesions) == [[tuple(v) for v in square(0, 0, 9)[:-1]]]
    assert caplog.messages == [
        f"{path}: feature {k} 'f{k}': left out, it has 2 vertices and an outline has 3 or more" for k in (0, 1)
    ]


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        (("Stroma", "Polygon", [square(0, 0, 9)]), "feature 0 'f0': classification 'Stroma'; expected _0, _1, Tumor,"),
        (("Tissue tumor", "Polygon", [square(0, 0, 9)]), "feature 0 'f0': classification 'Tissue tumor'; expected _0,"),
        ((None, "Polygon", [square(0, 0, 9)]), "feature 0 'f0': classification ''; expected _0, _1, Tumor, metastases"),
        (("Tumor", "Polygon", [[[0, 0], [1, "x"], [2, 2]]]), "feature 0 'f0': y is 'x'; expected a number"),
    ],
)
def test_bad_geojson(tmp_path: Path, drawn: tuple[str | None, str, object], expected: str) -> None:
    path = geojson(tmp_path, drawn)
    with pytest.raises(FoveateError) as caught:
        read_annotation(path)
    assert str(caught.value).startswith(f"{path}: {expected}")


@pytest.mark.parametrize("name", ["a.geojson", "a.json"])
@pytest.mark.parametrize("content", ["[]", '{"type": "FeatureCollection", "features": []}'])
def test_a_slide_without_lesions_has_what_qupath_writes_where_nothing_is_annotated(
    tmp_path: Path, name: str, content: str
) -> None:
    (tmp_path / name).write_text(content)
    assert read_annotation(tmp_path / name) == Annotation()


@pytest.mark.parametrize("content", ["", '{"type": '])
def test_other_files_named_geojson(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.geojson").write_text(content)
    with pytest.raises(FoveateError, match=r"a\.geojson:1: not JSON"):
        read_annotation(tmp_path / "a.geojson")


BOMB = "".join(f'<!ENTITY e{k} "{f"&e{k - 1};" * 10}">' for k in range(1, 12))


@pytest.mark.parametrize(
    "doctype",
    [
        f'<!DOCTYPE x [<!ENTITY e0 "ha">{BOMB}]>',
        '<!DOCTYPE x [<!ENTITY e11 SYSTEM "secret.txt">]>',
        '<!DOCTYPE x SYSTEM "http://localhost:9/x.dtd" [<!ENTITY e11 "x">]>',
        "<!DOCTYPE ASAP_Annotations>",
    ],
    ids=["bomb", "external-entity", "external-type", "type"],
)
def test_document_types_are_refused(tmp_path: Path, doctype: str) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    entity = "&e11;" if "e11" in doctype else "x"
    path = asap(tmp_path, element(TRIANGLE, name=entity), head=doctype)
    with pytest.raises(FoveateError, match=r"a\.xml: has a document type or entities") as caught:
        read_annotation(path)
    assert "secret" not in str(caught.value).removeprefix(str(path))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "a.xml:1: not XML: no element found"),
        (b"<svg></svg>", "a.xml: the first tag is 'svg'; expected ASAP_Annotations"),
        (b"<?xml version='1.0' encoding='x-none'?><a/>", "a.xml: not XML: unknown encoding"),
        (b"<?xml version='1.0' encoding='euc-jp'?><a/>", "a.xml: not XML: multi-byte encodings"),
        (b"\x89PNG\r\n\x1a\n", "a.xml:1: not XML: not well-formed"),
    ],
)
def test_other_files_named_xml(tmp_path: Path, content: bytes, expected: str) -> None:
    (tmp_path / "a.xml").write_bytes(content)
    with pytest.raises(FoveateError) as caught:
        read_annotation(tmp_path / "a.xml")
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("none.xml", "none.xml: cannot be read: No such file"),
        ("a.txt", r"a.txt: expected an annotation, \.xml \(ASAP\), \.geojson \(QuPath\) or \.json \(QuPath or NCRF\)"),
    ],
)
def test_no_annotation_file(tmp_path: Path, name: str, expected: str) -> None:
    with pytest.raises(FoveateError, match=expected):
        read_annotation(tmp_path / name)


def test_ncrf(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    parts = [{"name": "t", "vertices": TRIANGLE}, {"name": "line", "vertices": [[0, 0], [1, 1]]}]
    path = ncrf(tmp_path, {"positive": parts, "negative": [{"vertices": [[0, 0], [0, 1], [1, 2]]}]})
    annotation = read_annotation(path)
    assert vertices(annotation.lesions) == [TRIANGLE]
    assert vertices(annotation.holes) == [[(0, 0), (0, 1), (1, 2)]]
    assert caplog.messages == [f"{path}: positive 'line': left out, it has 2 vertices and an outline has 3 or more"]


def positive(*pairs: object) -> dict[str, object]:
    return {"positive": [{"name": "t", "vertices": list(pairs)}], "negative": []}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "a.json:1: not JSON"),
        ('{"positive": [],\n "negative": [}', "a.json:2: not JSON: Expecting value"),
        ("[" * 100_000, "a.json: not JSON: "),
        (7, 'a.json: expected an object with the lists "positive" and "negative"'),
        ({"positive": []}, 'a.json: expected an object with the lists "positive" and "negative"'),
        ({"positive": {}, "negative": []}, "a.json: 'positive' is no list"),
        ({"positive": [3], "negative": []}, "a.json: positive 0: expected an object with the list"),
        (
            {"positive": [{"name": "t"}], "negative": []},
            "a.json: positive 't': expected an object with the list",
        ),
        (positive([1, 2, 3]), "a.json: positive 't': expected an object with the list"),
        (positive([1, 2], [3, None]), "a.json: positive 't': y is None; expected a number"),
        (positive([1, 2], [True, 3]), "a.json: positive 't': x is True; expected a number"),
        (positive([1, 2], [float("nan"), 3]), "a.json: positive 't': x is nan; expected a number"),
        (positive([1, 2], [10**400, 3]), "a.json: positive 't': x is 1000000"),
        (positive([1, 2], [[4], 3]), "a.json: positive 't': x is [4]; expected a number"),
    ],
)
def test_bad_ncrf(tmp_path: Path, content: object, expected: str) -> None:
    with pytest.raises(FoveateError) as caught:
        read_annotation(ncrf(tmp_path, content))
    assert expected in str(caught.value)
    assert len(str(caught.value)) < 400


def box(x: float, y: float, width: float, height: float) -> Polygon:
    return (np.array([(x, y), (x + width, y), (x + width, y + height), (x, y + height)], np.float64),)


def test_rasterize_scales_and_shifts_x_and_y_apart() -> None:
    # a grid whose corner is at (100, 50), with pixels of 10 x 20 level-0 px: columns 1-3, row 1
    grid = rasterize(Annotation([box(110, 70, 30, 20)]), (3, 5), (100, 50), (10, 20))
    assert grid.dtype == np.uint16
    assert grid.tolist() == [[0, 0, 0, 0, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 0]]


def test_rasterize_cuts_holes_out() -> None:
    grid = rasterize(Annotation([box(0, 0, 40, 30)], [box(10, 10, 20, 10)]), (3, 4), (0, 0), (10, 10))
    assert grid.tolist() == [[1, 1, 1, 1], [1, 0, 0, 1], [1, 1, 1, 1]]


@pytest.mark.parametrize("small_first", [True, False])
def test_rasterize_shows_the_smaller_of_overlapping_lesions(small_first: bool) -> None:
    lesions = [box(1, 0, 1, 2), box(0, 0, 4, 2)]
    grid = rasterize(Annotation(lesions if small_first else lesions[::-1]), (2, 4), (0, 0), (1, 1))
    large, small = (2, 1) if small_first else (1, 2)
    assert grid.tolist() == [[large, small, large, large]] * 2


def test_rasterize_keeps_lesions_between_centres() -> None:
    # 4 px on a grid of 10 px: no centre (5, 15, ...) is in them
    tiny = [box(11, 1, 3, 3), box(26, 17, 3, 2), box(-9, 1, 3, 3), box(1, 96, 3, 3), box(96, 1, 3, 3)]
    grid = rasterize(Annotation(tiny), (2, 4), (0, 0), (10, 10))
    assert grid.tolist() == [[0, 1, 0, 0], [0, 0, 2, 0]]


def test_rasterize_shows_a_tiny_lesion_in_a_large_one_and_beside_a_hole() -> None:
    lesions = [box(11, 11, 3, 3), box(0, 0, 30, 30)]
    assert rasterize(Annotation(lesions), (3, 3), (0, 0), (10, 10))[1].tolist() == [2, 1, 2]
    holes = [box(14, 14, 2, 2)]
    assert rasterize(Annotation(lesions, holes), (3, 3), (0, 0), (10, 10))[1].tolist() == [2, 1, 2]
    assert rasterize(Annotation(lesions[1:], holes), (3, 3), (0, 0), (10, 10))[1].tolist() == [1, 0, 1]


def test_rasterize_nothing() -> None:
    assert rasterize(Annotation(), (2, 3), (0, 0), (1, 1)).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_rasterize_has_room_for_65535_lesions() -> None:
    with pytest.raises(FoveateError, match="65536 lesions on one slide"):
        rasterize(Annotation([box(0, 0, 1, 1)] * 65_536), (1, 1), (0, 0), (1, 1))


def test_diameters_are_in_um_with_x_and_y_apart() -> None:
    annotation = Annotation([box(100, 200, 6, 4) + box(101, 201, 1, 1), (np.array(TRIANGLE),)], [box(0, 0, 99, 99)])
    diameters = lesion_diameters_um(annotation, (0.5, 1.0))
    assert diameters.dtype == np.float32
    # sides 6 * 0.5 and 4 * 1; from (5, 2) to (1, 8.5): 4 * 0.5 and 6.5 * 1
    np.testing.assert_allclose(diameters, [5.0, np.hypot(2, 6.5)], rtol=1e-6)
    assert lesion_diameters_um(Annotation(), (1, 1)).shape == (0,)


@needs_shared
def test_camelyon16_tumor_072() -> None:
    annotation = read_annotation(Path(str(SHARED), "data/annotations/camelyon16_tumor_072.json"))
    grid = rasterize(annotation, (700, 1152), (0, 0), (128, 128))
    # by the shoelace formula 3608.9, 17.7, 3521.6 and 18.7 pixels, two on each of the two sections
    counts = np.bincount(grid.ravel(), minlength=5)[1:]
    np.testing.assert_allclose(counts, [3608.9, 17.7, 3521.6, 18.7], rtol=0.05)
    columns = [np.nonzero(grid == k)[1] for k in (1, 2, 3, 4)]
    assert all(c.max() < 576 for c in columns[:2])
    assert all(c.min() > 576 for c in columns[2:])
    np.testing.assert_allclose(lesion_diameters_um(annotation, (0.243, 0.243)), [2388, 213, 2378, 215], atol=1)


@needs_shared
def test_camelyon17_patient_004_node_4() -> None:
    annotation = read_annotation(Path(str(SHARED), "data/annotations/patient_004_node_4.xml"))
    assert [len(outline) for (outline,) in annotation.lesions] == [8, 15, 12]
    assert annotation.lesions[0][0][0].tolist() == [12711.2998, 88778.1016]
    assert lesion_diameters_um(annotation, (0.243, 0.243)).max() < 200  # the slide's label is itc
    grid = rasterize(annotation, (1500, 1000), (0, 0), (66, 66))
    assert set(np.unique(grid)) == {0, 1, 2, 3}
    for k, (outline,) in enumerate(annotation.lesions, start=1):
        rows, columns = np.nonzero(grid == k)
        np.testing.assert_allclose([columns.mean(), rows.mean()], outline.mean(axis=0) / 66 - 0.5, atol=1)
