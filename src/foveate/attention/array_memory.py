"""What the agent remembers of every image of a group: tensors (R, N, F) by name; of a group of one, (R, F)."""

from typing import Any

from keras import ops

Memory = dict[str, Any]


def recall(memory: Memory, picked: Any) -> Memory:
    """What is remembered of the picked images (R,): (R, F) each."""
    return {name: _of(held, picked) for name, held in memory.items()}


def remember(memory: Memory, picked: Any, new: Memory) -> Memory:
    """The memory with `new`, (R, F) each, in the place of what was remembered of the picked images."""
    changed = {name: _put(memory[name], picked, value) for name, value in new.items()}
    return {**memory, **changed}


def detached(memory: Memory) -> Memory:
    """The same numbers; gradients end here (truncated back-propagation through time)."""
    return {name: ops.stop_gradient(held) for name, held in memory.items()}


def _of(held: Any, picked: Any) -> Any:
    if len(held.shape) == 2:
        return held
    return ops.take_along_axis(held, picked[:, None, None], axis=1)[:, 0]


def _put(held: Any, picked: Any, value: Any) -> Any:
    if len(held.shape) == 2:
        return value
    here = ops.arange(held.shape[1])[None] == picked[:, None]
    return ops.where(here[..., None], value[:, None], held)
