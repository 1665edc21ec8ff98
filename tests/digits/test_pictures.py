from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from foveate.digits.glimpse_paths import GlimpsePaths
from foveate.digits.pictures import (
    GAP,
    INK,
    MUTED,
    RAMP,
    REDUCE,
    RIGHT,
    TRACK,
    WRONG,
    path_animation,
    path_figure,
    path_strip,
    write_gif,
    write_png,
)

Box = tuple[int, int, int, int]
GROUND = 77  # of the images, found again in the pictures


def paths(
    where: list[tuple[float, float]],
    picked: list[int],
    chances: list[list[float]],
    label: int = 0,
    copies: int = 1,
    side: int = 20,
    px: int = 4,
    scales: int = 1,
    taken: tuple[int, ...] | None = None,
) -> GlimpsePaths:
    """`copies` times the same example, in plain grey images of side x side px; `taken` of its fixations, or all."""
    count = max(picked) + 1
    return GlimpsePaths(
        np.full((copies, count, side, side), GROUND, np.uint8),
        np.repeat(np.array([where]), copies, 0),
        np.repeat(np.array([picked]), copies, 0),
        np.repeat(np.array([chances]), copies, 0),
        np.array(taken or copies * [len(picked)]),
        np.full(copies, label),
        ("one", "two"),
        px,
        scales,
    )


def box(mask: np.ndarray) -> Box:
    """First and last column and row of what is True."""
    rows, columns = np.nonzero(mask)
    return columns.min(), columns.max() + 1, rows.min(), rows.max() + 1


def of_colour(picture: Image.Image | np.ndarray, colour: tuple[int, ...]) -> np.ndarray:
    return np.all(np.asarray(picture) == colour, axis=-1)


def images_box(picture: Image.Image | np.ndarray) -> Box:
    return box(of_colour(picture, (GROUND,) * 3))


def test_points_lie_where_the_agent_looked() -> None:
    figure = path_figure(paths([(0.5, -0.75), (-0.5, 0.25)], [0, 0], [[1, 0], [1, 0]]))
    left, right, top, bottom = images_box(figure)
    assert right - left == bottom - top  # one square image
    for colour, x, y in ((RAMP[0], 0.75, 0.125), (RAMP[-1], 0.25, 0.625)):
        x0, x1, y0, y1 = box(of_colour(figure, colour))
        assert abs((x0 + x1) / 2 - (left + x * (right - left))) <= 1
        assert abs((y0 + y1) / 2 - (top + y * (bottom - top))) <= 1


def test_in_a_group_points_lie_on_the_picked_image() -> None:
    figure = path_figure(paths([(0, 0), (0, 0.5)], [2, 0], [[1, 0], [1, 0]]))
    left, right, _, _ = images_box(figure)
    width = (right - left) / 3
    for colour, image in ((RAMP[0], 2), (RAMP[-1], 0)):
        x0, x1, _, _ = box(of_colour(figure, colour))
        assert abs((x0 + x1) / 2 - (left + (image + 0.5) * width)) < 4  # gaps lie between the images


def squares(where: list[tuple[float, float]], picked: list[int]) -> tuple[Box, list[Box]]:
    """The box of the images, and of the squares of 16 of 20 px that are drawn in each image of a figure."""
    chances = [[1.0, 0.0]] * len(picked)
    figure = np.asarray(path_figure(paths(where, picked, chances, px=16)))
    bare = np.asarray(path_figure(paths(where, picked, chances, px=200)))  # their sides lie beyond the images
    left, right, top, bottom = images_box(bare)
    drawn, count = np.any(figure != bare, axis=-1), max(picked) + 1
    edges = np.linspace(left, right, count + 1).round().astype(int)
    found = []
    for start, end in pairwise(edges):
        x0, x1, y0, y1 = box(drawn[:, start:end])
        found.append((x0 + start, x1 + start, y0, y1))
    return (left, right, top, bottom), found


def test_a_square_is_drawn_around_its_pixels() -> None:
    # around the middle of the upper edge: pixels 2 to 18 of 20, and to 8
    (left, right, top, bottom), [drawn] = squares([(0, -1)], [0])
    width, height = right - left, bottom - top
    assert np.allclose(drawn, (left + 0.1 * width, left + 0.9 * width, top, top + 0.4 * height), atol=1)


def test_each_fixation_has_a_square_within_its_own_image() -> None:
    # around the right edge of image 0 and the left one of image 1, and none in the gap between them
    (left, right, _, _), (first, second) = squares([(1, 0), (-1, 0)], [0, 1])
    width = (right - left - GAP / REDUCE) / 2
    assert np.allclose(first[:2], (left + 0.6 * width, left + width), atol=1)
    assert np.allclose(second[:2], (right - width, right - 0.6 * width), atol=1)


def test_lines_join_the_points() -> None:
    places = paths([(-0.8, 0), (0.8, 0), (0.8, 0.8)], [0, 0, 0], [[1, 0]] * 3)
    for picture, joined in ((path_figure(places), 2), *zip(path_animation(places), range(3), strict=True)):
        left, _, top, bottom = images_box(picture)
        side = bottom - top
        middles = [(left + side // 2, top + side // 2), (left + 9 * side // 10, top + 7 * side // 10)]
        assert sum(picture.getpixel(middle) != (GROUND,) * 3 for middle in middles) == joined


def test_the_title_is_green_when_the_last_answer_is_right() -> None:
    late, early = ([[0.4, 0.6], [0.9, 0.1]], [[0.9, 0.1], [0.4, 0.6]])
    for chances, shown, absent in ((late, RIGHT, WRONG), (early, WRONG, RIGHT)):
        figure = path_figure(paths([(0, 0), (0, 0)], [0, 0], chances))
        assert of_colour(figure, shown).any()
        assert not of_colour(figure, absent).any()


def test_examples_fill_rows_that_fit() -> None:
    many = paths([(0, 0)], [0], [[1, 0]], copies=7)
    one = path_figure(many, count=1)
    assert path_figure(many, count=4, width=2 * one.width).width == 2 * one.width
    assert path_figure(many, count=4, width=3 * one.width - 1).width == 2 * one.width
    assert path_figure(many, count=4, width=4 * one.width).width == 4 * one.width
    assert path_figure(many, count=3, width=1).width == one.width
    tall = path_figure(many, width=4 * one.width)
    assert tall.width == 4 * one.width
    assert one.height < tall.height <= 2 * one.height


def test_examples_stand_in_reading_order() -> None:
    many = paths([(0, 0)], [0], [[1, 0]], copies=4)
    many.images[:] += np.arange(4, dtype=np.uint8)[:, None, None, None]
    figure = path_figure(many, width=2 * path_figure(many, count=1).width)
    lefts, _, tops, _ = np.transpose([box(of_colour(figure, (GROUND + n,) * 3)) for n in range(4)])
    assert lefts[0] == lefts[2] < lefts[1] == lefts[3]
    assert tops[0] == tops[1] < tops[2] == tops[3]


def test_a_strip_is_one_row_for_the_board() -> None:
    many = paths([(0, 0)], [0], [[1, 0]], copies=9)
    one, strip = path_figure(many, count=1), path_strip(many)
    assert strip.shape == (one.height, 8 * one.width, 3)
    assert strip.dtype == np.uint8


def test_a_frame_shows_the_path_so_far_and_the_answer_after_it() -> None:
    first, last = path_animation(paths([(-0.5, 0), (0.5, 0)], [0, 0], [[0.25, 0.75], [0.6, 0.4]]))
    assert of_colour(first, RAMP[0]).any()
    assert not of_colour(first, RAMP[-1]).any()
    assert of_colour(last, RAMP[-1]).any()
    # the point before is paler, but there
    x0, x1, y0, y1 = box(of_colour(first, RAMP[0]) & (np.arange(first.width) < images_box(first)[1]))
    before = np.asarray(last)[y0:y1, x0:x1].astype(int)
    paler = (np.array(RAMP[0]) + GROUND) / 2
    assert np.any(np.all(np.abs(before - paler) <= 1, axis=-1))
    for frame, shown, absent in ((first, WRONG, RIGHT), (last, RIGHT, WRONG)):
        assert of_colour(frame, shown).any()
        assert not of_colour(frame, absent).any()


def test_a_frame_has_the_squares_of_all_scales_of_its_fixation() -> None:
    _, frame = path_animation(paths([(-1, -1), (0, 0)], [0, 0], [[1, 0]] * 2, scales=3))  # 4, 8 and 16 of 20 px
    left, _, top, bottom = images_box(frame)
    side = bottom - top
    row = of_colour(frame, RAMP[-1])[top + side // 2, left : left + side]
    edges = np.flatnonzero(row) / side
    for edge in (0.1, 0.3, 0.4, 0.6, 0.7, 0.9):
        assert np.abs(edges - edge).min() < 0.02


def test_what_comes_after_a_stop_is_not_shown() -> None:
    path = [(-0.5, 0), (0, 0), (0.5, 0)], [0, 0, 0], [[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]]
    for taken, shown, absent in ((1, RIGHT, WRONG), (3, WRONG, RIGHT)):
        found = paths(*path, taken=(taken,))
        frames = path_animation(found)
        assert len(frames) == taken
        for picture in (path_figure(found), frames[-1]):
            assert of_colour(picture, shown).any()  # by the answer after the last fixation
            assert not of_colour(picture, absent).any()
        assert of_colour(path_figure(found), RAMP[-1]).any() == (taken == 3)


def test_an_example_that_is_done_waits_for_the_others() -> None:
    found = paths([(-0.5, 0), (0.5, 0)], [0, 0], [[0.9, 0.1], [0.2, 0.8]], copies=2, taken=(1, 2))
    first, last = (np.asarray(frame) for frame in path_animation(found))
    middle = first.shape[1] // 2
    np.testing.assert_array_equal(first[:, :middle], last[:, :middle])
    assert (first[:, middle:] != last[:, middle:]).any()


def test_bars_are_as_long_as_the_probabilities() -> None:
    frame = path_animation(paths([(0, 0)], [0], [[0.75, 0.25]]))[0]
    track = of_colour(frame, TRACK)
    rows = np.flatnonzero(track.any(1))
    for colour, row, share in ((RIGHT, rows[1], 0.75), (MUTED, rows[-2], 0.25)):
        done, left = of_colour(frame, colour)[row].sum(), track[row].sum()
        assert abs(done / (done + left) - share) < 0.03


def test_the_name_of_the_label_is_bright() -> None:
    for label in (0, 1):
        frame = path_animation(paths([(0, 0)], [0], [[0.5, 0.5]], label=label))[0]
        bars = np.flatnonzero(of_colour(frame, TRACK).any(1))
        middle = (bars[0] + bars[-1]) / 2
        bright = np.flatnonzero(of_colour(frame, INK).any(1))
        assert len(bright)
        assert np.all((bright > middle) == bool(label))


def test_a_frame_shows_what_the_sensor_sees_at_each_scale() -> None:
    # squares of 4 and 8 px around the upper left corner: the lower right quarter of each is ground, the rest black
    found = paths([(1, 1), (-1, -1)], [0, 0], [[1, 0]] * 2, scales=2)
    found.images[0, 0, 2:4, 2:4] = 200  # beyond the fine square, the last pixel of the coarse one
    frame = path_animation(found)[-1]
    _, right, _, _ = images_box(path_figure(found))
    glimpse = np.asarray(frame)[:, right + 2 :]  # beside the image
    x0, x1, y0, y1 = box(of_colour(glimpse, (200,) * 3))
    zoom = x1 - x0
    ground = of_colour(glimpse, (GROUND,) * 3)
    coarse = ground[:, x0 - zoom - 2 :].sum()
    assert abs(ground.sum() - coarse - 4 * zoom**2) < 0.3 * zoom**2  # finest first; frames hide a little
    assert abs(coarse - 3 * zoom**2) < 0.3 * zoom**2
    assert abs(zoom - (y1 - y0)) <= 1


def test_an_animation_in_a_file(tmp_path: Path) -> None:
    frames = path_animation(paths([(0, 0), (0.5, 0), (-0.5, 0)], [0, 0, 0], [[0.25, 0.75], [0.6, 0.4], [0.7, 0.3]]))
    write_gif(tmp_path / "new" / "path.gif", frames, ms=100, last_ms=500)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["path.gif"]
    times = []
    with Image.open(tmp_path / "new" / "path.gif") as gif:
        assert (gif.n_frames, gif.size, gif.info["loop"]) == (3, frames[0].size, 0)
        for n, frame in enumerate(frames):
            gif.seek(n)
            times.append(gif.info["duration"])
            off = np.abs(np.asarray(gif.convert("RGB")).astype(int) - np.asarray(frame))
            assert off.mean() < 2
    assert times == [100, 100, 500]


def test_a_figure_in_a_file(tmp_path: Path) -> None:
    figure = path_figure(paths([(0, 0)], [0], [[1, 0]]))
    write_png(tmp_path / "path.png", figure)
    with Image.open(tmp_path / "path.png") as read:
        assert read.format == "PNG"
        np.testing.assert_array_equal(np.asarray(read), np.asarray(figure))
