"""The sheet of samples, `config/samples.tsv`: one row a slide. Reading and writing.

The sheet is tab-separated UTF-8 text. A line is a row and quotes mean nothing, so a line number in a fault is
one that an editor shows. `workflow/schemas/samples.schema.yaml` says which columns and values there are.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from itertools import chain
from pathlib import Path

from foveate.cohort import sheet_faults
from foveate.cohort.sheet_faults import Fault, Row, Value
from foveate.errors import SheetError
from foveate.files import write_text


@dataclass(frozen=True, slots=True)
class Sample:
    """One slide of the sheet.

    path and annotation are as written: a relative one is relative to the current directory. Text that is not
    given is "". mpp: micrometres per level-0 pixel, None for what the slide itself says. exclude: why the
    slide is left out, "" if it is not. line: its number in the sheet, which plays no part in comparisons.
    """

    slide: str
    patient: str
    path: Path
    label: str = ""
    annotation: Path | None = None
    patient_label: str = ""
    split: str = ""
    fold: int | None = None
    center: str = ""
    mpp: float | None = None
    exclude: str = ""
    line: int = field(default=0, compare=False)


def read_samples(path: Path, *, made: Path | None = None, check_files: bool = True) -> list[Sample]:
    """Read and check a sheet of samples.

    Blank lines and lines that start with # are skipped. Unless `check_files` is off, the files of slides and
    annotations must be there, save those of excluded slides and those below the folder `made`, which the
    workflow makes. Raises SheetError with every fault of the file, in the order of its lines.
    """
    rows, faults = sheet_faults.parse(_text(path))
    faults += chain(sheet_faults.row_faults(rows), sheet_faults.cohort_faults(rows))
    if check_files:
        faults += sheet_faults.file_faults(rows, made)
    if faults:
        faults.sort(key=_line)
        raise SheetError([fault.at(path) for fault in faults])
    return [_sample(row) for row in rows]


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SheetError([f"{path}: cannot be read: {error.strerror}; expected a sheet of samples"]) from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        byte = f"byte 0x{data[error.start]:02x}"
        raise SheetError([f"{path}:{line}: {byte} is not UTF-8; save the sheet as UTF-8 text"]) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _sample(row: Row) -> Sample:
    known: dict[str, object] = dict(row.cells)
    for column in ("path", "annotation"):
        if column in known:
            known[column] = Path(str(known[column]))
    return Sample(**known, line=row.line)  # type: ignore[arg-type]


def write_samples(samples: Iterable[Sample], path: Path) -> None:
    """Write a sheet that `read_samples` reads back as equal samples.

    Optional columns that are empty in every row are left out. Raises SheetError, before anything is written,
    for what a sheet may not hold; it says so with the lines that the rows would have had.
    """
    samples = list(samples)
    cells = [{f.name: getattr(s, f.name) for f in fields(Sample) if f.name != "line"} for s in samples]
    required = sheet_faults.row_schema()["required"]
    rows = [Row(line, _given(row, required)) for line, row in enumerate(cells, start=2)]
    faults = [*sheet_faults.row_faults(rows), *sheet_faults.cohort_faults(rows)]
    if faults:
        raise SheetError([fault.at(path) for fault in sorted(faults, key=_line)])
    columns = [c for c in sheet_faults.row_schema()["properties"] if any(c in row.cells for row in rows)]
    lines = [columns, *([str(row.cells.get(c, "")) for c in columns] for row in rows)]
    write_text(path, "".join("\t".join(line) + "\n" for line in lines))


def _given(row: dict[str, object], required: list[str]) -> dict[str, Value]:
    return {
        column: value if isinstance(value, int | float) else str(value)
        for column, value in row.items()
        if column in required or (value is not None and value != "")
    }


def _line(fault: Fault) -> int:
    return fault.line


def patient_labels(samples: Iterable[Sample]) -> dict[str, str]:
    """The pN stage of each patient that has one in the sheet."""
    return {s.patient: s.patient_label for s in samples if s.patient_label}
