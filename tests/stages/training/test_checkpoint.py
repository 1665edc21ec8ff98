from pathlib import Path

import keras
import numpy as np
import pytest

from foveate.stages.training.checkpoint import Checkpoint, save_weights

X, Y = np.arange(12, dtype=np.float32).reshape(4, 3), np.arange(4, dtype=np.float32)[:, None]


def model(seed: int) -> keras.Model:
    """A compiled and built model; its optimizer has state."""
    keras.utils.set_random_seed(seed)
    made = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), keras.layers.Dense(1)])
    made.compile(keras.optimizers.Adam(0.1), "mse")
    made.optimizer.build(made.trainable_variables)
    return made


def values(of: keras.Model) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(v) for v in (*of.variables, *of.optimizer.variables)]


def equal(a: keras.Model, b: keras.Model) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(values(a), values(b), strict=True))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint"


def test_there_is_nothing_to_load_at_first(folder: Path) -> None:
    assert Checkpoint(folder, "key").load() is None


def test_training_goes_on_as_if_it_had_not_stopped(folder: Path) -> None:
    first, checkpoint = model(1), Checkpoint(folder, "key")
    first.train_on_batch(X, Y)
    checkpoint.save(first, {"phase": "attend", "epoch": 1, "best": None, "history": [{"loss": 0.1}]})
    state = checkpoint.load()
    assert state is not None
    assert (state["phase"], state["epoch"], state["best"], state["history"]) == ("attend", 1, None, [{"loss": 0.1}])
    second = model(2)
    assert not equal(first, second)
    checkpoint.restore(second, state)
    assert equal(first, second)
    for one in (first, second):
        one.train_on_batch(X, Y)  # Adam's moments and step count are the same too
    assert equal(first, second)


def test_a_checkpoint_of_another_training_is_ignored(folder: Path) -> None:
    Checkpoint(folder, "one").save(model(1), {"phase": "attend", "epoch": 3})
    assert Checkpoint(folder, "two").load() is None
    assert Checkpoint(folder, "one").load() is not None


def test_only_the_last_weights_are_kept(folder: Path) -> None:
    checkpoint, kept = Checkpoint(folder, "key"), model(1)
    save_weights(kept, folder / "best.weights.h5")
    for phase, epoch in (("pretrain", 9), ("pretrain", 10), ("attend", 1)):
        checkpoint.save(kept, {"phase": phase, "epoch": epoch})
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["attend-0001.weights.h5", "best.weights.h5", "state.json"]


def test_a_kill_between_weights_and_state_leaves_the_epoch_before(folder: Path) -> None:
    before, after, checkpoint = model(1), model(2), Checkpoint(folder, "key")
    checkpoint.save(before, {"phase": "attend", "epoch": 1})
    save_weights(after, folder / "attend-0002.weights.h5")  # killed here
    (folder / ".attend-0003.weights.h5").write_bytes(b"half")  # or here, the time before
    state = checkpoint.load()
    assert state is not None
    assert state["epoch"] == 1
    restored = model(3)
    checkpoint.restore(restored, state)
    assert equal(restored, before)
    checkpoint.save(after, {"phase": "attend", "epoch": 2})
    assert sorted(path.name for path in folder.iterdir()) == ["attend-0002.weights.h5", "state.json"]


def test_a_state_that_is_no_json_is_ignored(folder: Path) -> None:
    checkpoint = Checkpoint(folder, "key")
    checkpoint.save(model(1), {"phase": "attend", "epoch": 1})
    (folder / "state.json").write_text("{")
    assert checkpoint.load() is None


def test_weights_that_fail_to_be_written_leave_the_old_ones(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "best.weights.h5"
    old = model(1)
    save_weights(old, path)
    before = path.read_bytes()

    def half(at: Path) -> None:
        Path(at).write_bytes(b"half")
        raise OSError("disk full")

    broken = model(2)
    monkeypatch.setattr(broken, "save_weights", half)
    with pytest.raises(OSError, match="disk full"):
        save_weights(broken, path)
    assert path.read_bytes() == before
