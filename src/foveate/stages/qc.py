"""The table of quality: what the overview stage saw of each slide that a person should know of."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from foveate.errors import FoveateError
from foveate.files import write_text
from foveate.report.sources import read_json

COLUMNS = (
    "slide", "state", "reader", "mpp", "tissue_share", "pen_share", "blurred_share", "pale", "absent_tiles", "warnings",
)  # fmt: skip


def run(statuses: Sequence[Path], out: Path) -> None:
    """Write one row a status file, in the given order, tab-separated.

    What is not known of a slide, as of one that could not be read, is empty. mpp is one number, or x and y where
    they differ; warnings are joined by "; ". Raises FoveateError for a file that is not there or is no status.
    """
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(COLUMNS)
    for path in statuses:
        status = read_json(path)
        if not isinstance(status, dict) or "slide" not in status:
            raise FoveateError(f"{path}: is no status of a slide; delete it and run again")
        writer.writerow(_cell(status.get(column)) for column in COLUMNS)
    write_text(out, text.getvalue())


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case [float() | int() as x, float() | int() as y]:
            return str(x) if x == y else f"{x} x {y}"
        case list():
            return "; ".join(map(_cell, value))
    return " ".join(str(value).split())  # one line, whatever a message holds
