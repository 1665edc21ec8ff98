"""Annotations as JSON of NCRF (Li and Ping, 2018, arXiv:1806.07064): {"positive": [...], "negative": [...]}."""

from pathlib import Path
from typing import Any

import numpy as np

from foveate.errors import FoveateError
from foveate.slides.marks import AREA, EXCLUSION, LESION, Mark, Placed, number
from foveate.slides.outlines import Outline

EXPECTED = 'an object with the lists "positive" and "negative"'


def read_ncrf(path: Path, content: Any) -> list[Placed]:
    """The outlines of a file whose JSON is `content`. Raises FoveateError for another structure."""
    if not isinstance(content, dict) or set(content) != {"positive", "negative"}:
        raise FoveateError(f"{path}: expected {EXPECTED}, or GeoJSON")
    marks = []
    for key, group in (("positive", LESION), ("negative", EXCLUSION)):
        if not isinstance(content[key], list):
            raise FoveateError(f"{path}: {key!r} is no list; expected {EXPECTED}")
        for position, part in enumerate(content[key]):
            name = part.get("name", position) if isinstance(part, dict) else position
            place = f"{path}: {key} {name!r}"
            marks.append((place, Mark(group, AREA, ((_vertices(part, place),),), str(name))))
    return marks


def _vertices(part: Any, place: str) -> Outline:
    vertices = part.get("vertices") if isinstance(part, dict) else None
    if not isinstance(vertices, list) or not all(isinstance(v, list) and len(v) == 2 for v in vertices):
        raise FoveateError(f'{place}: expected an object with the list "vertices" of [x, y] pairs')
    pairs = [(number(x, "x", place), number(y, "y", place)) for x, y in vertices]
    return np.array(pairs, np.float64).reshape(-1, 2)
