"""The glimpse sensor for images that are arrays: in the graph, a place of an image a row."""

from typing import Any

import keras
from keras import ops

from foveate.attention.registry import PACKAGE

# Pixels of an image for one of a square: up to here the image is averaged once, beyond it each square for itself.
WHOLE = 100


@keras.saving.register_keras_serializable(PACKAGE)
class ArraySensor(keras.layers.Layer):
    """Concentric squares around places of an image, each twice as wide as the one before (Mnih et al. 2014, 3.1 A).

    A pixel of scale k is the mean over 2^k x 2^k px. What lies outside the image is 0. No gradient flows through it.
    A glimpse costs the same in an image of any size.

    Parameters
    ----------
    px : side g of every square.
    scales : number S of squares.
    """

    def __init__(self, px: int, scales: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.px, self.scales = px, scales

    def focus(self, images: Any) -> list[Any]:
        """What `call` looks at: (I, H, W, C) uint8 images, for every scale; done once for many glimpses.

        A scale whose square is not much smaller than the image gets the mean over 2^k x 2^k px that begins at each
        pixel, (I, H + 2^k - 1, W + 2^k - 1, C), so that a glimpse picks g x g numbers; others get the images.
        """
        height, width = images.shape[1:3]
        layers, mean = [images], ops.cast(images, self.compute_dtype)
        for half in (2**k for k in range(self.scales - 1)):
            mean = _pair_means(_pair_means(mean, 1, half), 2, half)
            layers.append(images if height * width > WHOLE * (2 * half * self.px) ** 2 else mean)
        return layers

    def call(self, layers: list[Any], which: Any, location: Any) -> Any:
        """Glimpses (R, S, g, g, C) in 0 to 1, finest scale first.

        layers: what `focus` made of I images of H x W px. which: (R,) int, the image of each row. location: (R, 2)
        x, y in [-1, 1]: -1 is the left and upper edge, 1 the right and lower one; squares begin at whole pixels.
        """
        height, width = layers[0].shape[1:3]
        squares = []
        for k, layer in enumerate(layers):
            factor, margin = 2**k, layer.shape[1] - height
            step, sub = (factor, 1) if margin or k == 0 else (1, factor)
            across = self._lines(location[:, 0], width, factor, self.px * sub, step) + margin
            down = self._lines(location[:, 1], height, factor, self.px * sub, step) + margin
            square = _gather(layer, which, down, across)
            square = ops.cast(square, self.compute_dtype)
            squares.append(ops.average_pool(square, sub, sub, data_format="channels_last") if sub > 1 else square)
        return ops.stop_gradient(ops.stack(squares, axis=1) / 255.0)

    def _lines(self, at: Any, side: int, factor: int, count: int, step: int) -> Any:
        """(R,) coordinates along one axis to (R, count) int32 pixels that begin the square's pixels."""
        first = ops.cast(ops.round((at + 1) / 2 * side - self.px * factor / 2), "int32")
        return first[:, None] + step * ops.arange(count, dtype="int32")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "px": self.px, "scales": self.scales}


def _pair_means(image: Any, axis: int, apart: int) -> Any:
    """Means of pixels that lie `apart` along an axis, black beyond the edges; the axis grows by `apart`."""
    pads = [[0, 0]] * 4
    before = ops.pad(image, [[apart, 0] if k == axis else pad for k, pad in enumerate(pads)])
    after = ops.pad(image, [[0, apart] if k == axis else pad for k, pad in enumerate(pads)])
    return (before + after) / 2


def _gather(images: Any, which: Any, down: Any, across: Any) -> Any:
    """Pixels (R, D, A, C) of the images (I, H, W, C) at rows `down` (R, D) and columns `across` (R, A); 0 outside."""
    height, width, channels = images.shape[1:]
    inside = ops.logical_and(_within(down, height)[:, :, None], _within(across, width)[:, None])
    index = (which[:, None] * height + ops.clip(down, 0, height - 1)) * width
    index = index[:, :, None] + ops.clip(across, 0, width - 1)[:, None]
    pixels = ops.take(ops.reshape(images, (-1, channels)), index, axis=0)
    return pixels * ops.cast(inside, images.dtype)[..., None]


def _within(index: Any, side: int) -> Any:
    return ops.logical_and(index >= 0, index < side)
