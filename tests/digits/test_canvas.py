import numpy as np
import pytest

from foveate.digits.canvas import PIECE_PX, cluttered, shifted, translated, warped


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_a_translated_digit_is_whole_at_one_of_all_places() -> None:
    digit = np.arange(1, 7, dtype=np.uint8).reshape(2, 3)  # 2 high and 3 wide: 3 x 2 places in 4 x 4
    seen = set()
    for canvas in translated(np.broadcast_to(digit, (200, 2, 3)), 4, rng()):
        top, left = (int(where.min()) for where in np.nonzero(canvas))
        assert canvas.sum() == 21
        np.testing.assert_array_equal(canvas[top : top + 2, left : left + 3], digit)
        seen.add((top, left))
    assert seen == {(y, x) for y in range(3) for x in range(2)}


def test_places_are_drawn_evenly() -> None:
    canvases = translated(np.ones((6000, 1, 1), np.uint8), 3, rng())
    # 667 expected of each of 9 places, standard deviation 24
    assert np.all(np.abs(canvases.sum(0, dtype=int) - 6000 / 9) < 100)


def test_each_digit_stays_in_its_row() -> None:
    digits = np.arange(1, 51, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8)
    canvases = translated(digits, 9, rng())
    assert canvases.shape == (50, 9, 9)
    assert canvases.dtype == np.uint8
    assert canvases.max((1, 2)).tolist() == list(range(1, 51))
    assert canvases.sum((1, 2)).tolist() == [4 * n for n in range(1, 51)]


def test_a_digit_that_fills_the_canvas_and_one_that_does_not_fit() -> None:
    digits = rng().integers(256, size=(3, 28, 28), dtype=np.uint8)
    np.testing.assert_array_equal(translated(digits, 28, rng()), digits)
    with pytest.raises(ValueError, match=r"at least the digits' 28 x 28 px. Received: 27"):
        translated(digits, 27, rng())


def test_without_pieces_it_is_the_translated_digit() -> None:
    digits = rng().integers(256, size=(5, 28, 28), dtype=np.uint8)
    np.testing.assert_array_equal(cluttered(digits, 60, 0, digits, rng()), translated(digits, 60, rng()))


def test_where_digit_and_pieces_overlap_the_brightest_shows() -> None:
    # bright source, dim digit: what is 200 is a piece, what is 100 the digit beside it
    digits, source = np.full((40, 28, 28), 100, np.uint8), np.full((2, 28, 28), 200, np.uint8)
    bright = cluttered(digits, 30, 1, source, rng())
    assert np.all((bright == 200).sum((1, 2)) == PIECE_PX**2)
    # the same draws, dim source: the digit hides what lies below it
    dim = cluttered(digits, 30, 1, source // 4, rng())
    np.testing.assert_array_equal(dim >= 100, translated(digits, 30, rng()) > 0)
    # and apart from it the same piece shows
    np.testing.assert_array_equal(dim == 50, (bright == 200) & (dim < 100))
    assert np.any(dim == 50)


def test_pieces_are_squares_of_anywhere_in_the_source() -> None:
    size = PIECE_PX + 1  # 2 x 2 places to cut at
    source = rng().permutation(250)[: 3 * size * size].reshape(3, size, size).astype(np.uint8) + 1
    pieces = {source[i, y : y + 8, x : x + 8].tobytes(): (i, y, x) for i in range(3) for y in (0, 1) for x in (0, 1)}
    found, tops = set(), set()
    for canvas in cluttered(np.zeros((300, 1, 1), np.uint8), 10, 1, source, rng()):
        top, left = (int(where.min()) for where in np.nonzero(canvas))
        assert np.count_nonzero(canvas) == PIECE_PX**2
        found.add(pieces[canvas[top : top + 8, left : left + 8].tobytes()])
        tops.add((top, left))
    assert found == set(pieces.values())
    assert tops == {(y, x) for y in range(3) for x in range(3)}


def test_the_pieces_of_a_canvas_differ_from_each_other_and_from_the_next_canvas() -> None:
    source = np.arange(1, 251, dtype=np.uint8)[:, None, None] * np.ones((1, 8, 8), np.uint8)
    canvases = cluttered(np.zeros((20, 1, 1), np.uint8), 400, 4, source, rng())
    shown = [frozenset(np.unique(canvas).tolist()) - {0} for canvas in canvases]
    assert sum(map(len, shown)) > 70  # of 80; two of a canvas may be cut from one image or hide each other
    assert len(set(shown)) == 20


def test_equal_seeds_make_equal_canvases() -> None:
    digits = rng().integers(256, size=(4, 28, 28), dtype=np.uint8)
    first, again = (cluttered(digits, 60, 4, digits, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert np.any(first != cluttered(digits, 60, 4, digits, np.random.default_rng(6)))


def test_the_digits_themselves_are_left_as_they_are() -> None:
    digits = np.zeros((4, 28, 28), np.uint8)
    cluttered(digits, 28, 3, np.full((1, 28, 28), 9, np.uint8), rng())
    assert digits.max() == 0


def test_shifted_images_move_by_so_many_pixels_at_most_and_leave_black() -> None:
    image = np.zeros((1, 5, 7), np.uint8)
    image[0, 2, 3] = 9
    found = np.concatenate([shifted(image, 2, np.random.default_rng(seed)) for seed in range(200)])
    assert (found.sum(axis=(1, 2)) == 9).all()
    places = {(int(row) - 2, int(column) - 3) for _, row, column in np.argwhere(found)}
    assert places == {(down, across) for down in range(-2, 3) for across in range(-2, 3)}
    edge = np.full((50, 3, 3), 9, np.uint8)
    assert set((shifted(edge, 1, np.random.default_rng(0)) > 0).sum(axis=(1, 2)).tolist()) == {4, 6, 9}


class Drawn:
    """A generator that draws what it was given."""

    def __init__(self, drawn: list[list[list[float]]]) -> None:
        self.drawn = np.array(drawn)

    def uniform(self, low: float, high: float, shape: tuple[int, ...]) -> np.ndarray:
        assert (low, high, shape) == (-0.5, 0.5, self.drawn.shape)
        return self.drawn


def test_a_warped_image_shows_what_its_map_points_to() -> None:
    image = np.array([[0, 0, 0, 0, 0], [0, 10, 20, 30, 0], [0, 0, 40, 0, 0]], np.uint8)
    maps = [[[0, 0], [0, 0]], [[0, 0], [0, -0.5]], [[0, 0], [0.5, 0]]]  # beside the identity
    same, wider, slanted = warped(np.stack([image] * 3), 0.5, Drawn(maps))  # type: ignore[arg-type]
    np.testing.assert_array_equal(same, image)
    np.testing.assert_array_equal(wider, [[0] * 5, [10, 15, 20, 25, 30], [0, 20, 40, 20, 0]])
    # the row below the middle one shows what was half a pixel further right
    np.testing.assert_array_equal(slanted, [[0] * 5, [0, 10, 20, 30, 0], [0, 20, 20, 0, 0]])


def test_each_image_is_warped_another_way() -> None:
    images = np.zeros((20, 9, 9), np.uint8)
    images[:, 4] = 200
    found = warped(images, 0.3, rng())
    assert len({one.tobytes() for one in found}) == 20
    assert (found[:, 4, 4] == 200).all()  # the middle stays where it is
    assert images[:, 4].min() == 200
