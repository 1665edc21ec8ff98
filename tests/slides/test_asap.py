from pathlib import Path
from xml.etree.ElementTree import fromstring

import numpy as np

from foveate.slides.asap import asap_xml, read_asap
from foveate.slides.marks import AREA, LINE, POINTS, Mark
from foveate.slides.polygons import enclosed

SQUARE = np.array([(0.5, 0.25), (9.0, 0.25), (9.0, 9.125), (0.5, 9.125)])
CUT = np.array([(2.0, 2.0), (4.0, 2.0), (4.0, 4.0)])
FAR = SQUARE + 100_000 / 3
MARKS = [
    Mark("Tissue", AREA, ((SQUARE, CUT), (FAR,)), "tissue", (20, 110, 60)),
    Mark("Tumor", AREA, ((SQUARE, CUT),), 'lesion "1" & <2>', own_colour=(255, 0, 1)),
    Mark("Path", LINE, ((CUT,),), "path"),
    Mark("Fixation", POINTS, ((CUT[:1],),), "first"),
]


def test_what_is_written_is_read_back_the_same() -> None:
    again = [mark for _, mark in read_asap(Path("a.xml"), asap_xml(MARKS).encode())]
    expected = [
        ("tissue", "Tissue", SQUARE),
        ("tissue", "Tissue hole", CUT),
        ("tissue", "Tissue", FAR),
        ('lesion "1" & <2>', "Tumor", SQUARE),
        ('lesion "1" & <2>', "Exclusion", CUT),
        ("path", "Path", CUT),
        ("first", "Fixation", CUT[:1]),
    ]
    assert [(mark.name, mark.group) for mark in again] == [(name, group) for name, group, _ in expected]
    for mark, (_, _, vertices) in zip(again, expected, strict=True):
        np.testing.assert_array_equal(mark.parts[0][0], vertices)  # to the last bit


def test_an_exclusion_and_its_hole_are_one_outline() -> None:
    text = asap_xml([Mark("Exclusion", AREA, ((SQUARE, CUT), (FAR,)), "x")])
    first, second = [mark for _, mark in read_asap(Path("a.xml"), text.encode())]
    assert (first.name, first.group, second.group) == ("x", "Exclusion", "Exclusion")
    assert enclosed(first.parts[0]).area == enclosed((SQUARE, CUT)).area
    np.testing.assert_array_equal(second.parts[0][0], FAR)


def test_every_group_that_is_named_is_listed_and_holes_are_part_of_their_group() -> None:
    root = fromstring(asap_xml(MARKS))
    groups = {g.get("Name"): (g.get("PartOfGroup"), g.get("Color")) for g in root.iterfind("AnnotationGroups/Group")}
    assert groups == {
        "Tissue": ("None", "#146e3c"),
        "Tissue hole": ("Tissue", "#146e3c"),
        "Tumor": ("None", "#c80000"),
        "Exclusion": ("None", "#c80000"),
        "Path": ("None", "#c80000"),
        "Fixation": ("None", "#c80000"),
    }
    annotations = list(root.iterfind("Annotations/Annotation"))
    assert {a.get("PartOfGroup") for a in annotations} == set(groups)
    assert [a.get("Type") for a in annotations] == [*["Polygon"] * 5, "PointSet", "Dot"]
    assert annotations[3].get("Color") == "#ff0001"
    assert [c.get("Order") for c in annotations[0].iterfind("Coordinates/Coordinate")] == ["0", "1", "2", "3"]


def test_nothing_drawn() -> None:
    text = asap_xml([])
    assert text.startswith('<?xml version="1.0"?>\n<ASAP_Annotations>')
    assert read_asap(Path("a.xml"), text.encode()) == []
