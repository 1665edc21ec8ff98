"""What is drawn on a slide, whatever the format of its file, and the checks that readers of such files share.

Vertices are (x, y) in level-0 pixels, where pixel (0, 0) covers [0, 1) x [0, 1).
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foveate.errors import FoveateError
from foveate.slides.outlines import Polygon

# What foveate itself draws. Readers of annotations pass over it, so that a file that it has written can be corrected
# in a viewer and given back.
TISSUE, FIXATION, PATH, ATTENTION = "Tissue", "Fixation", "Path", "Attention"
LESION, EXCLUSION = "Tumor", "Exclusion"
HOLE = " hole"  # after a group's name: what is cut out of it, where a format's polygons have no holes
DRAWN = re.compile(rf"({TISSUE}|{FIXATION}|{PATH}|{ATTENTION} \d+%)({HOLE})?", re.IGNORECASE)
AREA, LINE, POINTS = "area", "line", "points"
FARTHEST_L0 = 10**9  # a slide has some 10**5 pixels a side; what is farther out is no coordinate

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Mark:
    """Something that is drawn on a slide.

    group: what it counts as, "" for none; its colour is colour. kind: AREA, LINE or POINTS. parts: of an area its
    pieces, each an outline and its holes; of a line, or of points, one part with one array (n, 2). own_colour: where
    it differs from its group's. locked: viewers that can should not let it be moved by accident.
    """

    group: str
    kind: str
    parts: tuple[Polygon, ...]
    name: str = ""
    colour: Colour = (200, 0, 0)
    own_colour: Colour | None = None
    measurements: Mapping[str, float] = field(default_factory=dict)
    locked: bool = False


Placed = tuple[str, Mark]
"""A mark that was read, and where: the file and the place in it, for messages."""


def is_drawn(group: str) -> bool:
    """Whether marks of this group are what foveate draws, and no annotation: not what merely begins as these do."""
    return DRAWN.fullmatch(group) is not None


def number(value: Any, name: str, place: str) -> float:
    """A coordinate of a file. Raises FoveateError for what is none; place: the file, and where in it."""
    try:
        found = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not abs(found) <= FARTHEST_L0:
        raise FoveateError(f"{place}: {name} is {shown(value)}; expected a number within ±{FARTHEST_L0:,}")
    return found


def shown(value: Any) -> str:
    """A value of a file for a message, cut where it is long."""
    return repr(value) if len(repr(value)) < 60 else f"{repr(value)[:50]}..."


def read_json(path: Path, data: bytes) -> Any:
    """The value of a JSON file. Raises FoveateError for what is none."""
    try:
        return json.loads(data.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        raise FoveateError(f"{path}:{error.lineno}: not JSON: {error.msg}") from error
    except (ValueError, RecursionError) as error:  # not UTF-8, digits without end, nesting without end
        raise FoveateError(f"{path}: not JSON: {error}") from error
