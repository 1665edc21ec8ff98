"""The context network: the overview, as features of its cells (Ba et al. 2015, section 3)."""

from typing import Any

import keras
from keras import ops

from foveate.attention.registry import PACKAGE


@keras.saving.register_keras_serializable(PACKAGE)
class ContextNetwork(keras.layers.Layer):
    """A small convolution net over the overview, one feature vector and one salience a cell.

    It feeds the location path alone. The class is read from glimpses, so that it cannot be guessed from
    the low resolution.

    Parameters
    ----------
    features : length C of a cell's vector.
    cell_px : side of a cell in overview pixels, a multiple of 4.
    """

    def __init__(self, features: int, cell_px: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.features, self.cell_px = features, cell_px
        conv = keras.layers.Conv2D
        self.net = keras.Sequential(
            [
                conv(16, 3, 2, padding="same", activation="relu"),
                conv(features, 3, 2, padding="same", activation="relu"),
                keras.layers.AveragePooling2D(cell_px // 4) if cell_px > 4 else keras.layers.Identity(),
                conv(features, 3, padding="same", activation="relu"),
                conv(features, 3, padding="same", activation="relu"),
            ],
            name="net",
        )
        self.salience = keras.layers.Dense(1, name="salience")

    def build(self, overview_shape: tuple[int | None, ...]) -> None:
        self.net.build((None, None, None, 3))
        self.salience.build((None, self.features))

    def call(self, overview: Any) -> tuple[Any, Any]:
        """(B, R * cell_px, C * cell_px, 3) uint8 to features (B, R * C, features) and salience (B, R * C)."""
        maps = self.net(ops.cast(overview, self.compute_dtype) / 127.5 - 1.0)
        cells = ops.reshape(maps, (ops.shape(maps)[0], -1, self.features))
        return cells, self.salience(cells)[..., 0]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "features": self.features, "cell_px": self.cell_px}
