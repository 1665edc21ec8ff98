"""Checks of settings: what makes no model and no training is refused by name, before anything begins."""

import math
from typing import Any

from foveate.errors import FoveateError


def whole(name: str, value: Any, least: int = 1) -> None:
    """Raises FoveateError unless `value` is a whole number, at least `least`."""
    if type(value) is not int or value < least:
        raise FoveateError(f"{name}: {value!r}; expected a whole number, at least {least}")


def at_least(name: str, value: Any, low: float, most: float = math.inf) -> None:
    """Raises FoveateError unless `value` is a finite number from `low` to `most`, both included."""
    if not (_finite(value) and low <= value <= most):
        also = f" and at most {most:g}" if most < math.inf else ""
        raise FoveateError(f"{name}: {value!r}; expected a number, at least {low:g}{also}")


def above(name: str, value: Any, low: float, below: float = math.inf) -> None:
    """Raises FoveateError unless `value` is a finite number between `low` and `below`, which it may not be itself."""
    if not (_finite(value) and low < value < below):
        also = f" and below {below:g}" if below < math.inf else ""
        raise FoveateError(f"{name}: {value!r}; expected a number above {low:g}{also}")


def pair(name: str, value: Any) -> None:
    """Raises FoveateError unless `value` is two whole numbers, at least 1."""
    if not (isinstance(value, (list, tuple)) and len(value) == 2 and all(type(n) is int and n > 0 for n in value)):
        raise FoveateError(f"{name}: {value!r}; expected two whole numbers, at least 1")


def _finite(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)
