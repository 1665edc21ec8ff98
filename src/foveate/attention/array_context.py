"""The context network for arrays: the whole image, small, as the first state of the location path (Ba et al. 2015)."""

from typing import Any

import keras
from keras import ops

from foveate.attention.registry import part
from foveate.attention.settings import pair, whole
from foveate.errors import FoveateError


@part("context", "convolutional")
class ArrayContext(keras.layers.Layer):
    """Image to a vector: mean over blocks of pixels, two convolutions with maxima, a dense layer with tanh.

    Parameters
    ----------
    units : length of the vector, the location path's state.
    px : about how many pixels wide the small image is; blocks are of whole pixels.
    filters : of the two convolutions of 3 x 3.
    """

    def __init__(self, units: int = 256, px: int = 25, filters: tuple[int, int] = (16, 32), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        whole("units", units)
        whole("px", px, 4)
        pair("filters", filters)
        self.units, self.px, self.filters = units, px, tuple(filters)
        conv = keras.layers.Conv2D
        self.inner = conv(self.filters[0], 3, padding="same", activation="relu", name="inner")
        self.outer = conv(self.filters[1], 3, padding="same", activation="relu", name="outer")
        self.out = keras.layers.Dense(units, activation="tanh", name="out")

    def build(self, images_shape: tuple[int | None, ...]) -> None:
        _, height, width, channels = (int(n or 0) for n in images_shape)
        block = self._block(height, width)
        down, across = height // block, width // block
        if min(down, across) < 4:
            raise FoveateError(f"context: it sees {width} x {height} px as {across} x {down}; expected at least 4 x 4")
        self.inner.build((None, down, across, channels))
        self.outer.build((None, down // 2, across // 2, self.filters[0]))
        self.out.build((None, (down // 4) * (across // 4) * self.filters[1]))

    def call(self, images: Any) -> Any:
        """(I, H, W, C) uint8 images to (I, units) in -1 to 1."""
        block = self._block(*images.shape[1:3])
        small = ops.average_pool(
            ops.cast(images, self.compute_dtype) / 255.0, block, block, data_format="channels_last"
        )
        seen = small
        for conv in (self.inner, self.outer):
            seen = ops.max_pool(conv(seen), 2, 2, data_format="channels_last")
        return self.out(ops.reshape(seen, (ops.shape(images)[0], -1)))

    def _block(self, height: int, width: int) -> int:
        return max(1, round(max(height, width) / self.px))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units, "px": self.px, "filters": self.filters}
