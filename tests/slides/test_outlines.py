import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.draw import polygon

from foveate.slides.outlines import Polygon, area, diameter, fill, joined


def grid(rows: int, columns: int, outline: list[tuple[float, float]]) -> list[list[int]]:
    result = np.zeros((rows, columns), np.uint16)
    assert fill(result, np.array(outline, float), 1) == result.any()
    return result.tolist()


def test_x_is_the_column_and_y_the_row() -> None:
    assert grid(3, 5, [(1, 0), (4, 0), (4, 2), (1, 2)]) == [[0, 1, 1, 1, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 0]]


def test_a_triangle_by_its_centres() -> None:
    # the slanted side from (0, 4) to (4, 0) has x + y = 4: centres with (c + 0.5) + (r + 0.5) < 4
    assert grid(4, 4, [(0, 0), (4, 0), (0, 4)]) == [[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]


def test_centres_on_left_and_upper_sides_only() -> None:
    assert grid(3, 3, [(0.5, 0.5), (2.5, 0.5), (2.5, 2.5), (0.5, 2.5)]) == [[1, 1, 0], [1, 1, 0], [0, 0, 0]]


@pytest.mark.parametrize("direction", [1, -1])
def test_a_notch_and_the_direction_of_drawing(direction: int) -> None:
    u = [(0, 0), (1, 0), (1, 2), (2, 2), (2, 0), (3, 0), (3, 3), (0, 3)][::direction]
    assert grid(3, 3, u) == [[1, 0, 1], [1, 0, 1], [1, 1, 1]]


def test_twice_round_is_outside() -> None:
    square = [(0, 0), (3, 0), (3, 3), (0, 3), (0, 0)]
    inner = [(1, 1), (2, 1), (2, 2), (1, 2), (1, 1)]
    assert grid(3, 3, square + inner) == [[1, 1, 1], [1, 0, 1], [1, 1, 1]]


@pytest.mark.parametrize(
    ("outline", "expected"),
    [
        ([(-9, -9), (1, -9), (1, 1), (-9, 1)], [[1, 0, 0], [0, 0, 0]]),
        ([(2, 1), (99, 1), (99, 99), (2, 99)], [[0, 0, 0], [0, 0, 1]]),
        ([(-9, -9), (99, -9), (99, 99), (-9, 99)], [[1, 1, 1], [1, 1, 1]]),
        ([(-9, 0), (-5, 0), (-5, 2), (-9, 2)], [[0, 0, 0], [0, 0, 0]]),
        ([(5, 0), (9, 0), (9, 2), (5, 2)], [[0, 0, 0], [0, 0, 0]]),
        ([(0, 5), (3, 5), (3, 9), (0, 9)], [[0, 0, 0], [0, 0, 0]]),
        ([(0.6, 0), (1.4, 0), (1.4, 2), (0.6, 2)], [[0, 0, 0], [0, 0, 0]]),
        ([(0, 0.6), (3, 0.6), (3, 1.4), (0, 1.4)], [[0, 0, 0], [0, 0, 0]]),
        ([(1, 1), (1, 1), (1, 1)], [[0, 0, 0], [0, 0, 0]]),
    ],
    ids=["corner", "far-corner", "all", "left", "right", "below", "thin", "flat", "point"],
)
def test_outlines_over_the_border_and_between_centres(
    outline: list[tuple[float, float]], expected: list[list[int]]
) -> None:
    assert grid(2, 3, outline) == expected


coordinate = st.integers(-60, 200).map(lambda n: n / 10 + 0.03)  # never on a centre


@settings(deadline=None)
@given(st.lists(st.tuples(coordinate, coordinate), min_size=3, max_size=12))
def test_agrees_with_scikit_image(outline: list[tuple[float, float]]) -> None:
    x, y = np.array(outline).T
    # scikit-image counts centres on a slanted side in, so these are tested apart, above
    expected = np.zeros((12, 15), int)
    expected[polygon(y - 0.5, x - 0.5, expected.shape)] = 1
    differing = np.argwhere(expected != grid(12, 15, outline))
    for row, column in differing:
        assert on_a_side(column + 0.5, row + 0.5, outline)


def on_a_side(x: float, y: float, outline: list[tuple[float, float]]) -> bool:
    """The point is on a side, up to rounding: the way over it is no longer than the side."""
    ends = zip(outline, outline[1:] + outline[:1], strict=True)
    return any(math.dist(a, (x, y)) + math.dist((x, y), b) - math.dist(a, b) < 1e-9 for a, b in ends)


@settings(deadline=None)
@given(st.floats(0, 2 * math.pi), st.floats(0.1, 8))
def test_two_halves_make_the_whole(angle: float, radius: float) -> None:
    """Outlines that share a border share no pixel and leave none between them."""
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False) + angle
    circle = np.stack([8 + radius * np.cos(turn), 8 + radius * np.sin(turn)], axis=1)
    whole, first, second = (np.zeros((16, 16), np.uint16) for _ in range(3))
    fill(whole, circle, 1)
    fill(first, circle[:13], 1)
    fill(second, circle[[*range(12, 24), 0]], 1)
    np.testing.assert_array_equal(first + second, whole)


def test_area() -> None:
    assert area(np.array([(0, 0), (4, 0), (0, 3)], float)) == 6
    assert area(np.array([(1e6, 1e6), (1e6, 1e6 + 2), (1e6 + 2, 1e6 + 2), (1e6 + 2, 1e6)])) == 4


@pytest.mark.parametrize(
    ("outline", "expected"),
    [
        ([(0, 0), (3, 0), (3, 4), (0, 4)], 5),
        ([(0, 0), (1, 0), (10, 0), (2, 0)], 10),
        ([(5, 9), (5, 1), (5, 3)], 8),
        ([(0, 6), (4, 3), (8, 0)], 10),
        ([(2, 2), (2, 2), (2, 2)], 0),
    ],
    ids=["rectangle", "horizontal", "vertical", "slanted", "point"],
)
def test_diameter(outline: list[tuple[float, float]], expected: float) -> None:
    assert diameter(np.array(outline, float)) == expected


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=3, max_size=20))
def test_diameter_is_the_largest_of_all_distances(outline: list[tuple[int, int]]) -> None:
    longest = max(math.dist(a, b) for a in outline for b in outline)
    assert diameter(np.array(outline, float)) == pytest.approx(longest, rel=1e-12)


def test_rings_are_joined_at_the_vertices_that_lie_nearest() -> None:
    square, hole = np.array([[(0, 0), (9, 0), (9, 9), (0, 9)], [(2, 2), (4, 2), (7, 8), (2, 4)]], float)
    assert joined((square,)) is square
    assert joined((square, hole)).tolist() == [
        [0, 0], [9, 0], [9, 9], [7, 9], [7, 8], [2, 4], [2, 2], [4, 2], [7, 8], [7, 9], [9, 9], [0, 9],
    ]  # fmt: skip


@given(st.lists(st.lists(st.tuples(st.floats(0, 9), st.floats(0, 9)), min_size=3, max_size=6), min_size=1, max_size=4))
def test_joined_rings_are_filled_as_they_were(rings: list[list[tuple[float, float]]]) -> None:
    polygon: Polygon = tuple(np.array(ring) / 0.7 - 1 for ring in rings)
    apart, together = np.zeros((2, 12, 12), np.uint16)
    fill(apart, polygon[0], 1, polygon[1:])
    fill(together, joined(polygon), 1)
    np.testing.assert_array_equal(together, apart)
