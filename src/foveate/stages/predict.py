"""The prediction stage: many slides a job, learned and random locations side by side."""

import hashlib
import logging
import shutil
import zlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
from keras import ops

from foveate.attention.agent import Agent
from foveate.cohort.samples import Sample
from foveate.config import Config
from foveate.errors import FoveateError, SlideError
from foveate.files import atomic, sha256
from foveate.patients.staging import POLICIES
from foveate.progress import progress
from foveate.slides.overview_file import StoredOverview
from foveate.slides.sensor import GlimpseSensor
from foveate.stages.batch import common_shape, make_batch
from foveate.stages.cohort import open_cohort
from foveate.stages.determinism import seeded
from foveate.stages.keras_file import load_agent, load_patient_agent
from foveate.stages.predict_patients import EXPLORE, PatientPredictor
from foveate.stages.prediction_file import failures, merge, write_attention, write_rollout
from foveate.stages.provenance import source_digest
from foveate.stages.rollout import SHORTLIST, Roller, side_by_side

log = logging.getLogger(__name__)


class Predictor:
    """Predicts in batches; each finished batch is a file, so that a kill costs at most one.

    Parameters
    ----------
    weights : model file; with the configuration and the slides it names the folder of finished batches.
    fold : whose model it is; the models of an ensemble look at random places of their own.
    patient_weights : model file of the patient agent, if there is one.
    """

    def __init__(
        self,
        config: Config,
        weights: Path,
        overviews: Sequence[StoredOverview],
        parts: Path,
        fold: str,
        patient_weights: Path | None = None,
    ) -> None:
        seeded(config.train.seed)
        self.config, self._fold = config, fold
        self.agent = load_agent(weights)
        self.patient_agent = load_patient_agent(patient_weights) if patient_weights else None
        match(self.agent, overviews)
        self._match_patient_agent()
        self.sensor = GlimpseSensor(**self.agent.sensor, threads=config.predict.threads)
        self.rollers = {
            p: Roller(self.agent, self.sensor, how, stop=True, attention=p == "learned", shortlist=SHORTLIST)
            for p, how in EXPLORE.items()
        }
        self.weights_sha256 = sha256(weights)
        seen = [identity(o) for o in overviews]
        chosen = (config.predict, config.tissue, config.glimpse.count, config.train.seed, config.patient_agent.budget)
        over_patients = sha256(patient_weights) if patient_weights else ""
        key = repr((self.weights_sha256, over_patients, fold, chosen, seen, source_digest()))
        self.parts = parts / hashlib.sha256(key.encode()).hexdigest()[:16]

    def _match_patient_agent(self) -> None:
        if self.patient_agent is None:
            return
        settings, inner = self.agent.settings, self.patient_agent.slides.settings
        for name in ("scales_mpp", "glimpse_px", "stain_od", "overview_mpp", "cell_um"):
            if inner[name] != settings[name]:
                raise FoveateError(
                    f"the patient agent looks with {name} {inner[name]}, the model of slides with {settings[name]}"
                )

    def run(self, overviews: Sequence[StoredOverview]) -> tuple[list[Path], dict[str, str]]:
        """Predict all slides; returns the files of the batches, and slide -> reason for those that failed."""
        size = self.config.predict.batch
        usable, failed = readable(self.sensor, overviews, self.config.tissue.cell_share)
        files = []
        for first in progress(range(0, len(usable), size), "predict"):
            path = self.parts / f"{first:06d}.h5"
            if not path.exists():
                self._batch(usable[first : first + size], first, path)
            files.append(path)
        return files, failed | failures(files)

    def run_patients(
        self, samples: Sequence[Sample], overviews: Sequence[StoredOverview], failed: set[str]
    ) -> list[Path]:
        """Predict the patients of whom every slide has an overview and did not fail; see `PatientPredictor.run`."""
        if self.patient_agent is None:
            return []
        by_slide = {o.slide: o for o in overviews if o.slide not in failed}
        slides: dict[str, list[str]] = defaultdict(list)
        for s in samples:
            slides[s.patient].append(s.slide)
        whole = {
            patient: [by_slide[slide] for slide in sorted(own)]
            for patient, own in slides.items()
            if by_slide.keys() >= set(own)
        }
        predictor = PatientPredictor(self.config, self.patient_agent, self.sensor, self._fold, self.parts)
        return predictor.run(whole)

    def _batch(self, overviews: Sequence[StoredOverview], first: int, path: Path) -> None:
        share = self.config.tissue.cell_share
        batch = make_batch(overviews, common_shape(overviews, share), share)
        rng = np.random.default_rng([self.config.train.seed, 2, first, zlib.crc32(self._fold.encode())])
        work = (self.rollers[policy].turns(batch, self.config.glimpse.count, rng) for policy in POLICIES)
        rollouts = dict(zip(POLICIES, side_by_side(work), strict=True))
        errors = {row: e for rollout in rollouts.values() for row, e in rollout.errors.items()}
        for error in errors.values():
            log.error("%s", error)
        kept = [row for row in range(len(overviews)) if row not in errors]
        with atomic(path) as partial, h5py.File(partial, "w") as file:
            file.create_group("failed").attrs.update({e.slide: e.reason for e in errors.values()})
            for name, rollout in rollouts.items():
                group = file.create_group(name)
                running = ops.convert_to_numpy(self.agent.probabilities(rollout.logits))
                write_rollout(group, [overviews[k] for k in kept], rollout, running, kept)
                last = self.agent.probabilities(rollout.logits[:, -1], calibrated=False)
                group["uncalibrated"] = ops.convert_to_numpy(last)[kept]
                if name == "learned":
                    group["glimpses"] = rollout.pixels[kept]
                    write_attention(group, batch, rollout, kept)


def match(agent: Agent, overviews: Sequence[StoredOverview]) -> None:
    """Raise FoveateError if the overviews of a cohort are not of the kind that the model was trained with."""
    for overview in overviews[:1]:
        found = {"overview_mpp": overview.mpp, "cell_um": overview.cell_um}
        for name, value in found.items():
            if abs(value - agent.settings[name]) > 1e-6:
                raise FoveateError(
                    f"the model was trained with {name} {agent.settings[name]:g}, the overviews have {value:g}"
                )


def readable(
    sensor: GlimpseSensor, overviews: Sequence[StoredOverview], cell_share: float
) -> tuple[list[StoredOverview], dict[str, str]]:
    """The slides that are fine enough, in the order of batches; slide -> reason of the others.

    Slides of one size stand together, so that little is padded and few shapes are compiled.
    """
    usable, failed = [], {}
    for overview in overviews:
        try:
            for warning in sensor.check(overview):
                log.warning("%s: %s", overview.slide, warning)
            usable.append(overview)
        except SlideError as error:
            log.error("%s", error)
            failed[error.slide] = error.reason
    return sorted(usable, key=lambda o: (*common_shape([o], cell_share), o.slide)), failed


def identity(overview: StoredOverview) -> tuple[object, ...]:
    """What the model sees of a slide without reading it, in short."""
    images = (overview.thumbnail, overview.coarse_at.open(), overview.cell_tissue)
    sums = (zlib.crc32(image.tobytes()) for image in images)
    return overview.slide, overview.geometry, overview.cell_um, overview.coarse_um, overview.background_rgb, *sums


def run(
    config: Config,
    samples: Sequence[Sample],
    overviews: Path,
    weights: Path,
    out: Path,
    *,
    fold: str,
    patient_weights: Path | None = None,
) -> None:
    """Predict `samples` with one model, and the patients whose slides they are with its patient agent, if it has one.

    Writes `out` (HDF5): attributes format, version, fold, scales_mpp (S,), glimpse_px, n_glimpses, classes,
    weights_sha256, temperature (of the model); the group `failed` with slide -> reason as attributes; and for the
    policies `learned` (greedy) and `random` (uniform over tissue cells, same budget): slide (n,); probabilities
    (n, 4), and uncalibrated (n, 4), what they were with temperature 1; running (n, T, 4) after each fixation,
    calibrated; looked (n,), the fixations that were made until the model's stop network ended it, T without one;
    location_um and location_l0 (n, T, 2) x, y; policy_probability (n, T); and for `learned` glimpses
    (n, T, S, g, g, 3) uint8, finest scale first. After the stop running stays as it was, locations are NaN, the rest 0.
    Also for `learned`, where the policy wanted to look: cells (n,), the tissue cells of each slide, and of these, one
    slide after the other, cell (sum of cells, 2), row and column on the overview's grid, and attention (sum of cells,),
    the highest probability that the policy gave it before any of the fixations. Where the model has a scout, also for
    `learned` scouted_um (n, K, 2), the middles x, y of the squares that it went over, NaN where there were fewer; their
    side is the attribute scouted_side_um.

    With a patient agent, the group `patient_agent`: again the groups `failed`, patient -> reason, and `learned` and
    `random`, over slides as over places, with the same budget: patient (n,); slides (n, S) names, "" where there is
    none; probabilities (n, 5) of the stages; running (n, T, 5) after each fixation; picked (n, T), which of the slides;
    location_um and location_l0 (n, T, 2). Where a patient's budget is smaller, picked is -1 and the rest NaN. Patients
    of whom a slide failed are in none.
    """
    cohort = open_cohort(samples, overviews)
    parts = out.with_suffix(".parts")
    predictor = Predictor(config, weights, cohort, parts, fold, patient_weights)
    with predictor.sensor:
        files, failed = predictor.run(cohort)
        over_patients = predictor.run_patients(samples, cohort, set(failed))
    settings, scout = predictor.agent.settings, predictor.agent.scout
    merge(
        files,
        over_patients if patient_weights else None,
        out,
        {
            "fold": fold,
            "scales_mpp": settings["scales_mpp"],
            "glimpse_px": settings["glimpse_px"],
            "n_glimpses": config.glimpse.count,
            "classes": settings["classes"],
            "weights_sha256": predictor.weights_sha256,
            "temperature": settings["temperature"],
            **({} if scout is None else {"scouted_side_um": scout.px * scout.mpp}),
        },
        failed,
    )
    shutil.rmtree(parts, ignore_errors=True)
