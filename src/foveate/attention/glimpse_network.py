"""The glimpse network: what was seen and where, as one vector (Mnih et al. 2014, section 3.1 B)."""

from typing import Any

import keras
from keras import ops

from foveate.attention.registry import PACKAGE

TOWER = ((24, 5, 2), (32, 3, 2), (48, 3, 2))  # filters, kernel, stride


@keras.saving.register_keras_serializable(PACKAGE)
class GlimpseNetwork(keras.layers.Layer):
    """Glimpse and location to a vector: relu(W_what what + W_where where), written as one product.

    Every scale has its own convolution tower, because texture at 1 and at 32 um/px has nothing in common.
    `evidence` is a classifier of one glimpse. It can be pretrained on annotated cells, and it is part of "what".

    Parameters
    ----------
    features : length of the vector.
    scales : number S of squares in a glimpse.
    classes : number of slide classes.
    """

    def __init__(self, features: int, scales: int, classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.features, self.scales, self.classes = features, scales, classes
        self.towers = [
            keras.Sequential([layer for step in TOWER for layer in _block(*step)], name=f"tower_{k}")
            for k in range(scales)
        ]
        self.seen = keras.layers.Dense(features, activation="relu", name="seen")
        self.evidence = keras.layers.Dense(classes, name="evidence")
        self.what_and_where = keras.layers.Dense(features, activation="relu", name="what_and_where")

    def build(self, pixels_shape: tuple[int | None, ...], where_shape: tuple[int | None, ...]) -> None:
        _, _, height, width, _ = pixels_shape
        for tower in self.towers:
            tower.build((None, height, width, 3))
        self.seen.build((None, self.scales * TOWER[-1][0]))
        self.evidence.build((None, self.features))
        self.what_and_where.build((None, self.features + self.classes + where_shape[-1]))  # type: ignore[operator]

    def see(self, pixels: Any) -> tuple[Any, Any]:
        """(B, S, g, g, 3) uint8 pixels to what was seen, (B, features), and its class logits, (B, classes)."""
        scaled = ops.cast(pixels, self.compute_dtype) / 127.5 - 1.0
        pooled = [ops.mean(tower(scaled[:, k]), axis=(1, 2)) for k, tower in enumerate(self.towers)]
        seen = self.seen(ops.concatenate(pooled, -1))
        return seen, self.evidence(seen)

    def call(self, pixels: Any, where: Any) -> tuple[Any, Any]:
        """(B, S, g, g, 3) uint8 pixels and (B, 2) locations to the glimpse vector (B, features) and the
        log-probabilities of the classes from this glimpse alone (B, classes).
        """
        seen, logits = self.see(pixels)
        vector = self.what_and_where(ops.concatenate([seen, ops.softmax(logits), where], -1))
        return vector, ops.log_softmax(logits)

    @property
    def sight(self) -> list[keras.layers.Layer]:
        """What turns pixels into what was seen and its evidence."""
        return [*self.towers, self.seen, self.evidence]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "features": self.features,
            "scales": self.scales,
            "classes": self.classes,
        }


def _block(filters: int, kernel: int, stride: int) -> list[keras.layers.Layer]:
    return [
        keras.layers.Conv2D(filters, kernel, stride, padding="same", use_bias=False),
        keras.layers.GroupNormalization(8),
        keras.layers.ReLU(),
    ]
