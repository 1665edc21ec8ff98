"""A training in progress: its slides, its state, its checkpoint, and the loop over phases and epochs."""

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np
from numpy.typing import NDArray

from foveate.cohort.folds import Fold
from foveate.cohort.samples import Sample
from foveate.config import Config
from foveate.errors import FoveateError, SlideError
from foveate.files import sha256
from foveate.patients.stages import SLIDE_CLASSES
from foveate.slides.overview_file import StoredOverview
from foveate.slides.sensor import GlimpseSensor
from foveate.stages.batch import common_shape, tissue_cells
from foveate.stages.cohort import open_cohort
from foveate.stages.provenance import source_digest
from foveate.stages.training.bags import bears_tumor
from foveate.stages.training.checkpoint import Checkpoint
from foveate.stages.training.history import Row, log_scalars, write_history

log = logging.getLogger(__name__)


@dataclass
class State:
    """What a checkpoint holds besides variables: the phase, its finished epochs, the record so far."""

    phase: int = 0
    began_without: list[str] = field(default_factory=list)  # slides dropped before this phase
    epoch: int = 0
    best: float | None = None  # lowest validation loss of this phase so far
    temperature: float | None = None  # of the slides' answers, once it was fitted
    history: list[Row] = field(default_factory=list)
    dropped: dict[str, str] = field(default_factory=dict)


class Phase(Protocol):
    """One part of the curriculum. `epoch(k)` draws from a random stream that k names, and returns its figures.

    `over()`: whether it ends before its last epoch, by what the session's state says.
    """

    name: str
    epochs: int
    learner: keras.Model

    def epoch(self, number: int) -> dict[str, float]: ...

    def over(self) -> bool:
        return False


class Session:
    """The slides of a fold and the state of its training.

    A slide that cannot be read in training is dropped: it is remembered with the reason, and its rows do not count.
    """

    def __init__(self, config: Config, samples: Sequence[Sample], fold: Fold, overviews: Path, out: Path) -> None:
        self.config, self.out = config, out
        rows = self.samples = {s.slide: s for s in samples}
        self._train, self._val = (
            open_cohort([rows[name] for name in names if rows[name].label], overviews)
            for names in (fold.train, fold.val)
        )
        labels = {rows[o.slide].label for o in self._train}
        if len(labels) < 2:
            raise FoveateError(
                f"fold {fold.name}: {len(self._train)} labelled training slides could be read, with the classes "
                f"{', '.join(sorted(labels)) or 'none'}; training needs at least two classes"
            )
        every = [*self._train, *self._val]
        self.label = {o.slide: SLIDE_CLASSES.index(rows[o.slide].label) for o in every}
        for o in every:
            if o.lesions is not None and len(o.lesions.diameter_um) and not self.label[o.slide]:
                log.warning("%s is labelled negative, so the lesions that are outlined in it do not count", o.slide)
        shape = common_shape(every, config.tissue.cell_share)
        side = max(shape.rows, shape.columns)  # square, so that slides can be turned
        self.shape = shape._replace(rows=side, columns=side)
        glimpse = config.glimpse
        self.sensor = GlimpseSensor(glimpse.scales_mpp, glimpse.px, config.train.threads, glimpse.stain_od)
        c = config
        settings = (c.overview, c.tissue, c.glimpse, c.scout, c.model, c.train, c.patient_agent)
        names = [[_truth(rows[o.slide]) for o in part] for part in (self._train, self._val)]
        files: list[object] = [_identity(overviews / f"{o.slide}.h5") for o in every]
        files += [sha256(Path(path)) for path in (c.model.encoder.path,) if path]
        key = json.dumps([[asdict(s) for s in settings], *names, files, source_digest()], sort_keys=True)
        self.checkpoint = Checkpoint(out / "checkpoint", hashlib.sha256(key.encode()).hexdigest())
        self.found = self.checkpoint.load()
        self.state = State()
        if not self.found:
            shutil.rmtree(out / "tensorboard", ignore_errors=True)
        else:
            self.state = State(**{f.name: self.found[f.name] for f in fields(State)})
            log.info("resuming after epoch %d of phase %d", self.state.epoch, self.state.phase + 1)
        self._lesions: dict[str, tuple[tuple[NDArray[np.int64], ...], NDArray[np.int32]]] = {}  # slide to its cells
        self._next = 0  # number of the phase that comes next
        self._refused: set[str] = set()  # too coarse for the glimpse scales
        for overview in every:
            try:
                self.sensor.check(overview)
            except SlideError as error:
                self.drop(error)
                self._refused.add(overview.slide)
        if not self.found:
            self.state.began_without = sorted(self.state.dropped)

    @property
    def train(self) -> list[StoredOverview]:
        """The training slides that can be read."""
        return self._kept(self._train)

    @property
    def enrolled(self) -> list[StoredOverview]:
        """The training slides that could be read when the phase began, the same after a resume."""
        return [o for o in self._train if o.slide not in self.state.began_without]

    @property
    def enrolled_val(self) -> list[StoredOverview]:
        """The validation slides that could be read when the phase began, the same after a resume."""
        return [o for o in self._val if o.slide not in self.state.began_without]

    @property
    def val(self) -> list[StoredOverview]:
        """The validation slides that can be read."""
        return self._kept(self._val)

    def _kept(self, overviews: Sequence[StoredOverview]) -> list[StoredOverview]:
        return [o for o in overviews if o.slide not in self.state.dropped]

    def drop(self, error: SlideError) -> None:
        """Leave a slide out from now on."""
        if error.slide not in self.state.dropped:
            log.warning("left out of training: %s", error)
            self.state.dropped[error.slide] = error.reason

    def drop_failed(self, parts: Iterable[tuple[int, Mapping[int, SlideError]]]) -> set[int]:
        """Leave out what could not be read; the rows, counted over the parts, that it concerns.

        parts: of each the number of its rows, and its errors by row.
        """
        failed, first = set(), 0
        for count, errors in parts:
            for row, error in errors.items():
                self.drop(error)
                failed.add(first + row)
            first += count
        return failed

    def lesion_cells(self, overview: StoredOverview) -> NDArray[np.int32]:
        """Which annotated lesion each cell of an overview (R, C) holds: 0 for none, k for the k-th.

        Cells that cannot be looked at hold none; where two lesions share a cell it holds the smaller one.
        """
        cells = np.zeros(overview.cell_tissue.shape, np.int32)
        lesions = overview.lesions
        if lesions is None or not self.label[overview.slide]:
            return cells
        if overview.slide not in self._lesions:
            for number in np.argsort(-lesions.diameter_um) + 1:
                rows, columns = np.nonzero(lesions.index == number)
                cells[rows // overview.cell_px, columns // overview.cell_px] = number
            cells *= tissue_cells(overview, self.config.tissue.cell_share)
            where = np.nonzero(cells)
            self._lesions[overview.slide] = (where, cells[where])
        where, numbers = self._lesions[overview.slide]
        cells[where] = numbers
        return cells

    @property
    def prior(self) -> list[float]:
        """Share of each slide class among the training slides, one slide added to each."""
        counts = np.bincount([self.label[o.slide] for o in self._train], minlength=len(SLIDE_CLASSES)) + 1
        return (counts / counts.sum()).tolist()

    @property
    def annotated(self) -> bool:
        """Whether any training slide that the sensor accepts has annotated lesions. The same after a resume."""
        return any(self.lesion_cells(o).any() for o in self._train if o.slide not in self._refused)

    @property
    def contrasted(self) -> bool:
        """Whether sight can learn from labels alone: with slides that bear tumor, and negative ones. As `annotated`."""
        labels = [self.label[o.slide] for o in self._train if o.slide not in self._refused]
        return 0 in labels and any(bears_tumor(label) for label in labels)

    def run(self, phases: Sequence[Callable[[], Phase]]) -> None:
        """Run the phases in order, after those that were run before, from where the checkpoint left off.

        Every epoch ends in a checkpoint. A phase is made when its turn comes, because making it decides which
        variables learn.
        """
        for make in phases:
            number, self._next = self._next, self._next + 1
            if number < self.state.phase:
                continue
            if number > self.state.phase:
                self.state.phase, self.state.epoch, self.state.best = number, 0, None
                self.state.began_without = sorted(self.state.dropped)
            phase = make()
            if phase.epochs:
                self._run_phase(phase)

    def _run_phase(self, phase: Phase) -> None:
        phase.learner.optimizer.build(phase.learner.trainable_variables)
        if self.found and self.found["phase"] == self.state.phase:
            self.checkpoint.restore(phase.learner, self.found)
        for number in range(self.state.epoch, phase.epochs):
            if phase.over():
                log.info("%s ends after %d epochs: the validation loss stands still", phase.name, number)
                break
            begun, busy = time.perf_counter(), self.sensor.busy_s
            figures = phase.epoch(number)
            seconds = time.perf_counter() - begun
            row: Row = {"phase": phase.name, "epoch": number + 1, **figures, "seconds": seconds}
            if "glimpses" in row:
                row["glimpses_per_s"] = float(row.pop("glimpses")) / seconds
                row["readers_waited"] = 1 - (self.sensor.busy_s - busy) / seconds
            if "waited_s" in row:
                row["device_waited"] = float(row.pop("waited_s")) / seconds
            self.state.epoch = number + 1
            self.state.history.append(row)
            self.checkpoint.save(phase.learner, asdict(self.state))
            write_history(self.state.history, self.out / "history.csv")
            log_scalars(row, self.out / "tensorboard")
            shown = " ".join(f"{k}={v:.3g}" for k, v in row.items() if isinstance(v, float))
            log.info("%s %d/%d: %s", phase.name, number + 1, phase.epochs, shown)


def _truth(sample: Sample) -> list[str]:
    return [sample.slide, sample.label, sample.patient, sample.patient_label]


def _identity(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def mean_of(batches: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The mean of each figure over the batches of an epoch."""
    return {key: float(np.mean([batch[key] for batch in batches])) for key in (batches[0] if batches else {})}
