"""The MNIST digits: from a file, or downloaded."""

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from foveate.errors import FoveateError

DIGIT_PX = 28
PARTS = ("train", "test")
EXPECTED = "expected an npz file with the arrays x_train, y_train, x_test and y_test"


@dataclass(frozen=True)
class Digits:
    """images: (n, 28, 28) uint8, ink is bright; labels: (n,) int32, 0 to 9."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int32]


@dataclass(frozen=True)
class Mnist:
    train: Digits
    validation: Digits
    test: Digits


def load(path: Path | None, validation: int = 5000) -> Mnist:
    """Read MNIST from the npz file at `path`, or through Keras, which downloads it once, when that is None.

    The last `validation` images of the training set are the validation set, the rest is left to train on.
    Raises FoveateError when the file cannot be used, or when there is no file and no download.
    """
    arrays = _downloaded() if path is None else _read(path)
    source = "the downloaded MNIST" if path is None else str(path)
    both, test = (_digits(source, part, arrays) for part in PARTS)
    left = len(both.labels) - validation
    if not 0 < left <= len(both.labels):
        raise FoveateError(
            f"{source}: x_train: {len(both.labels)} images cannot be split into some to train on and {validation} "
            "to validate"
        )
    train, held_out = (Digits(both.images[s], both.labels[s]) for s in (slice(None, left), slice(left, None)))
    return Mnist(train, held_out, test)


def _read(path: Path) -> dict[str, NDArray]:
    try:
        with path.open("rb") as file:  # NumPy leaves open what it opened and cannot read
            return _unpacked(path, file)
    except FileNotFoundError:
        raise FoveateError(f"{path}: no such file; {EXPECTED}") from None
    except OSError as error:
        raise FoveateError(f"{path}: cannot be read ({error.strerror or error}); {EXPECTED}") from None


def _unpacked(path: Path, file: BinaryIO) -> dict[str, NDArray]:
    try:
        found = np.load(file, allow_pickle=False)
    except (ValueError, EOFError, zipfile.BadZipFile):
        raise FoveateError(f"{path}: not an npz file; {EXPECTED}") from None
    if not isinstance(found, np.lib.npyio.NpzFile):
        raise FoveateError(f"{path}: a single array, not an npz file; {EXPECTED}")
    names = [f"{axis}_{part}" for part in PARTS for axis in "xy"]
    missing = [name for name in names if name not in found.files]
    if missing:
        raise FoveateError(f"{path}: no array {', '.join(missing)}; {EXPECTED}")
    try:
        return {name: found[name] for name in names}
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise FoveateError(f"{path}: an array cannot be read ({error}); {EXPECTED}") from None


def _downloaded() -> dict[str, NDArray]:
    import keras  # seconds to import, and only needed here

    try:
        (x_train, y_train), (x_test, y_test) = keras.datasets.mnist.load_data()
    except Exception as error:  # Keras raises no narrower one
        cause = " ".join(str(error).split()) or type(error).__name__
        raise FoveateError(
            f"MNIST cannot be downloaded ({cause}); name a file instead: --mnist FILE, an mnist.npz with the arrays "
            "x_train, y_train, x_test and y_test"
        ) from error
    return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}


def _digits(source: str, part: str, arrays: dict[str, NDArray]) -> Digits:
    images, labels = arrays[f"x_{part}"], arrays[f"y_{part}"]
    if images.ndim != 3 or images.shape[1:] != (DIGIT_PX, DIGIT_PX) or images.dtype != np.uint8 or not len(images):
        raise FoveateError(
            f"{source}: x_{part}: expected uint8 images of shape (n, {DIGIT_PX}, {DIGIT_PX}). "
            f"Received: {images.dtype} {images.shape}"
        )
    if labels.shape != images.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise FoveateError(
            f"{source}: y_{part}: expected integers of shape ({len(images)},), one for each image. "
            f"Received: {labels.dtype} {labels.shape}"
        )
    if labels.min() < 0 or labels.max() > 9:
        raise FoveateError(
            f"{source}: y_{part}: expected labels from 0 to 9. Received: {labels.min()} to {labels.max()}"
        )
    return Digits(images, labels.astype(np.int32))
