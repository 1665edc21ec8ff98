"""Masks as polygons along the borders of their pixels, and polygons within polygons.

On a grid, pixel (row, column) covers [column, column + 1) in x and [row, row + 1) in y; vertices are (x, y).
"""

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from foveate.slides.marks import Polygon
from foveate.slides.outlines import Outline, signed_area

Vertex = tuple[int, int]
Edge = tuple[Vertex, Vertex, int]  # from, to, and the number of the piece at its side


def polygons(mask: NDArray[np.bool_]) -> list[Polygon]:
    """The pieces of `mask` (H, W) that are joined by edges, as polygons with their holes.

    Drawn again they give the mask, pixel for pixel. No ring touches itself, so that they are valid as simple features;
    where pixels meet at a corner alone, rings of the same polygon may touch there.
    """
    pieces, _ = ndimage.label(np.pad(mask, 1))
    shells: dict[int, Outline] = {}
    holes: dict[int, list[Outline]] = defaultdict(list)
    for ring, piece in _rings(pieces):
        outline = _corners(ring)
        if signed_area(outline) > 0:
            shells[piece] = outline
        else:
            holes[piece].append(outline)
    return [(shell, *holes[piece]) for piece, shell in shells.items()]


def _edges(pieces: NDArray[np.int32]) -> list[Edge]:
    """The borders of the pieces of a padded grid, one pixel long, with their piece at the right of one who walks.

    So an outline turns from x to y, and its area is positive; a hole's is negative.
    """
    found: list[Edge] = []
    above, below = pieces[:-1], pieces[1:]
    for row, column in zip(*np.nonzero((above == 0) & (below > 0)), strict=True):  # the upper side, to the right
        x, y = int(column) - 1, int(row)
        found.append(((x, y), (x + 1, y), int(below[row, column])))
    for row, column in zip(*np.nonzero((above > 0) & (below == 0)), strict=True):  # the lower side, to the left
        x, y = int(column) - 1, int(row)
        found.append(((x + 1, y), (x, y), int(above[row, column])))
    left, right = pieces[:, :-1], pieces[:, 1:]
    for row, column in zip(*np.nonzero((left == 0) & (right > 0)), strict=True):  # the left side, upwards
        x, y = int(column), int(row) - 1
        found.append(((x, y + 1), (x, y), int(right[row, column])))
    for row, column in zip(*np.nonzero((left > 0) & (right == 0)), strict=True):  # the right side, downwards
        x, y = int(column), int(row) - 1
        found.append(((x, y), (x, y + 1), int(left[row, column])))
    return found


def _rings(pieces: NDArray[np.int32]) -> list[tuple[list[Vertex], int]]:
    """Closed walks along the edges that visit no vertex twice, each with its piece."""
    leaving: dict[Vertex, list[Edge]] = defaultdict(list)
    edges = _edges(pieces)
    for edge in edges:
        leaving[edge[0]].append(edge)
    found = []
    used: set[tuple[Vertex, Vertex]] = set()
    for edge in edges:
        if edge[:2] in used:
            continue
        walk, here = [edge[0]], edge
        while True:
            used.add(here[:2])
            if here[1] == edge[0] and _next(here, leaving[here[1]])[:2] == edge[:2]:
                break
            walk.append(here[1])
            here = _next(here, leaving[here[1]])
        found += [(ring, edge[2]) for ring in _simple(walk)]
    return found


def _next(edge: Edge, options: list[Edge]) -> Edge:
    """Of two ways on, where two pixels meet at a corner alone, the one around the same pixel: to the right."""
    if len(options) == 1:
        return options[0]
    (x0, y0), (x1, y1), _ = edge
    right = (x1 - (y1 - y0), y1 + (x1 - x0))
    return next(option for option in options if option[1] == right)


def _simple(walk: list[Vertex]) -> list[list[Vertex]]:
    """A closed walk, cut where it meets itself."""
    rings: list[list[Vertex]] = []
    path: list[Vertex] = []
    place: dict[Vertex, int] = {}
    for vertex in walk:
        if vertex in place:
            first = place[vertex]
            rings.append(path[first:])
            for gone in path[first + 1 :]:
                del place[gone]
            del path[first + 1 :]
        else:
            place[vertex] = len(path)
            path.append(vertex)
    return [*rings, path]


def _corners(ring: list[Vertex]) -> Outline:
    """The ring without the vertices that it passes straight."""
    vertices = np.array(ring, np.float64)
    ahead, behind = np.roll(vertices, -1, axis=0) - vertices, vertices - np.roll(vertices, 1, axis=0)
    return vertices[(ahead != behind).any(axis=1)]


def inside(outline: Outline, points: Outline) -> NDArray[np.bool_]:
    """(m,) whether each of `points` (m, 2) lies inside, by the number of sides that a ray to the right crosses."""
    x0, y0 = outline.T
    x1, y1 = np.roll(outline, -1, axis=0).T
    found = np.zeros(len(points), bool)
    for k, (x, y) in enumerate(points.tolist()):
        across = (y0 <= y) != (y1 <= y)
        at = x0[across] + (y - y0[across]) / (y1[across] - y0[across]) * (x1[across] - x0[across])
        found[k] = np.count_nonzero(at > x) % 2
    return found


def crosses(one: Outline, other: Outline) -> bool:
    """Whether sides of two outlines cross or touch."""
    other_end = np.roll(other, -1, axis=0)
    for begin, end in zip(one, np.roll(one, -1, axis=0), strict=True):
        sides = _turn(begin, end, other), _turn(begin, end, other_end)
        ends = _turn(other, other_end, begin), _turn(other, other_end, end)
        low, high = np.minimum(begin, end), np.maximum(begin, end)
        near = ((np.maximum(other, other_end) >= low) & (np.minimum(other, other_end) <= high)).all(axis=1)
        if (near & (sides[0] * sides[1] <= 0) & (ends[0] * ends[1] <= 0)).any():
            return True
    return False


def _turn(begin: Outline, end: Outline, point: Outline) -> NDArray[np.float64]:
    """Sign of the turn from begin over end to point: 0 on one line."""
    a, b = end - begin, point - begin
    return np.sign(a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0])
