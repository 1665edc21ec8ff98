"""Another backend's half of test_backends.py: `python loaded_elsewhere.py FOLDER`, with KERAS_BACKEND set.

For each agent in the folder, NAME.keras, and NAME.npz, its inputs: what it does there, greedily, into
NAME.there.npz, when it is loaded and when its weights file, NAME.weights.h5, is loaded into a new agent. Then the agent
with other weights, as saved there, and what it does: NAME.other.keras, NAME.other.weights.h5, NAME.other.npz.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from foveate.attention.array_agent import ArrayAgent


def greedy(agent: ArrayAgent) -> Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]:
    """What an agent does, as a function of its inputs; with JAX it is compiled once."""

    def call(trainable: list[Any], others: list[Any], inputs: Any) -> Any:
        return agent.stateless_call(trainable, others, inputs, explore="greedy")[0]

    if keras.backend.backend() == "jax":
        import jax

        call = jax.jit(call)

    def look(x: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        variables = ([v.value for v in each] for each in (agent.trainable_variables, agent.non_trainable_variables))
        return {name: ops.convert_to_numpy(value) for name, value in call(*variables, x).items()}

    return look


def main(folder: Path) -> None:
    for file in sorted(folder.glob("*.keras")):
        name, x = file.stem, dict(np.load(file.with_suffix(".npz")))
        agent = keras.saving.load_model(file, compile=False)
        look = greedy(agent)
        np.savez(folder / f"{name}.there.npz", **look(x))
        fresh = ArrayAgent(**agent.settings)
        fresh.build({"images": x["images"].shape})
        fresh.load_weights(folder / f"{name}.weights.h5")
        for mine, same in zip(agent.trainable_variables, fresh.trainable_variables, strict=True):
            np.testing.assert_array_equal(ops.convert_to_numpy(mine), ops.convert_to_numpy(same))
            mine.assign(ops.convert_to_numpy(mine)[::-1])
        agent.save(folder / f"{name}.other.keras")
        agent.save_weights(folder / f"{name}.other.weights.h5")
        np.savez(folder / f"{name}.other.npz", **look(x))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
