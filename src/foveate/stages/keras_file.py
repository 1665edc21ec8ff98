"""Keras files from elsewhere."""

import zipfile
from pathlib import Path
from typing import Any

import keras

from foveate.errors import FoveateError


def load_keras(path: Path, key: str) -> Any:
    """The model of the Keras file that a key of the configuration names. Keras' safe mode refuses code in it.

    Raises FoveateError for a file that is not there or is no such file.
    """
    if not path.exists():
        raise FoveateError(f"{path} does not exist; train a model first, or correct {key}")
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, TypeError, OSError, KeyError, zipfile.BadZipFile) as error:
        raise FoveateError(f"{path}: is no model that this version can read: {error}") from error
