"""What a glimpse shows, by a small convolution tower a scale."""

from typing import Any

import keras
from keras import ops

from foveate.attention.registry import PACKAGE

TOWER = ((24, 5, 2), (32, 3, 2), (48, 3, 2))  # filters, kernel, stride


@keras.saving.register_keras_serializable(PACKAGE)
class Towers(keras.layers.Layer):
    """Every scale has its own tower, because texture at 1 and at 32 um/px has nothing in common.

    Parameters
    ----------
    scales : number S of squares in a glimpse.
    """

    def __init__(self, scales: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scales = scales
        self.features = TOWER[-1][0]  # of each scale
        self.towers = [
            keras.Sequential([layer for step in TOWER for layer in block(*step)], name=f"tower_{k}")
            for k in range(scales)
        ]

    def build(self, pixels_shape: tuple[int | None, ...]) -> None:
        for tower in self.towers:
            tower.build((None, *pixels_shape[2:]))

    def call(self, pixels: Any) -> Any:
        """(n, S, g, g, 3) uint8 to (n, S * features), scale by scale."""
        scaled = ops.cast(pixels, self.compute_dtype) / 127.5 - 1.0
        return ops.concatenate(
            [ops.mean(tower(scaled[:, k]), axis=(1, 2)) for k, tower in enumerate(self.towers)], axis=-1
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scales": self.scales}


def block(filters: int, kernel: int, stride: int) -> list[keras.layers.Layer]:
    """Layers of a convolution step."""
    return [
        keras.layers.Conv2D(filters, kernel, stride, padding="same", use_bias=False),
        keras.layers.GroupNormalization(8),
        keras.layers.ReLU(),
    ]
