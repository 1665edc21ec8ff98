import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from foveate.slides.outlines import Outline, Polygon, area, fill
from foveate.slides.polygons import enclosed, pieces, polygons


def traced(*rows: str) -> list[Polygon]:
    """Of a picture, # for the mask."""
    return polygons(np.array([[letter == "#" for letter in row] for row in rows]))


def corners(ring: Outline) -> set[tuple[float, ...]]:
    return {tuple(vertex) for vertex in ring.tolist()}


def areas(polygon: Polygon) -> list[float]:
    return [area(ring) for ring in polygon]


def outline(*vertices: tuple[float, float]) -> Outline:
    return np.array(vertices, float)


def drawn(found: list[Polygon], shape: tuple[int, ...]) -> NDArray[np.uint16]:
    grid = np.zeros(shape, np.uint16)
    for k, (outer, *holes) in enumerate(found, start=1):
        fill(grid, outer, k, holes)
    return grid


def test_a_pixel_is_a_square_of_side_1_at_its_column_and_row() -> None:
    ((ring,),) = traced("...", "..#")
    assert corners(ring) == {(2, 1), (3, 1), (3, 2), (2, 2)}
    assert area(ring) == 1


def test_only_corners_are_vertices() -> None:
    ((ring,),) = traced("####", "#...")
    assert corners(ring) == {(0, 0), (4, 0), (4, 1), (1, 1), (1, 2), (0, 2)}


def test_a_hole_is_a_ring_of_its_own() -> None:
    ((ring, hole),) = traced("###", "#.#", "###")
    assert (area(ring), area(hole)) == (9, 1)
    assert corners(hole) == {(1, 1), (2, 1), (2, 2), (1, 2)}


def test_a_piece_within_a_hole_is_a_polygon_of_its_own() -> None:
    found = traced("#####", "#...#", "#.#.#", "#...#", "#####")
    assert sorted(areas(polygon) for polygon in found) == [[1], [25, 9]]


def test_pixels_that_meet_at_a_corner_are_two_pieces() -> None:
    assert [len(polygon) for polygon in traced("#.", ".#")] == [1, 1]


def test_holes_that_meet_at_a_corner_are_two_rings() -> None:
    (polygon,) = traced("####", "#.##", "##.#", "####")
    assert areas(polygon) == [16, 1, 1]


def test_a_ring_that_closes_at_a_corner_encloses_a_hole() -> None:
    # the middle is joined with the outside at a corner alone
    (polygon,) = traced("###.", "#.#.", "##..")  # the lower right pixel of the ring is missing
    assert areas(polygon) == [8, 1]


@pytest.mark.parametrize("shape", [(0, 0), (3, 2)])
def test_nothing(shape: tuple[int, int]) -> None:
    assert polygons(np.zeros(shape, bool)) == []


@given(arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_drawn_again_they_are_the_mask_and_valid(mask: NDArray[np.bool_]) -> None:
    found = polygons(mask)
    np.testing.assert_array_equal(drawn(found, mask.shape) > 0, mask)
    valid = shapely.MultiPolygon([shapely.Polygon(outer, holes) for outer, *holes in found])
    assert valid.is_valid, shapely.is_valid_reason(valid)
    for ring in (ring for polygon in found for ring in polygon):
        assert len(corners(ring)) == len(ring)  # none touches itself
        steps = np.roll(ring, -1, axis=0) - ring
        along_x = steps[:, 1] == 0
        assert ((steps == 0).sum(axis=1) == 1).all()  # along rows and columns
        assert (along_x != np.roll(along_x, 1)).all()  # every vertex is a corner


SQUARE = outline((0, 0), (6, 0), (6, 6), (0, 6))


@pytest.mark.parametrize(
    ("polygon", "expected"),
    [
        ((SQUARE,), [[36]]),
        ((outline((0, 0), (4, 4), (4, 0), (0, 4)),), [[4], [4]]),
        # a loop, which is gone round twice
        ((outline((0, 0), (6, 0), (6, 6), (2, 6), (2, 2), (4, 2), (4, 4), (0, 4)),), [[32, 4]]),
        ((SQUARE, outline((1, 1), (4, 1), (4, 4), (1, 4)), outline((2, 2), (5, 2), (5, 5), (2, 5))), [[36, 14], [4]]),
        ((outline((0, 0), (6, 0), (6, 6), (9, 6), (6, 6), (0, 6)),), [[36]]),  # there and back
        ((outline((0, 0), (6, 0), (9, 0)),), []),
        ((outline((1, 1), (1, 1), (1, 1)),), []),
    ],
    ids=["square", "bow-tie", "loop", "holes-overlap", "spike", "line", "point"],
)
def test_what_is_enclosed_is_what_is_filled(polygon: Polygon, expected: list[list[float]]) -> None:
    area_of = enclosed(polygon)
    found = pieces(area_of)
    assert area_of.is_valid
    assert sorted((areas(piece) for piece in found), reverse=True) == expected
    assert area_of.area == sum(outer - sum(holes) for outer, *holes in map(areas, found))
    np.testing.assert_array_equal(drawn(found, (9, 9)) > 0, drawn([polygon], (9, 9)) > 0)
