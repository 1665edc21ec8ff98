"""The record of a training: history.csv for people and tables, TensorBoard for curves."""

import csv
import io
from pathlib import Path

from tensorboardX import SummaryWriter

from foveate.files import write_text

COLUMNS = (
    "phase", "epoch", "loss", "cross_entropy", "reinforce", "baseline_error", "guidance", "entropy", "reward",
    "accuracy", "mean_glimpses", "val_loss", "val_accuracy", "val_glimpses", "learning_rate", "glimpses_per_s",
    "device_waited", "readers_waited", "seconds",
)  # fmt: skip


Row = dict[str, float | str]


def write_history(rows: list[Row], path: Path) -> None:
    """One row an epoch; a value that a phase does not have is empty.

    mean_glimpses: expected number of fixations before the stop network ends a rollout; val_glimpses: those made on a
    validation slide, on average. Of the phase that teaches the stop network.
    device_waited: share of the time in which a rollout waited for pixels with nothing else to do; readers_waited: share
    in which no thread was reading.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})
    write_text(path, text.getvalue())


def log_scalars(row: Row, folder: Path) -> None:
    """Add an epoch's numbers to the TensorBoard log of its phase, a file an epoch."""
    epoch = int(row["epoch"])
    # the name's other part is the time in seconds: two short epochs would share it, and the second be left alone
    with SummaryWriter(str(folder / str(row["phase"])), flush_secs=1, filename_suffix=f".{epoch:04d}") as writer:
        for name, value in row.items():
            if isinstance(value, float):
                writer.add_scalar(name, value, epoch)
