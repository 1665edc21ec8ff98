"""The mean over areas: how more pixels than a glimpse has become the glimpse's."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image


class AreaFilter:
    """Shrinks, or enlarges, an image to `px` x `px`: each pixel is the mean of the area that it covers.

    Parameters
    ----------
    sides_px : width and height of the part of an image that becomes the square, from its top-left corner on; a
        pixel at the edge of an area counts by the share of it that lies within.
    """

    def __init__(self, sides_px: tuple[float, float], px: int) -> None:
        self._px = px
        self._factors = (round(sides_px[0] / px), round(sides_px[1] / px))
        self._whole = sides_px == tuple(factor * px for factor in self._factors)
        if not self._whole:
            self._columns, self._rows = (_shares(side, px) for side in sides_px)

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(h, w, 3), at least as large as the sides, rounded up, to (px, px, 3)."""
        if self._whole:
            width, height = (factor * self._px for factor in self._factors)
            return np.asarray(Image.fromarray(image[:height, :width]).reduce(self._factors))
        index, share = self._rows
        lines = np.zeros((self._px, *image.shape[1:]), np.float32)
        for k in range(index.shape[1]):
            lines += share[:, k, None, None] * image[index[:, k]]
        index, share = self._columns
        mean = np.full((self._px, self._px, 3), 0.5, np.float32)  # rounds
        for k in range(index.shape[1]):
            mean += share[:, k, None] * lines[:, index[:, k]]
        return mean.astype(np.uint8)


def _shares(side: float, px: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """(px, K) pixels that each of `px` equal parts of `side` touches, and their shares, which add up to one."""
    step = side / px
    begin = np.arange(px)[:, None] * step
    index = np.floor(begin + 1e-9).astype(np.int64) + np.arange(int(np.ceil(step)) + 1)
    share = np.clip(np.minimum(index + 1, begin + step) - np.maximum(index, begin), 0, None)
    return np.minimum(index, int(np.ceil(side)) - 1), (share / share.sum(1, keepdims=True)).astype(np.float32)
