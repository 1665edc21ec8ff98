import os
from pathlib import Path

import keras
import numpy as np
import pytest

from foveate.digits.mnist import load
from foveate.errors import FoveateError

SHARED = os.environ.get("FOVEATE_SHARED")


def arrays(train: int = 6, test: int = 3) -> dict[str, np.ndarray]:
    """Image i of the training set is all i, of the test set all 100 + i; its label is i modulo 10."""
    made = {}
    for part, first, count in (("train", 0, train), ("test", 100, test)):
        numbers = np.arange(count, dtype=np.uint8)
        made[f"x_{part}"] = np.broadcast_to(numbers[:, None, None] + first, (count, 28, 28)).astype(np.uint8)
        made[f"y_{part}"] = numbers % 10
    return made


def saved(folder: Path, **changed: np.ndarray) -> Path:
    path = folder / "mnist.npz"
    np.savez(path, **{**arrays(), **changed})
    return path


def test_the_last_of_the_training_images_are_the_validation_set(tmp_path: Path) -> None:
    mnist = load(saved(tmp_path), validation=2)
    for digits, firsts, labels in (
        (mnist.train, [0, 1, 2, 3], [0, 1, 2, 3]),
        (mnist.validation, [4, 5], [4, 5]),
        (mnist.test, [100, 101, 102], [0, 1, 2]),
    ):
        assert digits.images[:, 0, 0].tolist() == firsts
        assert digits.labels.tolist() == labels
        assert digits.images.shape[1:] == (28, 28)
        assert (digits.images.dtype, digits.labels.dtype) == (np.uint8, np.int32)


def test_a_validation_set_may_be_empty_but_not_all(tmp_path: Path) -> None:
    assert len(load(saved(tmp_path), validation=0).validation.labels) == 0
    for validation in (6, 7, -1):
        with pytest.raises(FoveateError, match=f"x_train: 6 images cannot be split .* {validation} to validate"):
            load(saved(tmp_path), validation=validation)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x_train": np.zeros((6, 27, 28), np.uint8)}, r"x_train: expected uint8 .*Received: uint8 \(6, 27, 28\)"),
        ({"x_test": np.zeros((3, 784), np.uint8)}, r"x_test: expected uint8 .*Received: uint8 \(3, 784\)"),
        ({"x_test": np.zeros((3, 28, 28))}, r"x_test: expected uint8 .*Received: float64"),
        ({"x_test": np.zeros((0, 28, 28), np.uint8)}, r"x_test: expected uint8 .*Received: uint8 \(0, 28, 28\)"),
        ({"y_train": np.zeros(5, np.uint8)}, r"y_train: expected integers of shape \(6,\).*Received: uint8 \(5,\)"),
        ({"y_test": np.zeros(3)}, r"y_test: expected integers .*Received: float64"),
        ({"y_test": np.array([0, 10, 1])}, r"y_test: expected labels from 0 to 9. Received: 0 to 10"),
        ({"y_train": np.array([0, -1, 1, 2, 3, 4])}, r"y_train: expected labels from 0 to 9. Received: -1 to 4"),
        ({"x_train": np.array([None] * 6)}, r"an array cannot be read"),  # would need pickle
    ],
)
def test_arrays_that_are_not_mnist(tmp_path: Path, changed: dict[str, np.ndarray], message: str) -> None:
    path = saved(tmp_path, **changed)
    with pytest.raises(FoveateError, match=message) as raised:
        load(path, validation=1)
    assert str(raised.value).startswith(f"{path}: ")


def test_files_that_are_not_mnist(tmp_path: Path) -> None:
    text, single, cut, few = (tmp_path / name for name in ("text.npz", "single.npy", "cut.npz", "few.npz"))
    text.write_text("not an archive")
    np.save(single, np.zeros(3))
    cut.write_bytes(saved(tmp_path).read_bytes()[:1000])
    np.savez(few, **{name: array for name, array in arrays().items() if name[0] == "x"})
    for path, message in (
        (tmp_path / "absent.npz", "no such file"),
        (tmp_path, "cannot be read"),
        (text, "not an npz file"),
        (single, "a single array"),
        (cut, "not an npz file"),
        (few, "no array y_train, y_test;"),
    ):
        with pytest.raises(FoveateError, match=message) as raised:
            load(path)
        assert str(path) in str(raised.value)
        assert "expected an npz file with the arrays x_train, y_train, x_test and y_test" in str(raised.value)


def test_a_file_with_a_spoilt_array(tmp_path: Path) -> None:
    path = tmp_path / "mnist.npz"
    np.savez_compressed(path, **arrays())
    content = bytearray(path.read_bytes())
    content[100:140] = bytes(40)  # within the first array's compressed data
    path.write_bytes(content)
    with pytest.raises(FoveateError, match=r"mnist.npz: an array cannot be read"):
        load(path)


def test_without_a_file_keras_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    made = arrays()
    pairs = (made["x_train"], made["y_train"]), (made["x_test"], made["y_test"])
    monkeypatch.setattr(keras.datasets.mnist, "load_data", lambda: pairs)
    mnist = load(None, validation=1)
    assert (mnist.validation.labels.tolist(), mnist.test.labels.tolist()) == ([5], [0, 1, 2])


def test_without_file_or_network_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network() -> None:
        raise Exception("URL fetch failure:\n no route to host")

    monkeypatch.setattr(keras.datasets.mnist, "load_data", no_network)
    with pytest.raises(FoveateError, match=r"\(URL fetch failure: no route to host\); .* --mnist FILE, an mnist\.npz"):
        load(None)


@pytest.mark.skipif(not SHARED, reason="FOVEATE_SHARED is not set")
def test_mnist_itself() -> None:
    mnist = load(Path(str(SHARED)) / "data" / "mnist.npz")
    parts = (mnist.train, mnist.validation, mnist.test)
    assert [len(p.labels) for p in parts] == [len(p.images) for p in parts] == [55000, 5000, 10000]
    assert mnist.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert mnist.test.labels[:5].tolist() == [7, 2, 1, 0, 4]
