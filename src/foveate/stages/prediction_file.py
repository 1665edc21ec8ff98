"""A file of predictions, put together from those of its batches; `foveate.stages.predict.run` says what is in it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from foveate.files import atomic
from foveate.patients.staging import POLICIES
from foveate.slides.overview_file import StoredOverview
from foveate.stages.batch import Batch
from foveate.stages.patients import GROUP
from foveate.stages.rollout import Rollout

FORMAT, VERSION = "foveate.predictions", 1
NO_CELLS = np.empty((0, 2), np.int32)


def write_rollout(
    group: h5py.Group,
    overviews: Sequence[StoredOverview],
    rollout: Rollout,
    probabilities: NDArray[np.float32],
    kept: list[int],
) -> None:
    """Write what one policy did on the slides of a batch; kept: their rows in the rollout."""
    running = probabilities[kept]
    group.create_dataset("slide", data=[o.slide for o in overviews], dtype=h5py.string_dtype())
    group["probabilities"] = running[:, -1]
    group["running"] = running
    group["looked"] = rollout.looked[kept]
    location_um = rollout.location_um[kept]
    location_l0 = [o.geometry.um_to_l0(row) for o, row in zip(overviews, location_um, strict=True)]
    group["location_um"] = location_um
    group["location_l0"] = np.reshape(location_l0, location_um.shape).astype(np.float64)
    group["policy_probability"] = rollout.probability[kept]
    if rollout.scouted_um is not None:
        group["scouted_um"] = rollout.scouted_um[kept]


def write_attention(group: h5py.Group, batch: Batch, rollout: Rollout, kept: list[int]) -> None:
    """Write where the policy wanted to look on them."""
    if rollout.attention is None:
        raise ValueError("the rollout was not asked for its attention")
    tissue = [batch.candidates[row] >= 0 for row in kept]
    group["cells"] = np.array([t.sum() for t in tissue], np.int64)
    cell = [batch.home[row, t].astype(np.int32) for row, t in zip(kept, tissue, strict=True)]
    group["cell"] = np.concatenate(cell or [NO_CELLS])
    peaks = [rollout.attention[row, t] for row, t in zip(kept, tissue, strict=True)]
    group["attention"] = np.concatenate(peaks or [np.empty(0, np.float32)])


def failures(files: Sequence[Path]) -> dict[str, str]:
    """Slide or patient -> reason, of the batches in some files."""
    failed: dict[str, str] = {}
    for path in files:
        with h5py.File(path) as part:
            failed |= {str(k): str(v) for k, v in part["failed"].attrs.items()}
    return failed


def merge(
    slides: Sequence[Path],
    patients: Sequence[Path] | None,
    out: Path,
    attributes: dict[str, Any],
    failed: dict[str, str],
) -> None:
    """Join the batches into one file, a batch in memory at a time. patients: None where there is no patient agent."""
    with atomic(out) as partial, h5py.File(partial, "w") as file:
        file.attrs.update(format=FORMAT, version=VERSION, **attributes)
        file.create_group("failed").attrs.update(failed)
        _join(file, slides)
        if patients is not None:
            group = file.create_group(GROUP)
            group.create_group("failed").attrs.update(failures(patients))
            _join(group, patients)


def _join(file: h5py.Group, files: Sequence[Path]) -> None:
    for policy in POLICIES:
        group = file.create_group(policy)
        for path in files:
            with h5py.File(path) as part:
                for name, values in part[policy].items():
                    _append(group, name, values)


def _append(group: h5py.Group, name: str, values: h5py.Dataset) -> None:
    if name not in group:
        pixels = {"compression": "gzip", "compression_opts": 1} if name == "glimpses" else {}
        chunk = ({"glimpses": 1, "cell": 4096, "attention": 4096}.get(name, 64), *values.shape[1:])
        group.create_dataset(
            name,
            (0, *values.shape[1:]),
            values.dtype,
            maxshape=(None, *values.shape[1:]),
            chunks=chunk,
            **pixels,
        )
    whole = group[name]
    whole.resize(len(whole) + len(values), axis=0)
    whole[len(whole) - len(values) :] = values[:]
