"""The part of the prediction stage that looks over all slides of a patient at once, in batches as for slides."""

import logging
import zlib
from collections import defaultdict
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
    fold : whose model it is; those of an ensemble look at random places of their own.
    parts : folder of finished batches; it is another one for another model, configuration or slides.
    """

    def __init__(self, config: Config, agent: PatientAgent, sensor: GlimpseSensor, fold: str, parts: Path) -> None:
        self._config, self._agent, self._sensor = config, agent, sensor
        self._fold, self._parts = fold, parts
        self._a_slide = config.patient_agent.budget * config.glimpse.count
        self._rollers: dict[int, dict[str, PatientRoller]] = {}

    def run(self, patients: Mapping[str, Sequence[StoredOverview]]) -> list[Path]:
        """Files of the finished batches: groups learned and random, and failed, patient -> reason as attributes."""
        by_count: dict[int, list[str]] = defaultdict(list)
        for name in sorted(patients):
            by_count[len(patients[name])].append(name)
        most, batches = max(by_count, default=0), []
        for count, names in sorted(by_count.items()):
            size = max(1, self._config.predict.batch // count)
            batches += [names[first : first + size] for first in range(0, len(names), size)]
        files = []
        for number, names in enumerate(progress(batches, "patients")):
            path = self._parts / f"patients-{number:06d}.h5"
            if not path.exists():
                self._batch({name: patients[name] for name in names}, most, number, path)
            files.append(path)
        return files

    def _rollers_for(self, count: int) -> dict[str, PatientRoller]:
        """One each policy for patients of so many slides: what is compiled is compiled for that number."""
        if count not in self._rollers:
            made = {p: PatientRoller(self._agent, self._sensor, how, self._a_slide) for p, how in EXPLORE.items()}
            self._rollers[count] = made
        return self._rollers[count]

    def _batch(self, patients: Mapping[str, Sequence[StoredOverview]], most: int, number: int, path: Path) -> None:
        """Patients with equally many slides; most: as many slides as the file has room for."""
        own, names, share = list(patients.values()), list(patients), self._config.tissue.cell_share
        rollers = self._rollers_for(len(own[0]))
        shape = common_shape([overview for slides in own for overview in slides], share)
        batch = patient_batch(own, shape, share, len(own[0]))
        rng = np.random.default_rng([self._config.train.seed, 3, number, zlib.crc32(self._fold.encode())])
        work = (rollers[policy].turns(batch, rng) for policy in POLICIES)
        rollouts = dict(zip(POLICIES, side_by_side(work), strict=True))
        errors = {row: e for rollout in rollouts.values() for row, e in rollout.errors.items()}
        for row, error in errors.items():
            log.error("patient %s is left to its slides: %s", names[row], error)
        kept = [row for row in range(len(names)) if row not in errors]
        steps = int(rollers["learned"].budget(np.array(most)))
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
