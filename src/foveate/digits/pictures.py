"""Pictures of glimpse paths: a figure of many examples, and an animation that shows what was seen.

Everything is drawn twice as large and then reduced, which smooths the lines; the sizes here are of the large drawing.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from foveate.digits.glimpse_paths import GlimpsePaths
from foveate.files import atomic

Colour = tuple[int, int, int]

REDUCE = 2
ZOOM, IMAGE_PX, GROUP_IMAGE_PX = 14, 600, 224  # at most, of one image alone and of one in a group
SEEN_PX = 300
GAP, MARGIN, TITLE_PX, FONT_PX = 12, 28, 52, 28
BAR_PX = 208
STRIP_PX = 2640

BACKGROUND: Colour = (27, 31, 40)
INK: Colour = (222, 227, 235)
MUTED: Colour = (126, 137, 156)
TRACK: Colour = (44, 50, 63)
RIGHT: Colour = (98, 211, 132)
WRONG: Colour = (255, 105, 112)
SHADE: Colour = (10, 12, 16)
RAMP: tuple[Colour, ...] = ((64, 156, 255), (38, 208, 206), (140, 222, 88), (255, 205, 56), (255, 128, 66))
"""From the first fixation to the last; bright enough for black ground, coloured enough for white ink."""


def path_figure(paths: GlimpsePaths, count: int = 16, width: int = 1320) -> Image.Image:
    """The first `count` examples with their paths, as many in a row as fit in `width` px, one at least.

    Fixations are numbered points in colours that run from blue to orange, each with its finest square; the title
    is green where the last answer is right and red where it is wrong. What comes after a stop is not shown.
    """
    cells = [_figure_cell(paths, example) for example in range(min(count, len(paths.labels)))]
    return _grid(cells, width)


def path_strip(paths: GlimpsePaths, count: int = 8) -> NDArray[np.uint8]:
    """The same as an array (H, W, 3), in one row unless the groups are too wide for it: for TensorBoard."""
    return np.asarray(path_figure(paths, count, STRIP_PX))


def path_animation(paths: GlimpsePaths, count: int = 4, width: int = 1600) -> list[Image.Image]:
    """One frame a fixation of the first `count` examples, as many in a row as fit in `width` px, one at least.

    Of each: the path so far with all squares of the sensor; what it sees in them, finest first; and the
    probabilities of the classes after it, with the label's name in bright ink. An example that the agent is done with
    stays as it is, and the last frame is that of the longest path.
    """
    shown = range(min(count, len(paths.labels)))
    last = [int(paths.taken[example]) - 1 for example in shown]
    return [
        _grid([_animation_cell(paths, example, min(step, last[example])) for example in shown], width)
        for step in range(max(last) + 1)
    ]


def write_png(path: Path, picture: Image.Image) -> None:
    """Write a picture, atomically."""
    with atomic(path) as partial:
        picture.save(partial, format="PNG", optimize=True)


def write_gif(path: Path, frames: Sequence[Image.Image], ms: int = 800, last_ms: int = 2400) -> None:
    """Write an endless animation, atomically. All frames share one palette, so that nothing flickers."""
    sheet = np.concatenate([np.asarray(frame)[::3, ::3] for frame in frames])  # enough to find the colours
    palette = Image.fromarray(sheet).quantize(256, Image.Quantize.MEDIANCUT)
    indexed = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    times = [ms] * (len(frames) - 1) + [last_ms]
    with atomic(path) as partial:
        indexed[0].save(partial, format="GIF", save_all=True, append_images=indexed[1:], duration=times, loop=0)


def _figure_cell(paths: GlimpsePaths, example: int) -> Image.Image:
    picture = _images(paths, example)
    marked, taken = picture.copy(), int(paths.taken[example])
    for step in range(taken):
        _outline(marked, paths, example, step, scale=0, width=3)
    _lines(marked, paths, example, taken)
    picture = Image.blend(picture, marked, 0.7)
    _points(picture, paths, example, range(taken))
    return _titled(picture, paths, example, taken - 1)


def _animation_cell(paths: GlimpsePaths, example: int, step: int) -> Image.Image:
    picture = _images(paths, example)
    marked = picture.copy()
    _lines(marked, paths, example, step + 1)
    _points(marked, paths, example, range(step))
    picture = Image.blend(picture, marked, 0.5)
    for scale in reversed(range(paths.scales)):
        _outline(picture, paths, example, step, scale, width=5 if scale == 0 else 3)
    _points(picture, paths, example, range(step, step + 1))
    height = max(picture.height, GROUP_IMAGE_PX)
    parts = [picture, _seen(paths, example, step, height), _bars(paths, example, step, height)]
    row = Image.new("RGB", (sum(p.width + MARGIN for p in parts) - MARGIN, height), BACKGROUND)
    x = 0
    for part in parts:
        row.paste(part, (x, 0))
        x += part.width + MARGIN
    return _titled(row, paths, example, step)


def _images(paths: GlimpsePaths, example: int) -> Image.Image:
    """The images of an example, enlarged by a whole number, side by side."""
    images, zoom = paths.images[example], _zoom(paths)
    count, height, width = images.shape
    picture = Image.new("RGB", (count * (width * zoom + GAP) - GAP, height * zoom), BACKGROUND)
    for n, image in enumerate(images):
        large = image.repeat(zoom, 0).repeat(zoom, 1)
        picture.paste(Image.fromarray(large).convert("RGB"), (_left(paths, n), 0))
    return picture


def _zoom(paths: GlimpsePaths) -> int:
    room = IMAGE_PX if paths.images.shape[1] == 1 else GROUP_IMAGE_PX
    return max(1, min(ZOOM, room // max(paths.images.shape[2:])))


def _left(paths: GlimpsePaths, image: int) -> int:
    return image * (paths.images.shape[3] * _zoom(paths) + GAP)


def _outline(picture: Image.Image, paths: GlimpsePaths, example: int, step: int, scale: int, width: int) -> None:
    """Draw a square of the sensor, within its image only."""
    zoom, left_edge = _zoom(paths), _left(paths, int(paths.picked[example, step]))
    high, wide = (side * zoom for side in paths.images.shape[2:])
    left, top, side = (value * zoom for value in paths.square(example, step, scale))
    box = (left_edge, 0, left_edge + wide, high)
    part = picture.crop(box)
    corners = (left, top, left + side - 1, top + side - 1)
    ImageDraw.Draw(part).rectangle(corners, outline=_colour(step, paths.steps), width=width)
    picture.paste(part, box)


def _lines(picture: Image.Image, paths: GlimpsePaths, example: int, steps: int) -> None:
    """Join the first `steps` fixations, each line in the colour of its end."""
    draw = ImageDraw.Draw(picture)
    places = [_place(paths, example, step) for step in range(steps)]
    for step in range(1, steps):
        line = (*places[step - 1], *places[step])
        draw.line(line, fill=SHADE, width=8)
        draw.line(line, fill=_colour(step, paths.steps), width=4)


def _points(picture: Image.Image, paths: GlimpsePaths, example: int, steps: range) -> None:
    """Draw these fixations as points with their numbers, from 1."""
    draw = ImageDraw.Draw(picture)
    crowded = paths.steps > 12 or _zoom(paths) < ZOOM
    radius, font = (11, ImageFont.load_default(17)) if crowded else (13, ImageFont.load_default(20))
    for step in steps:
        place = _place(paths, example, step)
        draw.circle(place, radius + 2, fill=SHADE)
        draw.circle(place, radius, fill=_colour(step, paths.steps))
        draw.text(place, str(step + 1), fill=SHADE, font=font, anchor="mm")


def _place(paths: GlimpsePaths, example: int, step: int) -> tuple[float, float]:
    x, y = (float(at + 1) / 2 for at in paths.where[example, step])
    high, wide = (side * _zoom(paths) for side in paths.images.shape[2:])
    return _left(paths, int(paths.picked[example, step])) + x * wide, y * high


def _seen(paths: GlimpsePaths, example: int, step: int, height: int) -> Image.Image:
    """The squares of a glimpse, enlarged, finest first, in rows."""
    columns = math.ceil(math.sqrt(paths.scales))
    rows = math.ceil(paths.scales / columns)
    zoom = max(1, min((height + GAP) // rows - GAP, SEEN_PX) // paths.px)
    side = paths.px * zoom
    picture = Image.new("RGB", (columns * (side + GAP) - GAP, height), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    for scale, square in enumerate(paths.seen(example, step)):
        x, y = (scale % columns) * (side + GAP), (scale // columns) * (side + GAP)
        picture.paste(Image.fromarray(square.repeat(zoom, 0).repeat(zoom, 1)).convert("RGB"), (x, y))
        colour = _colour(step, paths.steps)
        draw.rectangle((x, y, x + side - 1, y + side - 1), outline=colour, width=5 if scale == 0 else 3)
    return picture


def _bars(paths: GlimpsePaths, example: int, step: int, height: int) -> Image.Image:
    """The probability of each class as a bar."""
    answer, label = paths.answer(example, step)[0], paths.labels[example]
    pitch = min(height / len(paths.names), 60)
    font = ImageFont.load_default(min(FONT_PX, 0.7 * pitch))
    start = 14 + math.ceil(max(map(font.getlength, paths.names)))
    picture = Image.new("RGB", (start + BAR_PX, height), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    for k, (name, probability) in enumerate(zip(paths.names, paths.probabilities[example, step], strict=True)):
        middle = (k + 0.5) * pitch
        low, high = middle - 0.3 * pitch, middle + 0.3 * pitch
        draw.text((start - 14, middle), name, fill=INK if k == label else MUTED, font=font, anchor="rm")
        draw.rectangle((start, low, start + BAR_PX - 1, high), fill=TRACK)
        colour = MUTED if k != answer else RIGHT if k == label else WRONG
        draw.rectangle((start, low, start + float(probability) * (BAR_PX - 1), high), fill=colour)
    return picture


def _titled(picture: Image.Image, paths: GlimpsePaths, example: int, step: int) -> Image.Image:
    """`picture` below a line with the label and the answer after a fixation."""
    label, (answer, probability) = int(paths.labels[example]), paths.answer(example, step)
    text = f"label {paths.names[label]}, answer {paths.names[answer]} ({probability:.2f})"
    whole = Image.new("RGB", (picture.width, picture.height + TITLE_PX), BACKGROUND)
    whole.paste(picture, (0, TITLE_PX))
    colour = RIGHT if answer == label else WRONG
    ImageDraw.Draw(whole).text((0, TITLE_PX / 2), text, fill=colour, font=ImageFont.load_default(FONT_PX), anchor="lm")
    return whole


def _grid(cells: list[Image.Image], width: int) -> Image.Image:
    """Cells of one size in rows no wider than `width` px of the reduced picture."""
    across, down = cells[0].width + 2 * MARGIN, cells[0].height + MARGIN
    rows = math.ceil(len(cells) / max(1, (REDUCE * width) // across))
    columns = math.ceil(len(cells) / rows)
    picture = Image.new("RGB", (columns * across, rows * down + MARGIN), BACKGROUND)
    for n, cell in enumerate(cells):
        picture.paste(cell, (n % columns * across + MARGIN, n // columns * down + MARGIN // 2))
    return picture.reduce(REDUCE)


def _colour(step: int, steps: int) -> Colour:
    """Of a fixation: linear between the colours of `RAMP`."""
    at = step / max(1, steps - 1) * (len(RAMP) - 1)
    channels = [round(float(np.interp(at, range(len(RAMP)), channel))) for channel in zip(*RAMP, strict=True)]
    return channels[0], channels[1], channels[2]
