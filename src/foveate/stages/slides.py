"""The table of slides: what became of every row of the samples sheet, whichever model predicted it."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import h5py

from foveate.cohort.samples import Sample
from foveate.errors import FoveateError
from foveate.files import write_text
from foveate.patients.stages import SLIDE_CLASSES
from foveate.patients.staging import POLICIES
from foveate.report.sources import read_json
from foveate.stages.plan import Plan

PREFIX = {"learned": "", "random": "random_"}
VALUES = {"probabilities": "p_", "uncalibrated": "uncalibrated_p_"}  # dataset of a prediction to columns
COLUMNS = (
    "slide", "patient", "fold", "split", "label", "state", "reason", "temperature",
    *(
        f"{PREFIX[p]}{c}" for p in POLICIES
        for c in ("prediction", *(f"{v}{k}" for v in VALUES.values() for k in SLIDE_CLASSES))
    ),
)  # fmt: skip


def run(
    plan: Plan, statuses: Path, predictions: Sequence[Path], dropped: Sequence[Path], out: Path, summary: Path
) -> None:
    """Write the table and a summary for people.

    statuses: folder of {slide}.json. predictions: one HDF5 file a job. dropped: the dropped.json of each
    training. The state of a slide is ok, failed (with the reason), excluded, or unused: learned from and
    predicted by no model. Raises FoveateError for a file that is not there or cannot be read.
    """
    rows = {s.slide: _row(s, statuses) for s in plan.samples}
    for path in dropped:
        for slide, reason in read_json(path).items():
            rows[slide] |= {"state": "failed", "reason": reason}
    for path in predictions:
        _add_predictions(path, rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, delimiter="\t", lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows.values())
    write_text(out, text.getvalue())
    write_text(summary, summarise(list(rows.values()), statuses))


def summarise(rows: Sequence[dict[str, str]], statuses: Path) -> str:
    """How many slides ended how, and each failed one with its reason and a way out."""
    states = [row["state"] for row in rows]
    counts = ", ".join(f"{states.count(s)} {s}" for s in ("ok", "unused", "excluded", "failed") if s in states)
    lines = [f"{len(rows)} slides: {counts}"]
    for row in rows:
        if row["state"] == "failed":
            remedy = read_json(statuses / f"{row['slide']}.json")["remedy"]
            lines.append(f"FAILED {row['slide']} (patient {row['patient']}): {row['reason']}")
            lines.append(f"       {remedy or 'set the exclude column to leave it out'}")
    return "\n".join(lines) + "\n"


def _row(sample: Sample, statuses: Path) -> dict[str, str]:
    split = "test" if sample.fold is not None else sample.split
    row = {"slide": sample.slide, "patient": sample.patient, "split": split, "label": sample.label}
    if sample.exclude:
        return {**row, "state": "excluded", "reason": sample.exclude}
    status = read_json(statuses / f"{sample.slide}.json")
    if status["state"] != "ok":
        return {**row, "state": "failed", "reason": status["reason"]}
    return {**row, "state": "unused", "reason": ""}


def _add_predictions(path: Path, rows: dict[str, dict[str, str]]) -> None:
    try:
        file = h5py.File(path)
    except OSError as error:
        raise FoveateError(f"{path}: cannot be read as HDF5: {error}") from error
    with file:
        for slide, reason in file["failed"].attrs.items():
            rows[slide] |= {"state": "failed", "reason": str(reason)}
        fold, temperature = str(file.attrs["fold"]), f"{file.attrs['temperature']:.6g}"
        for policy in POLICIES:
            group = file[policy]
            if "slide" not in group:  # every slide of the job failed
                continue
            found = {columns: group[name][:] for name, columns in VALUES.items()}
            for k, slide in enumerate(group["slide"].asstr()[:]):
                values = {
                    f"{PREFIX[policy]}{columns}{c}": f"{p:.6g}"  # small ones count in the log-likelihood
                    for columns, probabilities in found.items()
                    for c, p in zip(SLIDE_CLASSES, probabilities[k], strict=True)
                }
                values[f"{PREFIX[policy]}prediction"] = SLIDE_CLASSES[int(found["p_"][k].argmax())]
                rows[slide] |= {**values, "fold": fold, "temperature": temperature, "state": "ok", "reason": ""}


def verdict(table: Path, summary: Path) -> str:
    """The summary of a run in which every slide succeeded.

    Raises
    ------
    FoveateError
        With the summary, if a slide failed.
    """
    text = summary.read_text(encoding="utf-8")
    with table.open(encoding="utf-8", newline="") as file:
        failed = [row["slide"] for row in csv.DictReader(file, delimiter="\t") if row["state"] == "failed"]
    if failed:
        raise FoveateError(f"{text}Everything else was finished, and is in {table.parent.parent}/report/index.html.")
    return text
