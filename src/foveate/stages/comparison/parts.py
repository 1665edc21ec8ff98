"""What a comparison has finished, as files, so that a kill costs one batch or one slide."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from foveate.errors import SlideError
from foveate.files import atomic
from foveate.slides.overview_file import StoredOverview
from foveate.stages.comparison.exhaustive import Cells
from foveate.stages.comparison.looking import Looks
from foveate.stages.predict import identity
from foveate.stages.provenance import source_digest


class Parts:
    """A folder of finished work.

    Parameters
    ----------
    settings : what the work depends on besides the code and the slides, by its `repr`: the weights among it.
    """

    def __init__(self, folder: Path, settings: object) -> None:
        self._folder, self._settings = folder, repr((settings, source_digest()))
        self._identities: dict[str, tuple[object, ...]] = {}

    def looks(self, way: str, overviews: Sequence[StoredOverview], make: Callable[[], Looks]) -> Looks:
        """What a way saw of a batch, from the file or made now."""
        path = self._path(way, overviews)
        if not path.exists():
            found = make()
            with atomic(path) as partial, h5py.File(partial, "w") as file:
                file.attrs.update(slides=json.dumps(found.slides), errors=json.dumps(found.errors))
                for name in ("probabilities", "tissue", "costs"):
                    file[name] = getattr(found, name)
        with h5py.File(path) as file:
            arrays = {name: file[name][:] for name in ("probabilities", "tissue", "costs")}
            return Looks(json.loads(file.attrs["slides"]), **arrays, errors=json.loads(file.attrs["errors"]))

    def cells(self, overview: StoredOverview, make: Callable[[], Cells]) -> "Path | str":
        """The file of every cell of a slide, that is there or made now; or why the slide cannot be read."""
        path = self._path("cells", [overview])
        if not path.exists():
            with atomic(path) as partial, h5py.File(partial, "w") as file:
                try:
                    found = make()
                except SlideError as error:
                    file.attrs["failed"] = error.reason
                else:
                    for name in ("evidence", "vectors", "salience", "tissue", "costs"):
                        file[name] = getattr(found, name)
        with h5py.File(path) as file:
            return str(file.attrs["failed"]) if "failed" in file.attrs else path

    def _path(self, kind: str, overviews: Sequence[StoredOverview]) -> Path:
        for o in overviews:
            if o.slide not in self._identities:
                self._identities[o.slide] = identity(o)
        key = repr((self._settings, kind, [self._identities[o.slide] for o in overviews]))
        name = hashlib.sha256(key.encode()).hexdigest()[:24]
        return self._folder / f"{kind}-{name}.h5"


def read_cells(path: Path) -> Cells:
    """Read a file of `Parts.cells`."""
    with h5py.File(path) as file:
        arrays = {name: file[name][...] for name in ("evidence", "vectors", "salience", "costs")}
        return Cells(**arrays, tissue=float(file["tissue"][()]))


def read_vectors(path: Path) -> NDArray[np.float32]:
    """The glimpse vectors (N, F) alone."""
    with h5py.File(path) as file:
        return np.asarray(file["vectors"][:])
