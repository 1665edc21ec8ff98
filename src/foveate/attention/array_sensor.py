"""The glimpse sensor for images that are arrays: in the graph, many places at once."""

from typing import Any

import keras
from keras import ops

from foveate.attention.registry import PACKAGE


@keras.saving.register_keras_serializable(PACKAGE)
class ArraySensor(keras.layers.Layer):
    """Concentric squares around places of an image, each twice as wide as the one before (Mnih et al. 2014, 3.1 A).

    A square of scale k is the mean over 2^k x 2^k px. What lies outside the image is 0. No gradient flows through it.

    Parameters
    ----------
    px : side g of every square.
    scales : number S of squares.
    """

    def __init__(self, px: int, scales: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.px, self.scales = px, scales

    def call(self, images: Any, location: Any) -> Any:
        """(B, H, W, C) images and (B, L, 2) places (x, y) in [-1, 1] to (B, L, S, g, g, C), finest scale first.

        -1 is the left and upper edge, 1 the right and lower one; squares begin at whole pixels.
        """
        rows, (height, width, channels) = ops.shape(images)[0], images.shape[1:]
        places, squares = location.shape[1], location.shape[1] * self.scales
        down = ops.reshape(self._shares(location[..., 1], height), (rows, squares * self.px, height))
        lines = down @ ops.reshape(ops.cast(images, self.compute_dtype), (rows, height, width * channels))
        lines = ops.reshape(lines, (rows, squares, self.px, width, channels))
        across = ops.reshape(self._shares(location[..., 0], width), (rows, squares, 1, self.px, width))
        glimpses = ops.matmul(across, lines)
        shape = (rows, places, self.scales, self.px, self.px, channels)
        return ops.stop_gradient(ops.reshape(glimpses, shape))

    def _shares(self, at: Any, side: int) -> Any:
        """(B, L) coordinates along one axis to (B, L, S, g, side): the share of each pixel in each of the square's."""
        per_scale = []
        for factor in (2**k for k in range(self.scales)):
            first = ops.round((at + 1) / 2 * side - self.px * factor / 2)
            index = ops.floor((ops.arange(side, dtype=self.compute_dtype) - first[..., None]) / factor)
            belongs = ops.equal(index[..., None, :], ops.arange(self.px, dtype=self.compute_dtype)[:, None])
            per_scale.append(ops.cast(belongs, self.compute_dtype) / factor)
        return ops.stack(per_scale, axis=2)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "px": self.px, "scales": self.scales}
