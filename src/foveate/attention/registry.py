"""The parts of the attention model by name: what a configuration may ask for.

    @part("core", "lstm")
    class ...

makes a class known to `make` and to Keras' files.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import keras

from foveate.errors import FoveateError

PACKAGE = "foveate"  # under which the model's classes are saved in Keras files
Spec = str | Mapping[str, Any]  # a part's name, or its name and settings: {"name": "lstm", "units": 256}
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


def make(kind: str, spec: Spec, label: str | None = None, **given: Any) -> Any:
    """A part from its name, or from a mapping of its name and settings, with what is `given` beside.

    `label` becomes the layer's own name.

    Raises FoveateError, naming what there is, for a name or a setting that is not known.
    """
    settings = dict(spec) if isinstance(spec, Mapping) else {"name": spec}
    name = settings.pop("name", None)
    if not isinstance(name, str) or name not in names(kind):
        raise FoveateError(f"{kind}: no {name!r}; known: {', '.join(names(kind))}")
    maker = _PARTS[kind][name]
    try:
        return maker(**settings, **given, name=label or f"{kind}_{name}")
    except (TypeError, ValueError, FoveateError) as error:
        raise FoveateError(f"{kind} {name!r} cannot be made with {settings}: {error}") from None
