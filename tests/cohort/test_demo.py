import time
from collections import Counter
from pathlib import Path

import numpy as np
import openslide
import pytest
from defusedxml import ElementTree

from foveate.cohort import demo
from foveate.cohort.demo_shapes import Outline
from foveate.errors import FoveateError
from foveate.patients.stages import PN_STAGES, SLIDE_CLASSES


def stage_by_rule(labels: list[str]) -> str:
    count = Counter(labels)
    if count["macro"]:
        return "pN1" if count["macro"] + count["micro"] <= 3 else "pN2"
    return "pN1mi" if count["micro"] else "pN0(i+)" if count["itc"] else "pN0"


@pytest.mark.parametrize(("patients", "seed"), [(36, 1), (36, 2), (24, 1), (30, 7), (5, 3)])
def test_labels_make_up_the_stage_of_every_patient(patients: int, seed: int) -> None:
    slides = demo.plan(patients, seed)
    for patient in {slide.patient for slide in slides}:
        own = [slide for slide in slides if slide.patient == patient]
        assert [slide.name for slide in own] == [f"{patient}_node_{k}" for k in range(5)]
        assert {slide.patient_label for slide in own} == {stage_by_rule([slide.label for slide in own])}
        assert len({(slide.split, slide.center) for slide in own}) == 1


def test_the_default_cohort_is_balanced() -> None:
    slides = demo.plan()
    assert len(slides) == 180
    splits = {slide.patient: slide.split for slide in slides}
    assert Counter(splits.values()) == {"train": 18, "val": 6, "test": 12}
    for split in ("train", "val", "test"):
        stages = Counter(slide.patient_label for slide in slides if slide.split == split)
        assert set(stages) == set(PN_STAGES)
        assert max(stages.values()) - min(stages.values()) <= 5  # one patient
        assert {slide.center for slide in slides if slide.split == split} == {0, 1, 2, 3, 4}
    share = {label: sum(slide.label == label for slide in slides) / 180 for label in SLIDE_CLASSES}
    assert 0.35 < share["negative"] < 0.5
    assert min(share.values()) > 0.1


def test_the_plan_is_deterministic_and_follows_the_seed() -> None:
    assert demo.plan(30, 4) == demo.plan(30, 4)
    assert demo.plan(30, 4) != demo.plan(30, 5)


def test_too_few_patients_are_refused() -> None:
    with pytest.raises(FoveateError, match="2 is too few: at least 3"):
        demo.plan(2)


def test_an_unknown_slide_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FoveateError, match="'patient_003_node_0' is no slide of the cohort of 3 patients"):
        demo.make_slide("patient_003_node_0", tmp_path, patients=3, seed=1)
    assert list(tmp_path.iterdir()) == []


def test_annotation_is_the_xml_of_asap() -> None:
    square = Outline((100.0, 200.0), np.full(4, 50.0))
    root = ElementTree.fromstring(demo.annotation([square, square]))
    polygons = list(root.iter("Annotation"))
    assert root.tag == "ASAP_Annotations"
    assert [polygon.get("PartOfGroup") for polygon in polygons] == ["metastases", "metastases"]
    corners = [(float(c.get("X")), float(c.get("Y"))) for c in polygons[0].iter("Coordinate")]
    assert corners == [(150, 200), (100, 250), (50, 200), (100, 150)]
    assert [group.get("Name") for group in root.iter("Group")] == ["metastases"]


def test_a_negative_slide_has_no_annotation() -> None:
    root = ElementTree.fromstring(demo.annotation([]))
    assert list(root.iter("Annotation")) == []
    assert len(list(root.iter("Group"))) == 1


@pytest.fixture(scope="module")
def itc_slide() -> demo.DemoSlide:
    return next(slide for slide in demo.plan(5, 1) if slide.label == "itc")


@pytest.fixture(scope="module")
def folder(itc_slide: demo.DemoSlide, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("demo")
    demo.make_slide(itc_slide.name, made, patients=5, seed=1)
    return made


def test_openslide_reads_the_slide(itc_slide: demo.DemoSlide, folder: Path) -> None:
    with openslide.OpenSlide(folder / "images" / f"{itc_slide.name}.tif") as slide:
        assert float(slide.properties["openslide.mpp-x"]) == 1.0
        assert float(slide.properties["openslide.mpp-y"]) == 1.0
        assert slide.properties["openslide.level[0].tile-width"] == "256"
        assert slide.level_downsamples == tuple(2.0**k for k in range(slide.level_count))
        assert max(slide.level_dimensions[-1]) <= 512 < max(slide.level_dimensions[-2])
        small = np.asarray(slide.read_region((0, 0), slide.level_count - 1, slide.level_dimensions[-1]))
    assert (small[..., 3] == 255).all()
    assert small[:4, :4, :3].min() > 225  # glass in the corner
    assert 0.3 < (small[..., 1] < 160).mean() < 0.8  # tissue


def test_a_lesion_is_where_its_polygon_says(itc_slide: demo.DemoSlide, folder: Path) -> None:
    root = ElementTree.parse(folder / "annotations" / f"{itc_slide.name}.xml").getroot()
    with openslide.OpenSlide(folder / "images" / f"{itc_slide.name}.tif") as slide:
        for polygon in root.iter("Annotation"):
            corners = np.array([[float(c.get("X")), float(c.get("Y"))] for c in polygon.iter("Coordinate")])
            assert 119.9 < np.hypot(*(corners[:, None] - corners).transpose(2, 0, 1)).max() < 190.1
            x, y = corners.mean(axis=0).astype(int)
            around = np.asarray(slide.read_region((x - 200, y - 200), 0, (400, 400)).convert("L"), float)
            inside = around[180:220, 180:220].mean()
            assert inside > np.percentile(around.reshape(20, 20, 20, 20).mean(axis=(1, 3)), 60)


def test_the_same_arguments_give_the_same_bytes(itc_slide: demo.DemoSlide, folder: Path, tmp_path: Path) -> None:
    time.sleep(1.1)  # a time stamp in the file would differ now
    demo.make_slide(itc_slide.name, tmp_path, patients=5, seed=1)
    for name in (f"images/{itc_slide.name}.tif", f"annotations/{itc_slide.name}.xml"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [
        f"{itc_slide.name}.tif",
        f"{itc_slide.name}.xml",
    ]
