"""The part of the prediction stage that looks over all slides of a patient at once, in batches as for slides."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from foveate.attention.patient_agent import PatientAgent
from foveate.config import Config
from foveate.files import atomic
from foveate.patients.stages import PN_STAGES
from foveate.patients.staging import POLICIES
from foveate.progress import progress
from foveate.slides.overview_file import StoredOverview
from foveate.slides.sensor import GlimpseSensor
from foveate.stages.batch import common_shape
from foveate.stages.patient_rollout import PatientRoller, PatientRollout, patient_batch
from foveate.stages.rollout import side_by_side

log = logging.getLogger(__name__)
EXPLORE = {"learned": "greedy", "random": "random"}  # how each of the policies looks


class PatientPredictor:
    """Predicts patients in batches; each finished batch is a file, so that a kill costs at most one.

    Parameters
    ----------
    own : names the model, so that those of an ensemble look at random places of their own.
    parts : folder of finished batches; it is another one for another model, configuration or slides.
    """

    def __init__(self, config: Config, agent: PatientAgent, sensor: GlimpseSensor, own: str, parts: Path) -> None:
        self._config, self._own, self._parts = config, int(own[:8], 16), parts
        a_slide = config.patient_agent.budget * config.glimpse.count
        self._rollers = {policy: PatientRoller(agent, sensor, how, a_slide) for policy, how in EXPLORE.items()}

    def run(self, patients: Mapping[str, Sequence[StoredOverview]]) -> list[Path]:
        """Files of the finished batches: groups learned and random, and failed, patient -> reason as attributes."""
        most = max(map(len, patients.values()), default=0)
        names = sorted(patients, key=lambda patient: (len(patients[patient]), patient))
        size = max(1, self._config.predict.batch // max(1, most))
        files = []
        for first in progress(range(0, len(names), size), "patients"):
            path = self._parts / f"patients-{first:06d}.h5"
            if not path.exists():
                self._batch({name: patients[name] for name in names[first : first + size]}, most, first, path)
            files.append(path)
        return files

    def _batch(self, patients: Mapping[str, Sequence[StoredOverview]], most: int, first: int, path: Path) -> None:
        own, names, share = list(patients.values()), list(patients), self._config.tissue.cell_share
        shape = common_shape([overview for slides in own for overview in slides], share)
        batch = patient_batch(own, shape, share, max(map(len, own)))
        rng = np.random.default_rng([self._config.train.seed, 3, first, self._own])
        work = (self._rollers[policy].turns(batch, rng) for policy in POLICIES)
        rollouts = dict(zip(POLICIES, side_by_side(work), strict=True))
        errors = {row: e for rollout in rollouts.values() for row, e in rollout.errors.items()}
        for row, error in errors.items():
            log.error("patient %s is left to its slides: %s", names[row], error)
        kept = [row for row in range(len(names)) if row not in errors]
        steps = int(self._rollers["learned"].budget(np.array(most)))
        with atomic(path) as partial, h5py.File(partial, "w") as file:
            file.create_group("failed").attrs.update({names[row]: str(e) for row, e in errors.items()})
            for policy, rollout in rollouts.items():
                group = file.create_group(policy)
                slides = [[o.slide for o in own[row]] + [""] * (most - len(own[row])) for row in kept]
                group.create_dataset("patient", data=[names[row] for row in kept], dtype=h5py.string_dtype())
                group.create_dataset(
                    "slides", data=np.array(slides, object).reshape(-1, most), dtype=h5py.string_dtype()
                )
                for name, values in _path(rollout, own, steps).items():
                    group[name] = values[kept]


def _path(
    rollout: PatientRollout, own: Sequence[Sequence[StoredOverview]], steps: int
) -> dict[str, NDArray[np.generic]]:
    """What is written of a rollout, filled up to `steps`: with NaN, slides with -1."""
    looked, spare = rollout.looking, ((0, 0), (0, steps - rollout.looking.shape[1]))
    running = np.where(looked[..., None], np.exp(rollout.answer), np.nan)
    um = np.where(looked[..., None], rollout.location_um, np.nan)
    l0 = um.astype(np.float64)
    for row, t in zip(*np.nonzero(looked), strict=True):
        l0[row, t] = own[row][rollout.picked[row, t]].geometry.um_to_l0(rollout.location_um[row, t][None])[0]
    filled = {"running": running, "location_um": um, "location_l0": l0}
    return {
        "probabilities": np.exp(rollout.answer[:, -1]).reshape(-1, len(PN_STAGES)),
        "picked": np.pad(np.where(looked, rollout.picked, -1).astype(np.int32), spare, constant_values=-1),
        **{name: np.pad(v, (*spare, (0, 0)), constant_values=np.nan) for name, v in filled.items()},
    }
