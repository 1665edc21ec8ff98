"""The parts of the attention model by name: what a configuration may ask for.

    @part("core", "lstm")
    class ...

makes a class known to `make` and to Keras' files.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import keras

from foveate.errors import FoveateError

PACKAGE = "foveate"  # under which the model's classes are saved in Keras files
_PARTS: dict[str, dict[str, Callable[..., Any]]] = {}
Made = TypeVar("Made", bound=Callable[..., Any])


def part(kind: str, name: str) -> Callable[[Made], Made]:
    """Register a Keras layer, or a function that makes one, as a part of a kind."""

    def register(made: Made) -> Made:
        _PARTS.setdefault(kind, {})[name] = made
        if isinstance(made, type):
            keras.saving.register_keras_serializable(PACKAGE)(made)
        return made

    return register


def names(kind: str) -> list[str]:
    """What there is of a kind."""
    return sorted(_PARTS.get(kind, {}))


def make(kind: str, name: str, /, **settings: Any) -> Any:
    """A part by its name. Raises FoveateError, naming what there is, for a name that is not known."""
    try:
        maker = _PARTS[kind][name]
    except KeyError:
        raise FoveateError(f"{kind}: no {name!r}; known: {', '.join(names(kind))}") from None
    return maker(**settings)
