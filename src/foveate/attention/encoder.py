"""A given image encoder in place of the towers of the glimpse network."""

from typing import Any

import keras
from keras import ops

from foveate.attention.registry import PACKAGE


@keras.saving.register_keras_serializable(PACKAGE)
class Encoder(keras.layers.Layer):
    """One encoder for the squares of all scales; its batch statistics stay as they were given.

    Parameters
    ----------
    network : a Keras model from (n, g, g, 3) numbers to (n, F).
    mean, std : what the encoder was trained with, for pixels from 0 to 255: it gets (pixels - mean) / std.
    frozen : its weights do not learn.

    Raises
    ------
    ValueError
        For a network that takes or gives something else.
    """

    def __init__(
        self, network: keras.Model, mean: float = 127.5, std: float = 127.5, frozen: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        takes, gives = network.input_shape, network.output_shape
        if not (isinstance(takes, tuple) and len(takes) == 4 and takes[-1] == 3 and len(gives) == 2 and gives[-1]):
            raise ValueError(f"network: expected (n, g, g, 3) to (n, F). Received: {takes} to {gives}")
        self.network, self.mean, self.std, self.frozen = network, mean, std, frozen
        self.features = int(gives[-1])
        self.network.trainable = not frozen

    def build(self, pixels_shape: tuple[int | None, ...]) -> None:
        self.built = True

    def call(self, pixels: Any) -> Any:
        """(n, S, g, g, 3) uint8 to (n, S * F), scale by scale."""
        flat = ops.reshape(pixels, (-1, *pixels.shape[2:]))
        seen = self.network((ops.cast(flat, self.compute_dtype) - self.mean) / self.std, training=False)
        return ops.reshape(seen, (-1, pixels.shape[1] * self.features))

    def get_config(self) -> dict[str, Any]:
        network = keras.saving.serialize_keras_object(self.network)
        return {**super().get_config(), "network": network, "mean": self.mean, "std": self.std, "frozen": self.frozen}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Encoder":
        return cls(**{**config, "network": keras.saving.deserialize_keras_object(config["network"])})
