import os
from collections import Counter
from pathlib import Path

import pytest

from foveate.cohort.camelyon import camelyon16, camelyon17
from foveate.cohort.folds import folds
from foveate.cohort.samples import Sample, read_samples, write_samples
from foveate.errors import FoveateError, SheetError

SHARED = os.environ.get("FOVEATE_SHARED")
needs_shared = pytest.mark.skipif(not SHARED, reason="FOVEATE_SHARED is not set")

STAGES = """patient,stage
patient_004.zip,pN0(i+)
patient_004_node_0.tif,negative
patient_004_node_1.tif,itc
patient_021.zip,pN1
patient_021_node_0.tif,macro
"""


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def outline_xml(folder: Path, name: str, width_px: float) -> None:
    """An annotation with one lesion, `width_px` wide and a tenth of that high, and a larger hole."""
    parts = [
        f'<Annotation Name="{group}" Type="Polygon" PartOfGroup="{group}"><Coordinates>'
        f'<Coordinate Order="0" X="0" Y="0" /><Coordinate Order="1" X="{size}" Y="0" />'
        f'<Coordinate Order="2" X="{size / 2}" Y="{size / 10}" /></Coordinates></Annotation>'
        for group, size in (("_0", width_px), ("_2", 10 * width_px))
    ]
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"<ASAP_Annotations><Annotations>{''.join(parts)}</Annotations></ASAP_Annotations>")


def by_slide(samples: list[Sample]) -> dict[str, Sample]:
    assert [s.slide for s in samples] == sorted(s.slide for s in samples)
    return {s.slide: s for s in samples}


def test_camelyon17_with_all_slides_in_one_folder(tmp_path: Path) -> None:
    names = ("patient_004_node_0", "patient_004_node_1", "patient_021_node_0", "patient_119_node_3")
    touch(tmp_path, *(f"images/{name}.tif" for name in names), "annotations/patient_004_node_1.xml")
    touch(tmp_path, "images/._patient_004_node_2.tif", "images/patient_004_node_2_mask.tif", "images/notes.txt")
    (tmp_path / "stage_labels.csv").write_text(STAGES)
    assert camelyon17(tmp_path, test=0.5, val=0) == [
        Sample("patient_004_node_0", "patient_004", tmp_path / "images/patient_004_node_0.tif",
               "negative", None, "pN0(i+)", "train", center="0"),
        Sample("patient_004_node_1", "patient_004", tmp_path / "images/patient_004_node_1.tif",
               "itc", tmp_path / "annotations/patient_004_node_1.xml", "pN0(i+)", "train", center="0"),
        Sample("patient_021_node_0", "patient_021", tmp_path / "images/patient_021_node_0.tif",
               "macro", None, "pN1", "test", center="1"),
        Sample("patient_119_node_3", "patient_119", tmp_path / "images/patient_119_node_3.tif"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("place", "deeper"),
    [("", ""), ("", "patient_004/"), ("training/", ""), ("training/", "patient_004/"), ("images/", "")],
)
@pytest.mark.parametrize("table", ["stage_labels.csv", "stages.csv", "train.csv"])
def test_camelyon17_in_folders_of_centres(tmp_path: Path, place: str, deeper: str, table: str) -> None:
    touch(tmp_path, f"{place}center_3/{deeper}patient_004_node_0.tif", f"{place}center_3/patient_004_node_1.tif")
    touch(tmp_path, f"{place}center_1/patient_021_node_0.tif", "lesion_annotations/patient_021_node_0.xml")
    part = "" if place == "images/" else place
    (tmp_path / part / table).write_text(STAGES)
    samples = by_slide(camelyon17(tmp_path))
    assert {name: (s.center, s.label) for name, s in samples.items()} == {
        "patient_004_node_0": ("3", "negative"),
        "patient_004_node_1": ("3", "itc"),
        "patient_021_node_0": ("1", "macro"),
    }
    assert samples["patient_021_node_0"].annotation == tmp_path / "lesion_annotations/patient_021_node_0.xml"
    assert samples["patient_021_node_0"].patient_label == "pN1"


def test_camelyon17_keeps_a_place_for_a_missing_slide(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "images/patient_004_node_0.tif", "images/patient_004_node_2.tif")
    (tmp_path / "stage_labels.csv").write_text(STAGES)
    samples = by_slide(camelyon17(tmp_path))
    assert list(samples) == ["patient_004_node_0", "patient_004_node_1", "patient_004_node_2"]
    assert samples["patient_004_node_1"].exclude == "the file is missing in the challenge's folder"
    assert samples["patient_004_node_1"].path == tmp_path / "images/patient_004_node_1.tif"
    assert samples["patient_004_node_2"].label == samples["patient_004_node_2"].exclude == ""
    assert caplog.messages == [
        f"{tmp_path}: 2 slides of the table have no file: patient_004_node_1, patient_021_node_0",
        f"{tmp_path}: 1 slides are not in the table and have no label: patient_004_node_2",
    ]
    write_samples(samples.values(), tmp_path / "samples.tsv")
    assert read_samples(tmp_path / "samples.tsv") == list(samples.values())


def test_camelyon17_without_a_table_is_to_be_predicted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "testing/images/patient_100_node_0.tif")
    (sample,) = camelyon17(tmp_path)
    assert sample == Sample("patient_100_node_0", "patient_100", tmp_path / "testing/images/patient_100_node_0.tif")
    assert "no stage_labels.csv or stages.csv or train.csv to take labels from" in caplog.text


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("", ["1: expected the columns patient,stage"]),
        ("slide,label\n", ["1: expected the columns patient,stage"]),
        (
            "patient,stage\npatient_004.zip,pN4\n\npatient_004_node_0.tif,pN0\nx,y\npatient_004_node_1.tif\n",
            [
                "2: 'patient_004.zip,pN4': expected one of pN0, pN0(i+), pN1mi, pN1, pN2 after a name",
                "4: 'patient_004_node_0.tif,pN0': expected one of negative, itc, micro, macro after a name",
                "5: 'x,y': expected a name ending in .zip or .tif",
                "6: 'patient_004_node_1.tif': expected one of negative, itc, micro, macro after a name",
            ],
        ),
    ],
)
def test_camelyon17_bad_table(tmp_path: Path, table: str, expected: list[str]) -> None:
    touch(tmp_path, "images/patient_004_node_0.tif")
    path = tmp_path / "stage_labels.csv"
    path.write_text(table)
    with pytest.raises(SheetError) as caught:
        camelyon17(tmp_path)
    assert caught.value.faults == [f"{path}:{fault}" for fault in expected]


def test_bad_tables_are_told_by_their_name(tmp_path: Path) -> None:
    touch(tmp_path, "images/patient_004_node_0.tif")
    (tmp_path / "stages.csv").write_bytes(b"patient,stage\n\xff")
    with pytest.raises(SheetError, match=r"stages\.csv: cannot be read: 'utf-8' codec"):
        camelyon17(tmp_path)


@pytest.mark.parametrize("read", [camelyon16, camelyon17])
def test_no_folder_and_no_slides(tmp_path: Path, read: type) -> None:
    with pytest.raises(FoveateError, match="gone: no such folder"):
        read(tmp_path / "gone")
    with pytest.raises(FoveateError, match=r"no slide like (images|training)/.*\.tif or "):
        read(tmp_path)


def test_the_same_slide_in_two_places(tmp_path: Path) -> None:
    touch(tmp_path, "images/patient_004_node_0.tif", "center_0/patient_004_node_0.tif")
    with pytest.raises(FoveateError, match=r"patient_004_node_0 is there twice: .*images.* and .*center_0"):
        camelyon17(tmp_path)


def test_links_to_slides_and_folders(tmp_path: Path) -> None:
    touch(tmp_path, "disk/patient_004_node_0.tif", "cohort/images/patient_004_node_0.tif")
    (tmp_path / "cohort/center_0").symlink_to(tmp_path / "cohort/images")
    (tmp_path / "cohort/patient_004_node_9.tif").symlink_to("nowhere.tif")
    assert list(by_slide(camelyon17(tmp_path / "cohort"))) == ["patient_004_node_0"]


def test_camelyon16(tmp_path: Path) -> None:
    touch(tmp_path, *(f"training/normal/normal_{k:03}.tif" for k in (1, 2)), "training/tumor/tumor_004.tif")
    touch(tmp_path, *(f"training/tumor/tumor_{k:03}.tif" for k in (1, 2, 3)))
    touch(
        tmp_path,
        *(f"testing/images/test_{k:03}.tif" for k in (1, 2, 3, 49, 114)),
        "testing/masks/test_001.tif",
    )
    outline_xml(tmp_path, "training/lesion_annotations/tumor_001.xml", 8000)  # 2 mm at 0.25 um a pixel
    outline_xml(tmp_path, "training/lesion_annotations/tumor_002.xml", 7999)
    outline_xml(tmp_path, "annotations/tumor_003.xml", 100)
    outline_xml(tmp_path, "testing/lesion_annotations/test_001.xml", 8000)
    rows = ["test_001,Tumor,IDC,Micro", "test_002,Normal,None,None", "test_049,Normal,ILC,None"]
    (tmp_path / "testing/reference.csv").write_text("\n".join([*rows, "test_114.tif,Tumor,ILC,Macro", ""]))
    samples = by_slide(camelyon16(tmp_path, mpp=0.25, val=0.2))
    assert {name: s.label for name, s in samples.items()} == {
        "normal_001": "negative",
        "normal_002": "negative",
        "test_001": "micro",
        "test_002": "negative",
        "test_003": "",
        "test_049": "negative",
        "test_114": "macro",
        "tumor_001": "macro",
        "tumor_002": "micro",
        "tumor_003": "micro",
        "tumor_004": "",
    }
    assert all(s.patient == name and s.patient_label == "" for name, s in samples.items())
    assert all(s.split == "test" for name, s in samples.items() if name.startswith("test"))
    training = Counter(s.split for name, s in samples.items() if not name.startswith("test"))
    assert training == {"train": 4, "val": 1, "": 1}
    assert samples["tumor_004"].split == ""
    assert [name for name, s in samples.items() if s.exclude] == ["test_049", "test_114"]
    assert samples["tumor_003"].annotation == tmp_path / "annotations/tumor_003.xml"
    assert samples["test_001"].annotation == tmp_path / "testing/lesion_annotations/test_001.xml"


def test_camelyon16_takes_its_own_resolution_where_none_is_given(tmp_path: Path) -> None:
    touch(tmp_path, "images/tumor_001.tif", "images/tumor_002.tif")
    outline_xml(tmp_path, "annotations/tumor_001.xml", 8200)  # 8230 px are 2 mm at 0.243 um a pixel
    outline_xml(tmp_path, "annotations/tumor_002.xml", 8250)
    assert [s.label for s in camelyon16(tmp_path)] == ["micro", "macro"]


def test_camelyon16_bad_reference(tmp_path: Path) -> None:
    touch(tmp_path, "images/test_001.tif")
    path = tmp_path / "reference.csv"
    path.write_text("test_001,Tumor,IDC,Macro\ntest_002,Tumor,IDC,None\ntest_003,Tumour\n")
    with pytest.raises(SheetError) as caught:
        camelyon16(tmp_path)
    wanted = "expected a row like test_001,Tumor,IDC,Macro or ...,Micro or test_001,Normal,IDC,None"
    assert caught.value.faults == [
        f"{path}:2: 'test_002,Tumor,IDC,None': {wanted}",
        f"{path}:3: 'test_003,Tumour': {wanted}",
    ]


@needs_shared
def test_camelyon17_with_its_own_table_of_stages(tmp_path: Path) -> None:
    table = Path(str(SHARED), "data/camelyon17_stages.csv").read_text()
    (tmp_path / "stage_labels.csv").write_text(table)
    rows = [row.split(",") for row in table.splitlines()[1:]]
    touch(tmp_path, *(f"images/{name}" for name, _, _ in rows if name.endswith(".tif")))
    samples = camelyon17(tmp_path)
    assert len(samples) == 500
    assert {(f"{s.slide}.tif", s.label, s.center) for s in samples} | {
        (f"{s.patient}.zip", s.patient_label, s.center) for s in samples
    } == {tuple(row) for row in rows}
    fold = folds(samples, "sheet", tmp_path)["split"]
    assert [len(part) for part in (fold.train, fold.val, fold.test, fold.outside)] == [275, 75, 150, 0]
    stages = {s.patient: s.patient_label for s in samples}
    tested = {s.patient: s.patient_label for s in samples if s.split == "test"}
    for stage, count in Counter(stages.values()).items():
        assert abs(list(tested.values()).count(stage) - 0.3 * count) < 1
    write_samples(samples, tmp_path / "samples.tsv")
    assert read_samples(tmp_path / "samples.tsv") == samples


@needs_shared
def test_camelyon16_with_its_own_reference(tmp_path: Path) -> None:
    table = Path(str(SHARED), "data/camelyon16_reference.csv").read_text()
    touch(tmp_path, *(f"testing/images/{row.split(',')[0]}.tif" for row in table.splitlines()))
    (tmp_path / "testing/reference.csv").write_text(table)
    samples = camelyon16(tmp_path)
    assert Counter(s.label for s in samples) == {"negative": 80, "micro": 27, "macro": 22}
    assert [s.slide for s in samples if s.exclude] == ["test_114"]  # the table lacks test_049
    assert len(folds(samples, "sheet", tmp_path)["split"].test) == 128
