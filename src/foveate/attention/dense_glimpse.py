"""The glimpse network of the paper: what and where, each through a layer of its own, added."""

from typing import Any

import keras
from keras import ops

from foveate.attention.registry import part
from foveate.attention.settings import whole


@part("glimpse", "dense")
class DenseGlimpse(keras.layers.Layer):
    """g = relu(W_1 relu(W_what x + b) + W_2 relu(W_where l + b)) (Mnih et al. 2014, section 4).

    Parameters
    ----------
    hidden : units of the layers for what and for where (128 in the paper).
    features : length of the vector g (256 in the paper).
    """

    def __init__(self, hidden: int = 128, features: int = 256, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        whole("hidden", hidden)
        whole("features", features)
        self.hidden, self.features = hidden, features
        self.what = keras.layers.Dense(hidden, activation="relu", name="what")
        self.where = keras.layers.Dense(hidden, activation="relu", name="where")
        self.from_what = keras.layers.Dense(features, name="from_what")
        self.from_where = keras.layers.Dense(features, use_bias=False, name="from_where")

    def build(self, pixels_shape: tuple[int | None, ...], where_shape: tuple[int | None, ...]) -> None:
        size = 1
        for side in pixels_shape[1:]:
            size *= int(side or 0)
        self.what.build((None, size))
        self.where.build(where_shape)
        self.from_what.build((None, self.hidden))
        self.from_where.build((None, self.hidden))

    def call(self, pixels: Any, where: Any) -> Any:
        """(B, S, g, g, C) pixels, about 0 to 1, and (B, D) places to (B, features)."""
        what = self.what(ops.reshape(pixels, (ops.shape(pixels)[0], -1)))
        return ops.relu(self.from_what(what) + self.from_where(self.where(where)))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "hidden": self.hidden, "features": self.features}
