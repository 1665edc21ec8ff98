"""What can be wrong with a sheet of samples. Every check returns all the faults that it finds.

The checks work on rows whose cells are already turned into values: `Row.cells` holds no empty optional
cell, and fold and mpp are numbers where the text is one.
"""

import difflib
import os
import re
import stat
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema_rs
import yaml

Value = str | int | float


class Fault(NamedTuple):
    """One fault. line: 1 for the first line of the file, 0 for the file as a whole."""

    line: int
    column: str
    text: str

    def at(self, sheet: Path) -> str:
        """The fault as `file:line: column: what`."""
        place = f"{sheet}:{self.line}" if self.line else f"{sheet}"
        return ": ".join(part for part in (place, self.column, self.text) if part)


class Row(NamedTuple):
    """One row. line: its number in the file; cells: column to value, see the module's text."""

    line: int
    cells: dict[str, Value]


@cache
def row_schema() -> dict[str, Any]:
    """The JSON schema of a row. Its properties are the known columns in the order they are written."""
    source = files("foveate") / "schemas" / "samples.schema.yaml"
    loaded: dict[str, Any] = yaml.safe_load(source.read_text(encoding="utf-8"))
    return loaded


@cache
def _validator() -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(row_schema())


def parse(text: str) -> tuple[list[Row], list[Fault]]:
    """Split the text of a sheet into rows, and list the faults of its header and numbers of fields."""
    lines = enumerate(text.split("\n"), start=1)
    content = ((n, line) for n, line in lines if line.strip() and not line.startswith("#"))
    n, header = next(content, (0, ""))
    if not header:
        return [], [Fault(0, "", f"the sheet is empty; expected a line with the columns {_columns_text()}")]
    columns = header.split("\t")
    if not set(columns) & set(row_schema()["required"]):
        hint = "; separate them by tabs" if "," in header or ";" in header else ""
        return [], [Fault(n, "", f"no column is known; expected a line with the columns {_columns_text()}{hint}")]
    faults = list(_header_faults(n, columns))
    rows = []
    for n, line in content:
        cells = line.split("\t")
        if len(cells) == len(columns):
            rows.append(Row(n, dict(_values(columns, cells))))
        else:
            expected = f"expected {len(columns)}, separated by tabs, as in the line of the columns"
            faults.append(Fault(n, "", f"{len(cells)} field{'s' * (len(cells) != 1)}; {expected}"))
    if not rows and not faults:
        faults.append(Fault(0, "", "the sheet has no rows; expected one for each slide"))
    return rows, faults


def _columns_text() -> str:
    required = row_schema()["required"]
    optional = [c for c in row_schema()["properties"] if c not in required]
    return f"{', '.join(required)} and, if wanted, {', '.join(optional)}"


def _header_faults(line: int, columns: list[str]) -> Iterator[Fault]:
    known = row_schema()["properties"]
    for i, column in enumerate(columns):
        if column not in known:
            hint = _suggestion(column, [c for c in known if c not in columns])
            text = f"{_shown(column)} is not a known column{hint}; expected {_columns_text()}"
            yield Fault(line, "", text)
        elif column in columns[:i]:
            yield Fault(line, column, "the column is there twice")
    for column in row_schema()["required"]:
        if column not in columns:
            yield Fault(line, column, f"the column is missing; expected {_columns_text()}")


def _values(columns: list[str], cells: list[str]) -> Iterator[tuple[str, Value]]:
    known, required = row_schema()["properties"], row_schema()["required"]
    for column, cell in zip(columns, cells, strict=True):
        if column in known and (cell or column in required):
            kind = known[column].get("type")
            if kind == "integer" and re.fullmatch(r"[+-]?[0-9]{1,9}", cell):
                yield column, int(cell)
            elif kind == "number" and re.fullmatch(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,2})?", cell):
                yield column, float(cell)
            else:
                yield column, cell


def row_faults(rows: Iterable[Row]) -> Iterator[Fault]:
    """Cells that the schema does not allow; one compiled validator for all rows."""
    validator, known = _validator(), row_schema()["properties"]
    for row in rows:
        if validator.is_valid(row.cells):
            continue
        for error in validator.iter_errors(row.cells):
            if not error.instance_path:  # a missing column: said once, of the header
                continue
            column = str(error.instance_path[0])
            yield Fault(row.line, column, _expectation(row.cells[column], known[column]))


def _expectation(value: Value, rule: dict[str, Any]) -> str:
    if "enum" not in rule:
        return f"{_shown(value)}: expected {rule['description']}"
    options = [o for o in rule["enum"] if o]
    listed = ", ".join(repr(o) for o in options)
    return f"{_shown(value)} is not one of {listed} or empty{_suggestion(str(value), options)}"


def _suggestion(value: str, options: list[str]) -> str:
    by_lower = {o.lower(): o for o in options}
    near = difflib.get_close_matches(value.strip().lower()[:100], by_lower, n=1)
    return f" (did you mean {by_lower[near[0]]!r}?)" if near else ""


def _shown(value: Value) -> str:
    """The cell: text as repr, cut in the middle where it is long; an empty one in words."""
    if not isinstance(value, str):
        return f"{value:.12g}"
    text = repr(value) if value else "an empty cell"
    return text if len(text) <= 200 else f"{text[:100]}...{text[-90:]}"


def cohort_faults(rows: list[Row]) -> Iterator[Fault]:
    """Rows that are fine on their own and contradict each other."""
    yield from _twice(rows, "slide", lambda row: row.cells.get("slide"), "slide names are unique")
    used = [row for row in rows if "exclude" not in row.cells]
    yield from _twice(used, "path", lambda row: _absolute(row.cells.get("path")), "a file belongs to one slide")
    for column, rule in (
        ("split", "a patient's slides belong to one split"),
        ("fold", "a patient's slides belong to one fold"),
        ("patient_label", "a patient has one stage"),
    ):
        first: dict[Value, Row] = {}
        for row in rows:
            value, patient = row.cells.get(column, ""), row.cells.get("patient", "")
            if value != "" and patient != "":
                other = first.setdefault(patient, row)
                if other.cells[column] != value:
                    before = f"{_shown(other.cells[column])} on line {other.line}"
                    yield Fault(
                        row.line,
                        column,
                        f"{_shown(value)}, but patient {_shown(patient)} has {before}: {rule}",
                    )
    yield from _partly(used, "split")
    yield from _partly(used, "fold")
    split = next((row for row in rows if row.cells.get("split")), None)
    fold = next((row for row in rows if "fold" in row.cells), None)
    if split and fold:
        text = f"{_shown(fold.cells['fold'])}, but line {split.line} has a split: fill in one of the two columns"
        yield Fault(fold.line, "fold", text)


def _twice(rows: list[Row], column: str, key: Any, rule: str) -> Iterator[Fault]:
    first: dict[str, int] = {}
    for row in rows:
        value = key(row)
        if value:
            line = first.setdefault(value, row.line)
            if line != row.line:
                text = f"{_shown(row.cells[column])} is already on line {line}: {rule}"
                yield Fault(row.line, column, text)


def _partly(used: list[Row], column: str) -> Iterator[Fault]:
    """Slides without a split or fold of patients who have one: their model would know the patient."""
    first: dict[Value, Row] = {}
    for row in used:
        if row.cells.get(column, "") != "":
            first.setdefault(row.cells.get("patient", ""), row)
    for row in used:
        patient = row.cells.get("patient", "")
        if row.cells.get(column, "") == "" and patient != "" and patient in first:
            before = f"{_shown(first[patient].cells[column])} on line {first[patient].line}"
            yield Fault(
                row.line,
                column,
                f"an empty cell, but patient {_shown(patient)} has {before}: a patient's slides belong to one {column}",
            )


def _absolute(path: Value | None) -> str | None:
    if isinstance(path, str) and path:
        return os.path.abspath(path)  # noqa: PTH100 (pathlib takes a third of the time of a large sheet)
    return None


def file_faults(rows: Iterable[Row], made: Path | None) -> Iterator[Fault]:
    """Slide and annotation files that are not there.

    Excluded slides need no files, and what lies below the folder `made` is made by the workflow.
    """
    below = f"{_absolute(str(made))}{os.sep}" if made else None
    for row in rows:
        if "exclude" in row.cells:
            continue
        for column in ("path", "annotation"):
            path = _absolute(row.cells.get(column))
            if path and not (below and path.startswith(below)) and (reason := _not_a_file(path)):
                yield Fault(row.line, column, f"{_shown(row.cells[column])}: {reason}; expected a file")


def _not_a_file(path: str) -> str:
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 (as above)
    except OSError as error:
        return error.strerror or "it cannot be read"
    except ValueError:  # a NUL in the path
        return "it is not a path"
    return "" if stat.S_ISREG(mode) else "it is not a file"
