"""Keras files from elsewhere."""

import zipfile
from pathlib import Path
from typing import Any

import keras

from foveate.errors import FoveateError


def load_keras(path: Path) -> Any:
    """The model of a Keras file. Keras' safe mode refuses code in it.

    Raises FoveateError for what is no such file.
    """
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, TypeError, OSError, KeyError, zipfile.BadZipFile) as error:
        raise FoveateError(f"{path}: is no model that this version can read: {error}") from error
