"""compare.tsv: one row a way to look and a number of glimpses."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from foveate.cohort.samples import Sample, patient_labels
from foveate.errors import FoveateError
from foveate.patients.evaluation import evaluate
from foveate.patients.stages import SLIDE_CLASSES
from foveate.patients.staging import SlidePrediction, SlideResult, stage_patients
from foveate.stages.comparison.lead import Scored, lead, scored
from foveate.stages.comparison.roles import roles
from foveate.stages.hdf5 import open_hdf5
from foveate.stages.plan import Plan

FORMAT, VERSION = "foveate.compare", 1
Floats = NDArray[np.float64]
Key = tuple[str, str, str, int]
"""Way, pooling and readout (of exhaustive reading, else ""), and place in the list of numbers of glimpses."""

METRICS = (
    "auc_micro_macro_vs_negative",
    "auc_any_vs_negative",
    "slide_accuracy",
    "kappa",
    "kappa_rule",
    "patient_accuracy",
)
LEAD = "auc_lead"
"""AUC of micro and macro against negative of learned looking, after as many glimpses (where everything is read: after
those of a prediction), minus that of this way."""

COSTS = ("tissue_share", "decoded_px", "seconds", "cpu_seconds")
COLUMNS = (
    *("way", "pooling", "readout", "glimpses", "rollouts", "n_slides", "n_patients"),
    *(f"{name}{end}" for name in (*METRICS, LEAD) for end in ("", "_low", "_high")),
    *COSTS,
    "weights",
)


@dataclass(frozen=True)
class Answers:
    """What a way concludes after some number of glimpses. Rollouts of a slide: R.

    probabilities: slide to (R, K). glimpses: on a slide, the mean. costs: of each slide (4,), `COSTS`.
    """

    probabilities: dict[str, Floats]
    glimpses: dict[str, float]
    costs: dict[str, Floats]


def table(files: Sequence[Path], plan: Plan, resamples: int, budget: int) -> str:
    """The rows of all folds together. Each slide is answered by the model of its own fold.

    files: of the plan's jobs, see `foveate.stages.compare.run`. resamples: of patients, for the 95 % intervals.
    budget: glimpses of the prediction.

    Metrics are those of `patients.evaluation`; where there are several rollouts, figures and ends of intervals are
    their means. A slide that one way could not read counts for none, and its patient has no stage.
    """
    answers, models, asked = _read(files)
    keys = {f"{n} {r}": (key, r) for n, (key, a) in enumerate(answers.items()) for r in range(_rollouts(a))}
    tested = {slide for name in plan.jobs for slide in roles(plan, name).test}
    slides = [
        _result(sample, plan.splits[sample.patient], keys, answers)
        if slide in tested
        else SlideResult(slide, sample.patient, plan.splits[sample.patient], sample.label, "unused", {})
        for slide, sample in plan.used.items()
    ]
    patients = stage_patients(slides, patient_labels(plan.samples), list(keys))
    found = evaluate(patients, resamples, 0, list(keys))
    by_key: dict[Key, list[dict[str, Any]]] = {key: [] for key in answers}
    for name, (key, _) in keys.items():
        by_key[key].append(found[name])
    leads = _leads(scored(slides, resamples), keys, asked.index(budget) if budget in asked else -1)
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, delimiter="\t", lineterminator="\n")
    writer.writeheader()
    writer.writerows(_row(key, answers[key], by_key[key], models) | leads.get(key, {}) for key in answers)
    return text.getvalue()


def _leads(slides: Scored, keys: Mapping[str, tuple[Key, int]], last: int) -> dict[Key, dict[str, str]]:
    """The cells of `LEAD` of every other way. last: place of the prediction's number of glimpses."""
    names: dict[Key, list[str]] = {}
    for name, (key, _) in keys.items():
        names.setdefault(key, []).append(name)
    aucs = {key: slides.auc(own) for key, own in names.items()}
    found = {}
    for key, own in aucs.items():
        way, *_, place = key
        learned = aucs.get(("learned", "", "", last if way == "exhaustive" else place))
        if way != "learned" and learned:
            ahead = lead(learned, own)
            ends = {"": ahead.value, "_low": ahead.low, "_high": ahead.high}
            found[key] = {f"{LEAD}{end}": _mean([value]) for end, value in ends.items()}
    return found


def _read(files: Sequence[Path]) -> tuple[dict[Key, Answers], list[str], list[int]]:
    answers: dict[Key, Answers] = {}
    models: list[str] = []
    asked: set[tuple[int, ...]] = set()
    for path in files:
        with open_hdf5(path) as file:
            models.append(str(file.attrs["weights_sha256"])[:12])
            asked.add(tuple(file.attrs["glimpses"].tolist()))
            for key, slide, one in _entries(file):
                into = answers.setdefault(key, Answers({}, {}, {}))
                into.probabilities[slide], into.glimpses[slide], into.costs[slide] = one
    if len(asked) > 1:
        raise FoveateError(f"{', '.join(map(str, files))}: compared after different numbers of glimpses; compare again")
    return answers, models, list(next(iter(asked), ()))


def _entries(file: h5py.File) -> Iterable[tuple[Key, str, tuple[Floats, float, Floats]]]:
    slides = file["slide"].asstr()[:].tolist()
    if not slides:
        return
    for way, group in file["looks"].items():
        values, tissue, costs = (group[name][:] for name in ("probabilities", "tissue", "costs"))
        for k, glimpses in enumerate(file.attrs["glimpses"].tolist()):
            for row, slide in enumerate(slides):
                spent = _costs(tissue[row, :, k].mean(), costs[row, :, k].mean(axis=0))
                yield (way, "", "", k), slide, (values[row, :, k], glimpses, spent)
    whole = file["exhaustive"]
    tissue, costs, cells = (whole[name][:] for name in ("tissue", "costs", "cells"))
    for name, values in whole["probabilities"].items():
        pooling, readout = name.split(", ")
        for row, slide in enumerate(slides):
            spent = _costs(tissue[row], costs[row])
            yield ("exhaustive", pooling, readout, 0), slide, (values[row][None], float(cells[row]), spent)


def _costs(tissue: float, spent: Floats) -> Floats:
    seconds, cpu_seconds, decoded_px = spent
    return np.array([tissue, decoded_px, seconds, cpu_seconds])


def _rollouts(answers: Answers) -> int:
    return len(next(iter(answers.probabilities.values())))


def _result(
    sample: Sample, split: str, keys: Mapping[str, tuple[Key, int]], answers: Mapping[Key, Answers]
) -> SlideResult:
    read = bool(answers) and all(sample.slide in a.probabilities for a in answers.values())
    predictions = {}
    for name, (key, r) in keys.items() if read else ():
        p = answers[key].probabilities[sample.slide][r]
        values = tuple(p.tolist())
        predictions[name] = SlidePrediction(SLIDE_CLASSES[int(p.argmax())], values, values, 1.0)
    return SlideResult(sample.slide, sample.patient, split, sample.label, "ok" if read else "failed", predictions)


def _row(key: Key, answers: Answers, found: Sequence[Mapping[str, Any]], models: Sequence[str]) -> dict[str, str]:
    way, pooling, readout, _ = key
    row = {"way": way, "pooling": pooling, "readout": readout, "rollouts": str(len(found))}
    row["glimpses"] = f"{np.mean(list(answers.glimpses.values())):.6g}"
    row |= {name: str(found[0][name]) for name in ("n_slides", "n_patients")}
    for metric in METRICS:
        ends = {"": [f[metric]["value"] for f in found]}
        ends |= {end: [f[metric]["ci95"][k] for f in found] for k, end in enumerate(("_low", "_high"))}
        row |= {f"{metric}{end}": _mean(values) for end, values in ends.items()}
    costs = np.mean(list(answers.costs.values()), axis=0)
    row |= {name: f"{cost:.6g}" for name, cost in zip(COSTS, costs, strict=True)}
    return row | {"weights": ",".join(models)}


def _mean(values: Sequence[float | None]) -> str:
    """Of those that are defined; "" without any."""
    defined = [v for v in values if v is not None and not math.isnan(v)]
    return f"{np.mean(defined):.4f}" if defined else ""
