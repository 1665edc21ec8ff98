"""Stage 7: the report, one HTML file that needs nothing else."""

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from tqdm import tqdm

from foveate.files import atomic
from foveate.report.cohort import split_metrics
from foveate.report.comparison import read_comparison
from foveate.report.page import Failure, Page, PatientView, count_states, illustrate, render
from foveate.report.patient_look import PatientLook, PatientRollouts, patient_look
from foveate.report.slideview import SlideView, failure, slide_view
from foveate.report.sources import (
    PatientRow,
    Predictions,
    SlideRow,
    read_history,
    read_json,
    read_patients,
    read_slides,
    read_status,
)
from foveate.report.training import history
from foveate.slides.overview_file import read_overview

log = logging.getLogger(__name__)

ILLUSTRATED = 400  # slides on a page with pictures, 0.15 MB each
PACKAGES = ("foveate", "keras", "tensorflow", "numpy", "openslide-python")


def run(
    *,
    overviews: Path,
    statuses: Path,
    predictions: Sequence[Path],
    slides_tsv: Path,
    patients_tsv: Path,
    metrics_json: Path,
    histories: Mapping[str, Path],
    comparison: Path,
    out: Path,
    title: str = "foveate",
    progress: bool = False,
) -> None:
    """Write the report of a run to `out`.

    overviews, statuses: folders with {slide}.h5 and {slide}.json; predictions: files of all folds;
    histories: fold to its history.csv, empty when nothing was trained; comparison: compare.tsv, which need not
    exist, and is left out if it was made with other weights than the predictions; title: the cohort's name.
    Slides are read one at a time, so that memory does not grow with the cohort; of a large one only `ILLUSTRATED`
    slides have their pictures on the page, those of whom one would look at first.

    Raises FoveateError when a table or file that has to be there cannot be read.
    """
    slides, patients = read_slides(slides_tsv), read_patients(patients_tsv)
    metrics = read_json(metrics_json)
    files, rollouts = Predictions(predictions), PatientRollouts(predictions)
    by_patient: dict[str, list[SlideRow]] = defaultdict(list)
    for slide in slides:
        by_patient[slide.patient].append(slide)
    bar = tqdm(total=sum(len(by_patient[p.patient]) for p in patients), unit="slide", disable=not progress)

    def view(row: SlideRow) -> SlideView:
        bar.update()
        path = overviews / f"{row.slide}.h5"
        overview = read_overview(path) if path.exists() else None
        fixations = files.of(row.slide, row.fold) if row.state == "ok" else None
        return slide_view(row, read_status(statuses, row.slide), overview, fixations)

    page = Page(
        title=title,
        made=datetime.now(UTC),
        versions=_versions(),
        models=files.models,
        n_slides=len(slides),
        n_patients=len(by_patient),
        counts=count_states(slides, patients),
        failures=[_failure(slide, statuses) for slide in slides if slide.state == "failed"],
        exclusions=[slide for slide in slides if slide.state == "excluded"],
        test=split_metrics(metrics["test"]),
        cv=split_metrics(metrics["cv"]) if "cv" in metrics else None,
        val=split_metrics(metrics["val"]) if "val" in metrics else None,
        histories=[history(fold, read_history(path)) for fold, path in histories.items()],
        comparison=read_comparison(comparison, files.models) if comparison.exists() else None,
        patients=illustrate([_patient(p, by_patient[p.patient], view, rollouts) for p in patients], ILLUSTRATED),
        training_patients=_training_patients(by_patient, patients),
    )
    with bar, atomic(out) as partial, partial.open("w", encoding="utf-8") as stream:
        render(page, stream)
    log.info("%s: %d patients, %.1f MB", out, len(patients), out.stat().st_size / 1e6)


def _patient(
    row: PatientRow, members: Sequence[SlideRow], view: Callable[[SlideRow], SlideView], rollouts: PatientRollouts
) -> PatientView:
    def look() -> PatientLook | None:
        found = rollouts.of(row.patient) if row.agent_stage else None
        return patient_look(*found) if found else None

    return PatientView(row, tuple(members), lambda: map(view, members), look)


def _failure(row: SlideRow, statuses: Path) -> Failure:
    return Failure(row.slide, row.patient, *failure(row, read_status(statuses, row.slide)))


def _training_patients(by_patient: Mapping[str, Sequence[SlideRow]], shown: Sequence[PatientRow]) -> list[str]:
    names = {patient.patient for patient in shown}
    return sorted(
        patient
        for patient, members in by_patient.items()
        if patient not in names and any(slide.state == "unused" for slide in members)
    )


def _versions() -> dict[str, str]:
    return {name: version(name) for name in PACKAGES}
