"""Drawing on small pictures: the outline of tissue and lesions, and a card for a slide that failed."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from skimage.measure import find_contours

LESION_COLOUR = (24, 24, 28)
DASH_PX = 7

Colour = tuple[int, int, int]


def outline(
    thumbnail: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    colour: Colour,
    width: int = 2,
    lesions: NDArray[np.integer] | NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """Return a copy of `thumbnail` with the inner border of `mask` drawn on it.

    thumbnail: (H, W, 3) RGB; mask: (H, W); lesions: (H, W), nonzero inside a lesion, drawn as a dashed
    line in `LESION_COLOUR`. `width` is in pixels. What is outside the picture counts as not tissue, so
    that the line closes along the picture's edge. Raises ValueError when the shapes differ.
    """
    if mask.shape != thumbnail.shape[:2]:
        raise ValueError(f"mask: expected the shape {thumbnail.shape[:2]} of the thumbnail. Received: {mask.shape}")
    drawn = thumbnail.copy()
    drawn[_inner_border(mask, width)] = colour
    if lesions is not None:
        if lesions.shape != mask.shape:
            raise ValueError(f"lesions: expected the shape {mask.shape} of the mask. Received: {lesions.shape}")
        drawn[_dashed_contours(lesions > 0, width)] = LESION_COLOUR
    return drawn


def _inner_border(mask: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """The pixels of `mask` nearer than `width` (chessboard distance) to its outside."""
    padded = np.pad(mask, width)
    rows = padded[: mask.shape[0]].copy()
    for step in range(1, 2 * width + 1):
        rows &= padded[step : step + mask.shape[0]]
    inside = rows[:, : mask.shape[1]].copy()
    for step in range(1, 2 * width + 1):
        inside &= rows[:, step : step + mask.shape[1]]
    return mask & ~inside


def _dashed_contours(mask: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """Pixels on the contour of `mask`, `DASH_PX` drawn and half as much left out, by arc length."""
    height, breadth = mask.shape
    drawn = np.zeros_like(mask)
    for contour in find_contours(np.pad(mask, 1).astype(np.uint8), 0.5):
        points = contour - 1
        steps = np.hypot(*np.diff(points, axis=0).T)
        along = np.concatenate(([0.0], np.cumsum(steps)))
        kept = points[along % (1.5 * DASH_PX) < DASH_PX]
        rows, columns = np.rint(kept).astype(int).T
        for i in range(width):
            for j in range(width):
                drawn[np.clip(rows + i, 0, height - 1), np.clip(columns + j, 0, breadth - 1)] = True
    return drawn


def card(width: int, height: int, title: str, text: str) -> NDArray[np.uint8]:
    """A plain grey picture, (height, width, 3), with a title and wrapped text, for a slide that failed.

    Text that does not fit is cut at the lower edge.
    """
    size = max(9, min(width // 22, height // 8, 18))
    margin = size
    picture = Image.new("RGB", (width, height), (226, 228, 232))
    draw = ImageDraw.Draw(picture)
    y = float(margin)
    for words, points, colour in ((title, 1.25 * size, (40, 44, 52)), (text, float(size), (84, 90, 102))):
        font = ImageFont.load_default(points)
        for line in _wrapped(words, font, width - 2 * margin):
            draw.text((margin, y), line, fill=colour, font=font)
            y += 1.35 * points
        y += 0.4 * size
    return np.asarray(picture)


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: float) -> list[str]:
    """`text` in lines no wider than `room` pixels; a word that is wider is cut."""
    lines: list[str] = []
    for paragraph in text.splitlines():
        line = ""
        for word in paragraph.split():
            candidate = f"{line} {word}" if line else word
            if font.getlength(candidate) <= room:
                line = candidate
                continue
            if line:
                lines.append(line)
            while font.getlength(word) > room and len(word) > 1:
                fits = next(n for n in range(len(word) - 1, 0, -1) if n == 1 or font.getlength(word[:n]) <= room)
                lines.append(word[:fits])
                word = word[fits:]
            line = word
        lines.append(line)
    return lines
