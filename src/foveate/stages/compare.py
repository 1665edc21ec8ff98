"""The comparison: what looking in the right place is worth, against random places, a static ranking, and everything.

The same slides and the same weights throughout. Exhaustive reading is as costly as it is, so `rule all` leaves the
comparison out: `snakemake compare`.
"""

import logging
import shutil
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import h5py
import numpy as np

from foveate.cohort.folds import Fold
from foveate.cohort.samples import Sample
from foveate.config import Config
from foveate.errors import FoveateError
from foveate.files import atomic, sha256, write_text
from foveate.patients.stages import SLIDE_CLASSES
from foveate.progress import progress
from foveate.slides.overview_file import StoredOverview
from foveate.stages.cohort import open_cohort
from foveate.stages.comparison.exhaustive import CellSurvey
from foveate.stages.comparison.looking import WAYS, Looker, Looks
from foveate.stages.comparison.parts import Parts, read_cells
from foveate.stages.comparison.readouts import Labelled, Readouts, fit
from foveate.stages.comparison.roles import roles
from foveate.stages.comparison.table import FORMAT, VERSION, table
from foveate.stages.determinism import seeded
from foveate.stages.keras_file import load_agent
from foveate.stages.plan import Plan
from foveate.stages.predict import match, readable

log = logging.getLogger(__name__)


def run(config: Config, samples: Mapping[str, Sample], fold: Fold, overviews: Path, weights: Path, out: Path) -> None:
    """Compare all ways to look with one model, on `fold.test`.

    samples: by slide. Writes `out` (HDF5), of n slides that every way could read, P numbers of glimpses and K classes:
    attributes format, version, fold, weights_sha256, glimpses (P,), fitted (numbers of training and validation slides
    that readouts were fitted on); slide (n,); the group `failed`, slide -> reason; `looks/{way}` with probabilities
    (n, R, P, K) of R rollouts, tissue (n, R, P), the share of tissue area seen at the finest scale, and costs
    (n, R, P, 3), seconds, CPU seconds and pixels decoded; and `exhaustive` with tissue, cells (n,), costs (n, 3), and
    probabilities/"{pooling}, {readout}" (n, K).
    """
    seeded(config.train.seed)
    agent = load_agent(weights)
    cohort = open_cohort([samples[slide] for slide in fold.test], overviews)
    match(agent, cohort)
    weights_sha256 = sha256(weights)
    share, threads, seed = config.tissue.cell_share, config.predict.threads, config.train.seed
    folder, after = out.with_suffix(".parts"), points(config)
    looker = Looker(agent, threads, after, config.compare.repeats, share)
    with looker.sensor:
        usable, failed = readable(looker.sensor, cohort, share)
        parts = Parts(folder, (weights_sha256, share, seed, after, config.compare.repeats, config.predict))
        looks, errors = _look(looker, parts, usable, config.predict.batch, [seed, 4, zlib.crc32(fold.name.encode())])
    survey = CellSurvey(agent, threads, share)
    with survey.sensor:
        parts = Parts(folder, (weights_sha256, share, threads))
        train, val = (
            _labelled(survey, parts, [samples[slide] for slide in part], overviews, share)
            for part in ((fold.train, fold.val) if config.compare.fit and fold.test else ([], []))
        )
        files, more = _survey(survey, parts, usable, "compare: every cell")
    failed |= errors | more
    readouts = fit(train, val, len(SLIDE_CLASSES), seed)
    with atomic(out) as unfinished, h5py.File(unfinished, "w") as file:
        file.attrs.update(format=FORMAT, version=VERSION, fold=fold.name, weights_sha256=weights_sha256, glimpses=after)
        file.attrs["fitted"] = [len(train.files), len(val.files)]
        file.create_group("failed").attrs.update(failed)
        kept = sorted(o.slide for o in usable if o.slide not in failed)
        file.create_dataset("slide", data=kept, dtype=h5py.string_dtype())
        for way, found in looks.items():
            rows = [found.slides.index(slide) for slide in kept]
            for name in ("probabilities", "tissue", "costs"):
                file[f"looks/{way}/{name}"] = getattr(found, name)[rows]
        _conclude(file.create_group("exhaustive"), readouts, [files[slide] for slide in kept])
    shutil.rmtree(folder, ignore_errors=True)


def _conclude(group: h5py.Group, readouts: Readouts, files: Sequence[Path]) -> None:
    """Write what exhaustive reading concludes of the slides with these files of cells, one in memory at a time."""
    found: dict[str, list[object]] = defaultdict(list)
    for path in files:
        cells = read_cells(path)
        for name, value in (("tissue", cells.tissue), ("costs", cells.costs), ("cells", len(cells.evidence))):
            found[name].append(value)
        for (pooling, readout), probabilities in readouts.conclude(cells).items():
            found[f"probabilities/{pooling}, {readout}"].append(probabilities)
    for name, values in found.items():
        group[name] = np.array(values)


def summarise(config: Config, plan: Plan, files: Sequence[Path], out: Path) -> None:
    """Write compare.tsv from the files of all jobs of the plan; see `comparison.table`.

    Raises FoveateError where no slide was tested: a table without rows would look like a fault of the models.
    """
    if not any(roles(plan, name).test for name in plan.jobs):
        raise FoveateError(
            "there is nothing to compare: no slide that a model is tested on has a label, its own or its patient's. "
            "Expected some in the split `test` of the samples sheet, or folds that test labelled slides"
        )
    write_text(out, table(files, plan, config.patients.bootstrap, config.glimpse.count))


def points(config: Config) -> list[int]:
    """The numbers of glimpses after which the ways are compared."""
    return sorted({*config.compare.glimpses, config.glimpse.count})


def _look(
    looker: Looker, parts: Parts, overviews: Sequence[StoredOverview], size: int, seed: list[int]
) -> tuple[dict[str, Looks], dict[str, str]]:
    """Every way over all slides, a batch at a time; and slide -> reason for what could not be read."""
    batches = [overviews[first : first + size] for first in range(0, len(overviews), size)]
    work = [(way, number) for number in range(len(batches)) for way in WAYS]
    found: dict[str, list[Looks]] = {way: [] for way in WAYS}
    for way, number in progress(work, "compare: looking"):
        rng = np.random.default_rng([*seed, number, list(WAYS).index(way)])
        batch = batches[number]
        found[way].append(parts.looks(way, batch, partial(looker.look, way, batch, rng)))
    errors = {slide: reason for looks in found.values() for one in looks for slide, reason in one.errors.items()}
    for slide, reason in errors.items():
        log.error("%s: %s", slide, reason)
    return {way: _joined(looks) for way, looks in found.items() if looks}, errors


def _joined(looks: Sequence[Looks]) -> Looks:
    arrays = {n: np.concatenate([getattr(one, n) for one in looks]) for n in ("probabilities", "tissue", "costs")}
    return Looks([slide for one in looks for slide in one.slides], **arrays, errors={})


def _survey(
    survey: CellSurvey, parts: Parts, overviews: Sequence[StoredOverview], what: str
) -> tuple[dict[str, Path], dict[str, str]]:
    """Slide to the file of its cells, and slide -> reason for what could not be read."""
    files, failed = {}, {}
    for overview in progress(overviews, what):
        found = parts.cells(overview, partial(survey.read, overview))
        if isinstance(found, Path):
            files[overview.slide] = found
        else:
            log.error("%s: %s", overview.slide, found)
            failed[overview.slide] = found
    return files, failed


def _labelled(survey: CellSurvey, parts: Parts, samples: Sequence[Sample], overviews: Path, share: float) -> Labelled:
    """Slides that readouts learn from or are chosen by. What cannot be read is left out, as in training."""
    label = {sample.slide: SLIDE_CLASSES.index(sample.label) for sample in samples}
    cohort, _ = readable(survey.sensor, open_cohort(samples, overviews), share)
    files, _ = _survey(survey, parts, cohort, "compare: every cell to fit on")
    return Labelled(list(files.values()), [label[slide] for slide in files])
