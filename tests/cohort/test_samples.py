from dataclasses import replace
from pathlib import Path

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foveate.cohort.samples import Sample, patient_labels, read_samples, write_samples
from foveate.cohort.sheet_faults import row_schema
from foveate.errors import SheetError
from foveate.patients.stages import PN_STAGES, SLIDE_CLASSES

REQUIRED = "slide\tpatient\tpath\tlabel"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the sheet is read: paths in it are relative to the current directory."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.tif", "b.tif", "c.tif", "a.xml"):
        Path(name).touch()
    return tmp_path


def sheet(*lines: str) -> Path:
    path = Path("samples.tsv")
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def faults(*lines: str, **options: object) -> list[str]:
    with pytest.raises(SheetError) as caught:
        read_samples(sheet(*lines), **options)  # type: ignore[arg-type]
    assert str(caught.value) == "\n".join(caught.value.faults)
    return caught.value.faults


def test_schema_is_valid_and_has_the_same_names_as_the_code() -> None:
    schema = row_schema()
    jsonschema_rs.meta.validate(schema)
    assert schema["additionalProperties"] is False
    assert list(schema["properties"]) == [f for f in Sample.__dataclass_fields__ if f != "line"]
    assert schema["properties"]["label"]["enum"] == [*SLIDE_CLASSES, ""]
    assert schema["properties"]["patient_label"]["enum"] == [*PN_STAGES, ""]


def test_reads_every_column() -> None:
    path = sheet(
        "slide\tpatient\tpath\tlabel\tannotation\tpatient_label\tsplit\tcenter\tmpp\texclude",
        "s-1\tp_1\ta.tif\titc\ta.xml\tpN0(i+)\ttest\tRadboud UMC\t0.25\t",
        "s-2\tp_1\tgone.tif\t\t\t\ttest\t\t\tblurred, with 5% ink",
    )
    assert read_samples(path) == [
        Sample("s-1", "p_1", Path("a.tif"), "itc", Path("a.xml"), "pN0(i+)", "test", None, "Radboud UMC", 0.25),
        Sample("s-2", "p_1", Path("gone.tif"), split="test", exclude="blurred, with 5% ink"),
    ]


def test_columns_in_any_order_comments_blank_lines_bom_and_windows_line_ends() -> None:
    header, row = "label\tfold\tpath\tslide\tpatient", "macro\t0\ta.tif\tx\tp"
    text = f"\ufeff# my slides\r\n\r\n{header}\r\n\t\t\t\t\r\n#x\r\n{row}\r\n"
    path = Path("samples.tsv")
    path.write_bytes(text.encode())
    (sample,) = read_samples(path)
    assert sample == Sample("x", "p", Path("a.tif"), "macro", fold=0)
    assert sample.line == 6


def test_quotes_mean_nothing() -> None:
    Path('"q".tif').touch()
    (sample,) = read_samples(sheet(REQUIRED, 'x\tp\t"q".tif\t'))
    assert sample.path == Path('"q".tif')


def test_every_fault_at_once_in_the_order_of_the_lines() -> None:
    found = faults(
        "slide\tpatient\tpath\tlabel\tmpp\tfold",
        "x\tp\ta.tif\tmakro\t0\t0",
        "x\tp/1\ta.tif\t\t0,25\t1.5",
        "z\tp\tnone.tif",
        "z\tp\tnone.tif\tmacro \tnan\t1",
    )
    expected_mpp = "expected micrometres per level-0 pixel, a number from 0.05 to 100, or empty"
    assert [fault.split(":")[1] for fault in found] == sorted(fault.split(":")[1] for fault in found)
    assert sorted(found) == sorted(
        [
            "samples.tsv:2: label: 'makro' is not one of 'negative', 'itc', 'micro', 'macro' or empty"
            " (did you mean 'macro'?)",
            f"samples.tsv:2: mpp: 0: {expected_mpp}",
            "samples.tsv:3: patient: 'p/1': expected a name of letters, digits, _ and -, at most 100 of them",
            f"samples.tsv:3: mpp: '0,25': {expected_mpp}",
            "samples.tsv:3: fold: '1.5': expected a whole number from 0 to 99 or empty",
            "samples.tsv:3: slide: 'x' is already on line 2: slide names are unique",
            "samples.tsv:3: path: 'a.tif' is already on line 2: a file belongs to one slide",
            "samples.tsv:4: 3 fields; expected 6, separated by tabs, as in the line of the columns",
            "samples.tsv:5: label: 'macro ' is not one of 'negative', 'itc', 'micro', 'macro' or empty"
            " (did you mean 'macro'?)",
            f"samples.tsv:5: mpp: 'nan': {expected_mpp}",
            "samples.tsv:5: fold: 1, but patient 'p' has 0 on line 2: a patient's slides belong to one fold",
            "samples.tsv:5: path: 'none.tif': No such file or directory; expected a file",
        ]
    )


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("slide", ""),
        ("slide", "a b"),
        ("slide", "../x"),
        ("slide", "ä"),
        ("slide", "x" * 101),
        ("patient", ""),
        ("patient", "p.1"),
        ("path", ""),
        ("path", " a.tif"),
        ("path", "a\x00.tif"),
        ("label", "Macro"),
        ("label", "tumor"),
        ("annotation", "a.xml "),
        ("patient_label", "pN3"),
        ("split", "training"),
        ("fold", "-1"),
        ("fold", "100"),
        ("fold", "1" * 5000),
        ("mpp", "inf"),
        ("mpp", "-0.25"),
        ("mpp", "0.049"),
        ("mpp", "250"),
        ("mpp", "1_0"),
        ("mpp", "0x1"),
        ("center", "\x1b[2J"),
        ("exclude", " "),
    ],
)
def test_a_bad_value_is_one_fault_that_names_line_and_column(column: str, value: str) -> None:
    cells = {"slide": "x", "patient": "p", "path": "a.tif", "label": "macro"} | {column: value}
    found = faults("\t".join(cells), "\t".join(cells.values()), check_files=False)
    assert len(found) == 1
    number = value in ("-1", "100", "-0.25", "0.049", "250")
    shown = value if number else repr(value)[:20] if value else "an empty cell"
    assert found[0].startswith(f"samples.tsv:2: {column}: {shown}")
    assert len(found[0]) < 400
    assert "\x1b" not in found[0]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (
            "slide\tpatient\tpath",
            "samples.tsv:1: label: the column is missing; expected slide, patient, path, label",
        ),
        (f"{REQUIRED}\tfold\tfold", "samples.tsv:1: fold: the column is there twice"),
        (
            f"{REQUIRED}\tcentre",
            "samples.tsv:1: 'centre' is not a known column (did you mean 'center'?); expected",
        ),
        (
            "slide,patient,path,label",
            "samples.tsv:1: no column is known; expected a line with the columns slide,",
        ),
    ],
)
def test_bad_header(header: str, expected: str) -> None:
    row = "\t".join(["x", "p", "a.tif", "macro", "", ""][: len(header.split("\t"))])
    (found,) = faults(header, row)
    assert found.startswith(expected)


def test_rows_are_checked_below_a_bad_header() -> None:
    found = faults("slide\tpatient\tpath\tlable", "x y\tp\ta.tif\tmacro")
    optional = "annotation, patient_label, split, fold, center, mpp, exclude"
    known = f"slide, patient, path, label and, if wanted, {optional}"
    assert found == [
        f"samples.tsv:1: 'lable' is not a known column (did you mean 'label'?); expected {known}",
        f"samples.tsv:1: label: the column is missing; expected {known}",
        "samples.tsv:2: slide: 'x y': expected a name of letters, digits, _ and -, at most 100 of them",
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            b"",
            "samples.tsv: the sheet is empty; expected a line with the columns slide, patient, path, label",
        ),
        (b"# only this\n\n", "samples.tsv: the sheet is empty"),
        (REQUIRED.encode(), "samples.tsv: the sheet has no rows; expected one for each slide"),
        (REQUIRED.encode() + b"\nx\tp\t\xe4.tif\t\n", "samples.tsv:2: byte 0xe4 is not UTF-8; save"),
        ((REQUIRED + "\n").encode("utf-16"), "samples.tsv:1: byte 0xff is not UTF-8"),
    ],
)
def test_unreadable_content(content: bytes, expected: str) -> None:
    Path("samples.tsv").write_bytes(content)
    with pytest.raises(SheetError) as caught:
        read_samples(Path("samples.tsv"))
    (found,) = caught.value.faults
    assert found.startswith(expected)


@pytest.mark.parametrize(("name", "reason"), [("none.tsv", "No such file"), (".", "Is a directory")])
def test_unreadable_file(name: str, reason: str) -> None:
    with pytest.raises(SheetError, match=f"{name}: cannot be read: {reason}"):
        read_samples(Path(name))


@pytest.mark.parametrize(
    ("column", "values", "rule"),
    [
        ("split", ("train", "test"), "a patient's slides belong to one split"),
        ("fold", ("0", "1"), "a patient's slides belong to one fold"),
        ("patient_label", ("pN0", "pN1"), "a patient has one stage"),
    ],
)
def test_a_patient_has_one_split_fold_and_stage(column: str, values: tuple[str, str], rule: str) -> None:
    between = "p" if column == "patient_label" else "q"  # of which a row may be empty
    rows = [f"x\tp\ta.tif\t\t{values[0]}", f"y\t{between}\tb.tif\t\t", f"z\tp\tc.tif\t\t{values[1]}"]
    shown = [v if column == "fold" else repr(v) for v in values]
    assert faults(f"{REQUIRED}\t{column}", *rows) == [
        f"samples.tsv:4: {column}: {shown[1]}, but patient 'p' has {shown[0]} on line 2: {rule}"
    ]
    assert len(read_samples(sheet(f"{REQUIRED}\t{column}", *rows[:2]))) == 2


@pytest.mark.parametrize(("column", "value"), [("split", "train"), ("fold", "3")])
def test_a_split_or_fold_of_some_slides_of_a_patient_is_a_fault(column: str, value: str) -> None:
    rows = [f"w\tp\tw.tif\t\t{value}\ttorn", "x\tp\ta.tif\t\t\t", f"y\tq\tb.tif\t\t{value}\t", "z\tq\tc.tif\t\t\t"]
    before = "3 on line 4" if column == "fold" else "'train' on line 4"
    assert faults(f"{REQUIRED}\t{column}\texclude", *rows) == [
        f"samples.tsv:5: {column}: an empty cell, but patient 'q' has {before}: "
        f"a patient's slides belong to one {column}"
    ]  # an excluded slide's split says nothing of the others
    torn = "z\tq\tc.tif\t\t\ttorn"
    assert len(read_samples(sheet(f"{REQUIRED}\t{column}\texclude", *rows[:3], torn))) == 4


def test_split_and_fold_do_not_go_together() -> None:
    found = faults(f"{REQUIRED}\tsplit\tfold", "x\tp\ta.tif\t\ttest\t", "y\tq\tb.tif\t\t\t2")
    assert found == ["samples.tsv:3: fold: 2, but line 2 has a split: fill in one of the two columns"]


def test_missing_files() -> None:
    Path("folder.tif").mkdir()
    rows = ("x\tp\tmade/x.tif\t\tmade/x.xml\t", "y\tp\tfolder.tif\t\tb.xml\t", "z\tp\tz.tif\t\tz.xml\tlost")
    header = f"{REQUIRED}\tannotation\texclude"
    folder_fault = "samples.tsv:3: path: 'folder.tif': it is not a file; expected a file"
    annotation_fault = "samples.tsv:3: annotation: 'b.xml': No such file or directory; expected a file"
    assert faults(header, *rows, made=Path("made")) == [folder_fault, annotation_fault]
    assert [fault.split(":")[1] for fault in faults(header, *rows)] == ["2", "2", "3", "3"]
    assert len(faults(header, *rows, made=Path("mad"))) == 4
    assert len(read_samples(sheet(header, *rows), check_files=False)) == 3


@pytest.mark.parametrize("other", ["./a.tif", "sub/../a.tif", "{}/a.tif"])
def test_one_file_under_two_slides(other: str, folder: Path) -> None:
    other = other.format(folder)
    (found,) = faults(REQUIRED, "x\tp\ta.tif\t", f"y\tp\t{other}\t")
    assert found.startswith(f"samples.tsv:3: path: {other!r} is already on line 2")
    excluded = sheet(f"{REQUIRED}\texclude", "x\tp\ta.tif\t\t", f"y\tp\t{other}\t\ta copy")
    assert len(read_samples(excluded)) == 2


def test_ten_thousand_rows() -> None:
    rows = [f"s{i}\tp{i // 5}\td/{i}.tif\tmacro\t0.25" for i in range(10_000)]
    header = f"{REQUIRED}\tmpp"
    assert len(read_samples(sheet(header, *rows), check_files=False)) == 10_000
    assert len(faults(header, *rows)) == 10_000
    rows[4711] = rows[4711].replace("macro", "makro")
    (found,) = faults(header, *rows, check_files=False)
    assert found.startswith("samples.tsv:4713: label: 'makro'")


name = st.text("ABCxyz019_-", min_size=1, max_size=12)
text = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=12).map(lambda t: t.strip(" "))
samples_of_any_kind = st.lists(
    st.builds(
        Sample,
        slide=name,
        patient=name,
        path=text.filter(bool).map(lambda t: Path("slides", t)),
        label=st.sampled_from([*SLIDE_CLASSES, ""]),
        annotation=st.none() | text.map(lambda t: Path("annotations", t)),
        center=text,
        mpp=st.none() | st.floats(0.05, 100),
        exclude=text,
    ),
    min_size=1,
    unique_by=(lambda s: s.slide, lambda s: s.path),
)


@settings(deadline=None)
@given(samples_of_any_kind, st.booleans())
def test_what_is_written_is_read_back(samples: list[Sample], numbered: bool) -> None:
    """Patients get a fold or split and a stage by their name, as one patient has one of each."""

    def complete(s: Sample) -> Sample:
        k = len(s.patient) % 4
        stage = ["", *PN_STAGES][len(s.patient) % 6]
        split = "" if numbered else ["train", "val", "test", ""][k]
        return replace(s, patient_label=stage, split=split, fold=k if numbered else None)

    samples = [complete(s) for s in samples]
    write_samples(samples, Path("written.tsv"))
    again = read_samples(Path("written.tsv"), check_files=False)
    assert again == samples
    assert [s.line for s in again] == list(range(2, len(samples) + 2))


def test_written_columns_are_in_order_and_only_those_with_values() -> None:
    samples = [
        Sample("x", "p", Path("a.tif"), exclude="torn"),
        Sample("y", "p", Path("b.tif"), fold=0, mpp=0.5, line=99),
    ]
    write_samples(samples, Path("written.tsv"))
    assert Path("written.tsv").read_text() == (
        "slide\tpatient\tpath\tlabel\tfold\tmpp\texclude\nx\tp\ta.tif\t\t\t\ttorn\ny\tp\tb.tif\t\t0\t0.5\t\n"
    )


def test_a_bad_sheet_is_not_written() -> None:
    samples = [Sample("x", "p", Path("a\tb.tif")), Sample("x", "p", Path("c.tif"), "tumor", center="a\nb")]
    with pytest.raises(SheetError) as caught:
        write_samples(samples, Path("written.tsv"))
    assert [fault.split(": ")[:2] for fault in caught.value.faults] == [
        ["written.tsv:2", "path"],
        ["written.tsv:3", "label"],
        ["written.tsv:3", "center"],
        ["written.tsv:3", "slide"],
    ]
    assert not Path("written.tsv").exists()


def test_patient_labels() -> None:
    samples = [Sample(s, p, Path(s)) for s, p in (("x", "p"), ("y", "p"), ("z", "q"))]
    samples[1] = replace(samples[1], patient_label="pN2")
    assert patient_labels(samples) == {"p": "pN2"}
