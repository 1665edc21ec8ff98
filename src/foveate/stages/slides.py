"""The table of slides: what became of every row of the samples sheet, whichever model predicted it."""

import csv
import io
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foveate.cohort.samples import Sample
from foveate.errors import FoveateError
from foveate.files import write_text
from foveate.patients.stages import SLIDE_CLASSES
from foveate.patients.staging import POLICIES
from foveate.report.sources import read_json
from foveate.stages.hdf5 import open_hdf5
from foveate.stages.plan import Plan

ENSEMBLE = "ensemble"  # in the column fold: the mean of all folds' models
PREFIX = {"learned": "", "random": "random_"}
GLIMPSES = "looked"  # dataset of a prediction
VALUES = {"probabilities": "p_", "uncalibrated": "uncalibrated_p_"}  # dataset of a prediction to columns
COLUMNS = (
    "slide", "patient", "fold", "split", "label", "state", "reason", "temperature",
    *(
        f"{PREFIX[p]}{c}" for p in POLICIES
        for c in ("prediction", "glimpses", *(f"{v}{k}" for v in VALUES.values() for k in SLIDE_CLASSES))
    ),
)  # fmt: skip


def run(
    plan: Plan, statuses: Path, predictions: Sequence[Path], dropped: Sequence[Path], out: Path, summary: Path
) -> None:
    """Write the table and a summary for people.

    statuses: folder of {slide}.json. predictions: those of `Plan.predictions`. dropped: the dropped.json of each
    training. The state of a slide is ok, failed (with the reason), excluded, or unused: learned from and
    predicted by no model. What several folds' models predict is their ensemble: the mean of their probabilities
    and of their numbers of glimpses, the fold `ENSEMBLE`, and failed where one of them failed. Raises FoveateError for
    a file that is not there, cannot be read, or is not of the slides that the plan says.
    """
    rows = {s.slide: _row(s, plan.splits[s.patient], statuses) for s in plan.samples}
    usable = {slide for slide, row in rows.items() if row["state"] == "unused"}
    for path in dropped:
        for slide, reason in read_json(path).items():
            rows[slide] |= {"state": "failed", "reason": reason}
    for slide, opinions in _opinions(predictions, plan, usable).items():
        rows[slide] |= _conclusion(opinions)
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


def _row(sample: Sample, split: str, statuses: Path) -> dict[str, str]:
    row = {"slide": sample.slide, "patient": sample.patient, "split": split, "label": sample.label}
    if sample.exclude:
        return {**row, "state": "excluded", "reason": sample.exclude}
    status = read_json(statuses / f"{sample.slide}.json")
    if status["state"] != "ok":
        return {**row, "state": "failed", "reason": status["reason"]}
    return {**row, "state": "unused", "reason": ""}


@dataclass
class Opinions:
    """What the models say about one slide.

    temperatures: of each model. total: by policy and by dataset (`VALUES`), the sum of their probabilities (4,), and
    of `GLIMPSES`.
    """

    folds: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    temperatures: list[float] = field(default_factory=list)
    total: dict[tuple[str, str], NDArray[np.float64]] = field(default_factory=dict)


def _opinions(paths: Sequence[Path], plan: Plan, usable: set[str]) -> dict[str, Opinions]:
    """Read the prediction files, one at a time; usable: the slides that have an overview."""
    made: dict[str, Opinions] = defaultdict(Opinions)
    for path, planned in zip(paths, plan.predictions, strict=True):
        with open_hdf5(path) as file:
            failed = {slide: str(reason) for slide, reason in file["failed"].attrs.items()}
            slides = file["learned/slide"].asstr()[:].tolist() if "slide" in file["learned"] else []  # all failed
            fold = planned.fold
            if str(file.attrs["fold"]) != fold or {*slides, *failed} != usable.intersection(planned.slides):
                raise FoveateError(f"{path}: not of the slides that fold {fold} predicts now; predict them again")
            for slide, reason in failed.items():
                made[slide].failed.append((fold, reason))
            for slide in slides:
                made[slide].folds.append(fold)
                made[slide].temperatures.append(float(file.attrs["temperature"]))
            for policy, name in product(POLICIES, (*VALUES, GLIMPSES)) if slides else ():
                for slide, values in zip(slides, file[policy][name][:].astype(np.float64), strict=True):
                    made[slide].total[policy, name] = made[slide].total.get((policy, name), 0) + values
    return made


def _conclusion(opinions: Opinions) -> dict[str, str]:
    """The cells of a predicted slide: of the one model, or the mean over the models of an ensemble.

    The temperature of an ensemble is the geometric mean of its models'.
    """
    alone = len(opinions.folds) + len(opinions.failed) == 1
    if opinions.failed:
        fold, reason = opinions.failed[0]
        return {"state": "failed", "reason": reason if alone else f"{reason} (predicted by fold {fold})"}
    temperature = float(np.exp(np.mean(np.log(opinions.temperatures))))
    cells = {"state": "ok", "reason": "", "fold": opinions.folds[0] if alone else ENSEMBLE}
    cells["temperature"] = f"{temperature:.6g}"
    for policy in POLICIES:
        mean = {name: opinions.total[policy, name] / len(opinions.folds) for name in (*VALUES, GLIMPSES)}
        cells |= {
            f"{PREFIX[policy]}{columns}{c}": f"{p:.6g}"  # small ones count in the log-likelihood
            for name, columns in VALUES.items()
            for c, p in zip(SLIDE_CLASSES, mean[name], strict=True)
        }
        cells[f"{PREFIX[policy]}prediction"] = SLIDE_CLASSES[int(mean["probabilities"].argmax())]
        cells[f"{PREFIX[policy]}glimpses"] = f"{mean[GLIMPSES]:.6g}"
    return cells


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
