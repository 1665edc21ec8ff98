"""Checkpoints of a training: one weights file and one state file, so that a kill costs at most an epoch."""

import json
import shutil
from pathlib import Path
from typing import Any

import keras

from foveate.files import write_json


class Checkpoint:
    """The last finished epoch of a training, in a folder that no Snakemake rule declares.

    state.json names the weights file that it belongs to and is replaced last, so the pair always matches.
    Weights files hold the model's and the optimizer's variables.

    Parameters
    ----------
    key : what the training depends on; a checkpoint with another key is ignored.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self._folder, self._key = folder, key

    def load(self) -> dict[str, Any] | None:
        """The state that was saved last under this key, or None."""
        try:
            state = json.loads((self._folder / "state.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return state if state.get("key") == self._key else None

    def restore(self, model: keras.Model, state: dict[str, Any]) -> None:
        """Put the saved variables into `model`, which must be compiled and built."""
        model.load_weights(self._folder / state["weights"])

    def clear(self) -> None:
        """Delete the checkpoint of a training that ended."""
        shutil.rmtree(self._folder)

    def save(self, model: keras.Model, state: dict[str, Any]) -> None:
        """Write the model's variables, then the state that names them; then drop older weights."""
        name = f"{state['phase']}-{state['epoch']:04d}.weights.h5"
        save_weights(model, self._folder / name)
        write_json(self._folder / "state.json", {**state, "key": self._key, "weights": name})
        for old in self._folder.glob("*-*.weights.h5"):
            if old.name != name:
                old.unlink()


def save_weights(model: keras.Model, path: Path) -> None:
    """Write a model's variables to a `.weights.h5` file, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}")  # Keras insists on the double suffix
    model.save_weights(partial)
    partial.replace(path)
