import csv
import json
from pathlib import Path
from typing import Any

import pytest

from foveate.errors import FoveateError
from foveate.stages.qc import COLUMNS, run

GOOD: dict[str, Any] = {
    "slide": "good", "state": "ok", "reason": "", "reader": "tiff", "mpp": [0.25, 0.25], "tissue_share": 0.4321,
    "pen_share": 0.0, "blurred_share": 0.125, "pale": False, "absent_tiles": 0, "warnings": [],
}  # fmt: skip


def table(folder: Path, *statuses: Any) -> list[dict[str, str]]:
    """The rows that the stage makes of some statuses."""
    paths = [folder / f"{k}.json" for k in range(len(statuses))]
    for path, status in zip(paths, statuses, strict=True):
        path.write_text(json.dumps(status))
    run(paths, folder / "results" / "qc.tsv")
    with (folder / "results" / "qc.tsv").open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_a_row_holds_what_is_known_of_a_slide(tmp_path: Path) -> None:
    (row,) = table(tmp_path, GOOD)
    assert tuple(row) == COLUMNS
    assert row == {
        "slide": "good", "state": "ok", "reader": "tiff", "mpp": "0.25", "tissue_share": "0.4321", "pen_share": "0.0",
        "blurred_share": "0.125", "pale": "false", "absent_tiles": "0", "warnings": "",
    }  # fmt: skip


def test_what_is_not_known_is_empty(tmp_path: Path) -> None:
    failed: dict[str, Any] = {
        "slide": "bad",
        "state": "failed",
        "reader": "openslide",
        "mpp": None,
        "pale": None,
        "warnings": [],
    }
    (row,) = table(tmp_path, failed)
    assert {k: v for k, v in row.items() if v} == {"slide": "bad", "state": "failed", "reader": "openslide"}


def test_rows_keep_the_order_given(tmp_path: Path) -> None:
    rows = table(tmp_path, *(GOOD | {"slide": name} for name in ("b", "c", "a")))
    assert [row["slide"] for row in rows] == ["b", "c", "a"]


def test_warnings_stay_on_one_line_and_pixels_that_are_not_square_show_both_sides(tmp_path: Path) -> None:
    (row,) = table(
        tmp_path, GOOD | {"mpp": [0.25, 0.5], "pale": True, "warnings": ["one\tis\nlong", "two"], "absent_tiles": 3}
    )
    assert (row["mpp"], row["pale"], row["warnings"], row["absent_tiles"]) == (
        "0.25 x 0.5", "true", "one is long; two", "3",
    )  # fmt: skip
    assert len((tmp_path / "results" / "qc.tsv").read_text().splitlines()) == 2


def test_a_cohort_without_slides_has_a_header(tmp_path: Path) -> None:
    assert table(tmp_path) == []
    assert (tmp_path / "results" / "qc.tsv").read_text() == "\t".join(COLUMNS) + "\n"


@pytest.mark.parametrize("status", [[], {"state": "ok"}])
def test_a_file_that_is_no_status_is_named(tmp_path: Path, status: Any) -> None:
    with pytest.raises(FoveateError, match=r"0\.json: is no status"):
        table(tmp_path, status)
    with pytest.raises(FoveateError, match="absent"):
        run([tmp_path / "absent.json"], tmp_path / "qc.tsv")
