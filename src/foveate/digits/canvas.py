"""Digits moved and warped, and on a larger canvas: translated, and among clutter (Mnih et al. 2014, section 4.2)."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.ndimage import affine_transform

PIECE_PX = 8


def translated(digits: NDArray[np.uint8], side: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Each digit at a place of a black canvas, drawn evenly from those where it lies wholly within.

    digits: (B, h, w); returns (B, side, side). Raises ValueError when a digit is larger than the canvas.
    """
    count, height, width = digits.shape
    if max(height, width) > side:
        raise ValueError(f"side: expected at least the digits' {height} x {width} px. Received: {side}")
    canvas = np.zeros((count, side, side), np.uint8)
    places = sliding_window_view(canvas, (height, width), axis=(1, 2), writeable=True)
    places[np.arange(count), *_drawn(places.shape[1:3], (count,), rng)] = digits
    return canvas


def shifted(images: NDArray[np.uint8], most: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Each image moved by -most to `most` px down and across, black where it came from. (B, h, w), the same shape."""
    padded = np.pad(images, ((0, 0), (most, most), (most, most)))
    windows = sliding_window_view(padded, images.shape[1:], axis=(1, 2))
    return windows[np.arange(len(images)), *_drawn((2 * most + 1,) * 2, (len(images),), rng)]


def warped(images: NDArray[np.uint8], most: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Each image turned, stretched and slanted a little about its middle, black where it came from.

    A pixel shows what was at `map` times its place, both from the middle, rows before columns, between pixels in
    proportion. Each of the map's 2 x 2 numbers is drawn from `most` below the identity's to `most` above.
    images: (B, h, w); returns the same shape.
    """
    maps = np.eye(2) + rng.uniform(-most, most, (len(images), 2, 2))
    middle = (np.array(images.shape[1:]) - 1) / 2
    out = np.empty_like(images)
    for image, new, one in zip(images, out, maps, strict=True):
        affine_transform(image, one, middle - one @ middle, output=new, order=1)
    return out


def cluttered(
    digits: NDArray[np.uint8], side: int, pieces: int, source: NDArray[np.uint8], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Translated digits, with `pieces` squares of `PIECE_PX` px of other digits over each canvas.

    Each square is cut at a random place of a random image of `source` and put at a random place, wholly within;
    where squares and digit overlap the brightest shows. digits: (B, h, w); source: (n, h, w); returns (B, side, side).
    """
    canvas = translated(digits, side, rng)
    cuts = sliding_window_view(source, (PIECE_PX, PIECE_PX), axis=(1, 2))
    places = sliding_window_view(canvas, (PIECE_PX, PIECE_PX), axis=(1, 2), writeable=True)
    rows, drawn = np.arange(len(canvas)), (pieces, len(canvas))
    squares = cuts[_drawn(cuts.shape[:3], drawn, rng)]
    for square, top, left in zip(squares, *_drawn(places.shape[1:3], drawn, rng), strict=True):
        places[rows, top, left] = np.maximum(places[rows, top, left], square)
    return canvas


def _drawn(ends: tuple[int, ...], shape: tuple[int, ...], rng: np.random.Generator) -> tuple[NDArray[np.int64], ...]:
    """For each end, an array of `shape` with random integers from 0 to below it."""
    return tuple(rng.integers(end, size=shape) for end in ends)
