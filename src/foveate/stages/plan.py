"""What a cohort asks for: which models to train, and who predicts which slide."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from foveate.cohort.samples import Fold, Sample, folds, read_samples
from foveate.config import Config


@dataclass(frozen=True)
class Job:
    """One model and the slides that it predicts. fold is None where the model is given, not trained."""

    name: str
    fold: Fold | None
    predict: list[str]

    @property
    def slides(self) -> list[str]:
        """Every slide that the job reads: those it learns from first."""
        learned = [] if self.fold is None else [*self.fold.train, *self.fold.val]
        return list(dict.fromkeys([*learned, *self.predict]))


@dataclass(frozen=True)
class Plan:
    """The samples of a cohort that are not excluded, and the jobs over them."""

    samples: list[Sample]
    jobs: dict[str, Job]

    @cached_property
    def used(self) -> dict[str, Sample]:
        """Slide to sample, without the excluded ones."""
        return {s.slide: s for s in self.samples if not s.exclude}

    def of(self, slides: Iterable[str]) -> list[Sample]:
        """The samples of some slides, in order."""
        used = self.used
        return [used[slide] for slide in slides]


def read_plan(config: Config) -> Plan:
    """Read the sheet that the configuration names, and plan its jobs. Files below demo.folder need not exist."""
    samples = read_samples(Path(config.samples), made=Path(config.demo.folder))
    return Plan(samples, jobs(samples, given=bool(config.predict.weights)))


def jobs(samples: Sequence[Sample], *, given: bool) -> dict[str, Job]:
    """Jobs by name. With a given model there is one, "given", that predicts every slide.

    A numbered fold predicts its test slides, a split its validation slides as well; slides with neither
    are predicted by the first model.
    """
    if given:
        return {"given": Job("given", None, [s.slide for s in samples if not s.exclude])}
    made = {}
    for name, fold in folds(samples).items():
        chosen = fold.val if name == "split" else []
        made[name] = Job(name, fold, [*chosen, *fold.test, *fold.unlabelled])
    return made


def digest(values: Iterable[object]) -> str:
    """A short name for a list of values, so that a rule's parameters stay small in a large cohort."""
    return hashlib.sha256("\n".join(map(str, values)).encode()).hexdigest()[:16]
