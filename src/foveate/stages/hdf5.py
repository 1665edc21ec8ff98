"""HDF5 files that another job has written."""

from pathlib import Path

import h5py

from foveate.errors import FoveateError


def open_hdf5(path: Path) -> h5py.File:
    """Open for reading. Raises FoveateError for a file that is not there or is none."""
    try:
        return h5py.File(path)
    except OSError as error:
        raise FoveateError(f"{path}: cannot be read as HDF5: {error}") from error
