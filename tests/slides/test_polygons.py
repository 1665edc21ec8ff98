import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from foveate.slides.marks import Polygon
from foveate.slides.outlines import fill, signed_area
from foveate.slides.polygons import crosses, inside, polygons

SQUARE = np.array([(0.0, 0.0), (10.0, 0.0), (10.0, 10.0), (0.0, 10.0)])


def traced(*rows: str) -> list[Polygon]:
    """Of a picture, # for the mask."""
    return polygons(np.array([[letter == "#" for letter in row] for row in rows]))


def corners(ring: NDArray[np.float64]) -> set[tuple[float, ...]]:
    return {tuple(vertex) for vertex in ring.tolist()}


def test_a_pixel_is_a_square_of_side_1_at_its_column_and_row() -> None:
    ((ring,),) = traced("...", "..#")
    assert corners(ring) == {(2, 1), (3, 1), (3, 2), (2, 2)}
    assert signed_area(ring) == 1


def test_only_corners_are_vertices() -> None:
    ((ring,),) = traced("####", "#...")
    assert corners(ring) == {(0, 0), (4, 0), (4, 1), (1, 1), (1, 2), (0, 2)}


def test_a_hole_turns_the_other_way() -> None:
    ((ring, hole),) = traced("###", "#.#", "###")
    assert (signed_area(ring), signed_area(hole)) == (9, -1)
    assert corners(hole) == {(1, 1), (2, 1), (2, 2), (1, 2)}


def test_a_piece_within_a_hole_is_a_polygon_of_its_own() -> None:
    found = traced("#####", "#...#", "#.#.#", "#...#", "#####")
    assert sorted(tuple(signed_area(ring) for ring in polygon) for polygon in found) == [(1,), (25, -9)]


def test_pixels_that_meet_at_a_corner_are_two_pieces() -> None:
    assert [len(polygon) for polygon in traced("#.", ".#")] == [1, 1]


def test_holes_that_meet_at_a_corner_are_two_rings() -> None:
    (polygon,) = traced("####", "#.##", "##.#", "####")
    assert [signed_area(ring) for ring in polygon] == [16, -1, -1]


def test_a_ring_that_closes_at_a_corner_encloses_a_hole() -> None:
    # the middle is joined with the outside at a corner alone
    (polygon,) = traced("###.", "#.#.", "##..")  # the lower right pixel of the ring is missing
    assert [signed_area(ring) for ring in polygon] == [8, -1]


@pytest.mark.parametrize(("mask", "count"), [(np.zeros((0, 0), bool), 0), (np.zeros((3, 2), bool), 0)])
def test_nothing(mask: NDArray[np.bool_], count: int) -> None:
    assert len(polygons(mask)) == count


@given(arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_drawn_again_they_are_the_mask_and_no_ring_touches_itself(mask: NDArray[np.bool_]) -> None:
    again = np.zeros(mask.shape, np.uint16)
    for k, (outline, *holes) in enumerate(polygons(mask), start=1):
        fill(again, outline, k, holes)
        for ring in (outline, *holes):
            assert len(corners(ring)) == len(ring) >= 4
            steps = np.roll(ring, -1, axis=0) - ring
            assert ((steps == 0).sum(axis=1) == 1).all()  # along rows and columns
        assert signed_area(outline) > 0
        assert all(signed_area(hole) < 0 for hole in holes)
    assert ((again > 0) == mask).all()


def test_inside() -> None:
    notched = np.array([(0.0, 0.0), (10.0, 0.0), (10.0, 10.0), (5.0, 2.0), (0.0, 10.0)])
    points = np.array([(1.0, 1.0), (5.0, 1.0), (5.0, 5.0), (11.0, 1.0), (-1.0, 0.0)])
    assert inside(notched, points).tolist() == [True, True, False, False, False]


@pytest.mark.parametrize(
    ("shift", "expected"),
    [((2, 2), False), ((20, 0), False), ((5, 5), True), ((-2, 3), True), ((6, 3), True), ((10, 0), True)],
)
def test_crosses(shift: tuple[float, float], expected: bool) -> None:
    small = SQUARE * 0.4 + shift  # (5, 5) reaches to 9: it is within; (6, 3) touches the right side
    if shift == (5, 5):
        small = SQUARE + shift
    assert crosses(small, SQUARE) is expected
    assert crosses(SQUARE, small) is expected
