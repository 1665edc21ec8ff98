import csv
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from foveate.stages.training.history import COLUMNS, log_scalars, write_history


def scalars(folder: Path) -> dict[tuple[str, int], float]:
    """(tag, step) to value of all event files of a folder."""
    events = [event for path in sorted(folder.iterdir()) for event in EventFileLoader(str(path)).Load()]
    return {(v.tag, e.step): v.tensor.float_val[0] for e in events for v in e.summary.value}


def test_one_row_an_epoch(tmp_path: Path) -> None:
    rows: list[dict[str, float | str]] = [
        {"phase": "pretrain", "epoch": 1, "loss": 1.23456789, "accuracy": 0.5},
        {"phase": "attend", "epoch": 1, "loss": np.float64(1e-9), "val_loss": 2.0, "seconds": 100000.0},
    ]
    path = tmp_path / "deep" / "history.csv"
    write_history(rows, path)
    with path.open(newline="") as file:
        read = list(csv.DictReader(file))
    assert tuple(read[0]) == COLUMNS
    assert (read[0]["phase"], read[0]["epoch"], read[0]["loss"], read[0]["val_loss"]) == (
        "pretrain",
        "1",
        "1.23457",
        "",
    )
    assert (read[1]["phase"], read[1]["loss"], read[1]["seconds"]) == ("attend", "1e-09", "100000")


def test_a_history_without_epochs_has_its_columns(tmp_path: Path) -> None:
    write_history([], tmp_path / "history.csv")
    assert (tmp_path / "history.csv").read_text() == ",".join(COLUMNS) + "\n"


def test_an_unknown_column_is_an_error_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    write_history([], path)
    before = path.read_text()
    with pytest.raises(ValueError, match="lossy"):
        write_history([{"phase": "attend", "epoch": 1, "lossy": 1.0}], path)
    assert path.read_text() == before


def test_tensorboard_reads_the_numbers_of_each_phase(tmp_path: Path) -> None:
    log_scalars({"phase": "pretrain", "epoch": 1, "loss": 2.5}, tmp_path)
    log_scalars({"phase": "attend", "epoch": 1, "loss": 1.5, "val_loss": 1.25}, tmp_path)
    log_scalars({"phase": "attend", "epoch": 2, "loss": 0.5}, tmp_path)
    assert scalars(tmp_path / "pretrain") == {("loss", 1): 2.5}
    assert scalars(tmp_path / "attend") == {("loss", 1): 1.5, ("val_loss", 1): 1.25, ("loss", 2): 0.5}
