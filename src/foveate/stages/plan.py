"""What a cohort asks for: which models to train, who predicts which slide, and which slides share a job."""

import hashlib
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from foveate.cohort.folds import Fold, folds
from foveate.cohort.samples import Sample, read_samples
from foveate.config import Batches, Config
from foveate.stages.batches import ALL, batches

UNDIVIDED = Batches(*[sys.maxsize] * 3)


@dataclass(frozen=True)
class Job:
    """One model and the slides that it predicts. fold is None where the model is given, not trained."""

    name: str
    fold: Fold | None
    predict: list[str]

    @property
    def learned(self) -> list[str]:
        """The slides that the model is trained on, then those that it is chosen by."""
        return [] if self.fold is None else [*self.fold.train, *self.fold.val]

    @property
    def slides(self) -> list[str]:
        """Every slide that the job reads: those it learns from first."""
        return list(dict.fromkeys([*self.learned, *self.predict]))


@dataclass(frozen=True)
class Predictions:
    """A file of predictions: the job whose model made them, the name of the batch, and its slides."""

    fold: str
    batch: str
    slides: list[str]

    def below(self, results: Path) -> Path:
        """Where it is in the results folder."""
        return results / "predictions" / self.fold / f"{self.batch}.h5"


@dataclass(frozen=True)
class Plan:
    """The samples of a cohort, the jobs over those that are not excluded, and how many slides a batch of them has."""

    samples: list[Sample]
    jobs: dict[str, Job]
    sizes: Batches = UNDIVIDED

    @cached_property
    def used(self) -> dict[str, Sample]:
        """Slide to sample, without the excluded ones."""
        return {s.slide: s for s in self.samples if not s.exclude}

    @cached_property
    def splits(self) -> dict[str, str]:
        """Patient to what the prediction counts as: train, val, test, cv (by the fold that tests on it) or ""."""
        by_sheet = dict.fromkeys((s.patient for s in self.samples), "")
        by_sheet |= {s.patient: s.split or "test" for s in self.samples if s.split or s.fold is not None}
        tested = [] if "split" in self.jobs else [s for j in self.jobs.values() if j.fold for s in j.fold.test]
        if not tested:
            return by_sheet
        held_out = {patient: split if split == "test" else "" for patient, split in by_sheet.items()}
        return held_out | {s.patient: "cv" for s in self.of(tested)}

    @cached_property
    def overview_batches(self) -> dict[str, list[str]]:
        """Batches of slides whose overviews are made together.

        All slides of a batch are learned from by the same folds, so that a slide that is only predicted retrains
        nothing when it joins a batch.
        """
        learned = {name: set(job.learned) for name, job in self.jobs.items()}
        groups: dict[tuple[str, ...], list[Sample]] = defaultdict(list)
        for slide, sample in self.used.items():
            groups[tuple(name for name, own in learned.items() if slide in own)].append(sample)
        made: dict[str, list[str]] = {}
        for learners, samples in groups.items():
            role = f"learned-{digest(learners)[:6]}-" if len(self.jobs) > 1 else "learned-"
            made |= batches(samples, self.sizes.overview, role if learners else "predicted-")
        return made

    @cached_property
    def predictions(self) -> list[Predictions]:
        """The files of predictions of all jobs, a batch each; of a job without slides one that holds none."""
        return [
            Predictions(name, batch, slides)
            for name, job in self.jobs.items()
            for batch, slides in (batches(self.of(job.predict), self.sizes.predict) or {ALL: []}).items()
        ]

    @cached_property
    def export_batches(self) -> dict[str, list[str]]:
        """Batches of slides that are exported together."""
        return batches(self.used.values(), self.sizes.export)

    def of(self, slides: Iterable[str]) -> list[Sample]:
        """The samples of some slides, in order."""
        used = self.used
        return [used[slide] for slide in slides]


def read_plan(config: Config) -> Plan:
    """Read the sheet that the configuration names, and plan its jobs. Files below demo.folder need not exist."""
    samples = read_samples(Path(config.samples), made=Path(config.demo.folder))
    return Plan(samples, jobs(config, samples), config.batches)


def jobs(config: Config, samples: Sequence[Sample]) -> dict[str, Job]:
    """Jobs by name, none of which needs another.

    With a given model there is one, "given", that predicts every slide. Otherwise there is one for each of
    `cohort.folds`: it predicts the slides that it tests on, and those outside of all folds, which so get an
    ensemble; the fold "split" its validation slides as well. Raises SheetError for folds that cannot be made.
    """
    if config.predict.weights:
        return {"given": Job("given", None, [s.slide for s in samples if not s.exclude])}
    made = {}
    for name, fold in folds(samples, config.folds, Path(config.samples)).items():
        chosen = fold.val if name == "split" else []
        made[name] = Job(name, fold, [*chosen, *fold.test, *fold.outside])
    return made


def digest(values: Iterable[object]) -> str:
    """A short name for a list of values, so that a rule's parameters stay small in a large cohort."""
    return hashlib.sha256("\n".join(map(str, values)).encode()).hexdigest()[:16]
