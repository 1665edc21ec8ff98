from pathlib import Path

import numpy as np
import pytest

TRAIN, TEST = 5400, 40


@pytest.fixture(scope="session")
def mnist_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An mnist.npz of made-up digits: digit k is a bright bar, 10 px wide, that begins at row 2 * k."""
    rng = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", TRAIN), ("test", TEST)):
        labels = rng.integers(0, 10, count).astype(np.uint8)
        rows = np.arange(28)[None, :, None]
        bar = (rows >= 2 * labels[:, None, None]) & (rows < 2 * labels[:, None, None] + 10)
        arrays[f"x_{part}"] = np.where(bar, 255, rng.integers(0, 60, (count, 28, 28))).astype(np.uint8)
        arrays[f"y_{part}"] = labels
    path = tmp_path_factory.mktemp("mnist") / "mnist.npz"
    np.savez(path, **arrays)
    return path
