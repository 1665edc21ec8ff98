"""A glimpse network with convolutions: what is seen, times where it is (Ba et al. 2015, section 3)."""

from typing import Any

import keras
from keras import ops

from foveate.attention.registry import part
from foveate.attention.settings import pair, whole
from foveate.errors import FoveateError


@part("glimpse", "convolutional")
class ConvGlimpse(keras.layers.Layer):
    """g = what(x) * where(l): what is convolutions and a dense layer, where is a dense layer.

    The squares of all scales are channels of one picture, because their middles coincide.

    Parameters
    ----------
    filters : of the two convolutions of 3 x 3; the second is followed by 2 x 2 maxima.
    features : length of the vector g.
    """

    def __init__(self, filters: tuple[int, int] = (32, 64), features: int = 256, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        pair("filters", filters)
        whole("features", features)
        self.filters, self.features = tuple(filters), features
        conv = keras.layers.Conv2D
        self.inner = conv(self.filters[0], 3, padding="same", activation="relu", name="inner")
        self.outer = conv(self.filters[1], 3, padding="same", activation="relu", name="outer")
        self.what = keras.layers.Dense(features, activation="relu", name="what")
        self.where = keras.layers.Dense(features, activation="relu", bias_initializer="ones", name="where")

    def build(self, pixels_shape: tuple[int | None, ...], where_shape: tuple[int | None, ...]) -> None:
        _, scales, px, _, channels = (int(n or 0) for n in pixels_shape)
        if px < 2:
            raise FoveateError(f"px: {px}; expected at least 2, for the maxima of the convolutional glimpse network")
        self.inner.build((None, px, px, scales * channels))
        self.outer.build((None, px, px, self.filters[0]))
        self.what.build((None, (px // 2) ** 2 * self.filters[1]))
        self.where.build(where_shape)

    def call(self, pixels: Any, where: Any) -> Any:
        """(R, S, g, g, C) pixels in 0 to 1, and (R, 2) places to (R, features)."""
        rows, (scales, px, _, channels) = ops.shape(pixels)[0], pixels.shape[1:]
        picture = ops.reshape(ops.transpose(pixels, (0, 2, 3, 1, 4)), (rows, px, px, scales * channels))
        seen = ops.max_pool(self.outer(self.inner(picture)), 2, 2, data_format="channels_last")
        return self.what(ops.reshape(seen, (rows, -1))) * self.where(where)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters, "features": self.features}
