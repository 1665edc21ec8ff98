"""Pictures as data URIs: the slide's thumbnail and the contact sheet of its glimpses."""

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

QUALITY = 80
TILE_PX = 64
THUMBNAIL_PX = 520


def jpeg_uri(picture: NDArray[np.uint8], quality: int = QUALITY) -> str:
    """`picture`, (H, W, 3) RGB, as a `data:image/jpeg` URI."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=quality, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def small_thumbnail(thumbnail: NDArray[np.uint8], longest: int = THUMBNAIL_PX) -> NDArray[np.uint8]:
    """`thumbnail`, (H, W, 3), made smaller until its longest side is `longest` pixels; never enlarged."""
    height, width = thumbnail.shape[:2]
    scale = min(1.0, longest / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(thumbnail).resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0))


def contact_sheet(glimpses: NDArray[np.uint8], tile: int = TILE_PX) -> NDArray[np.uint8]:
    """The glimpses of one slide side by side: one column a fixation, one row a scale.

    glimpses: (T, S, g, g, 3), the finest scale first. Returns (S * tile, T * tile, 3) without gaps.
    """
    fixations, scales = glimpses.shape[:2]
    sheet = np.empty((scales * tile, fixations * tile, 3), np.uint8)
    for t in range(fixations):
        for s in range(scales):
            patch = Image.fromarray(glimpses[t, s]).resize((tile, tile), Image.Resampling.LANCZOS)
            sheet[s * tile : (s + 1) * tile, t * tile : (t + 1) * tile] = np.asarray(patch)
    return sheet
