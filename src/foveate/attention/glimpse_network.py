"""The glimpse network: what was seen and where, as one vector (Mnih et al. 2014, section 3.1 B)."""

from typing import Any

import keras
from keras import ops

from foveate.attention.encoder import Encoder
from foveate.attention.registry import PACKAGE
from foveate.attention.towers import Towers


@keras.saving.register_keras_serializable(PACKAGE)
class GlimpseNetwork(keras.layers.Layer):
    """Glimpse and location to a vector: relu(W_what what + W_where where), written as one product.

    `evidence` is a classifier of one glimpse. It can be pretrained on annotated cells, and it is part of "what".

    Parameters
    ----------
    features : length of the vector.
    scales : number S of squares in a glimpse.
    classes : number of slide classes.
    encoder : in place of `Towers` for the finest squares.
    encoder_scales : how many those are; all where there are no more.
    """

    def __init__(
        self,
        features: int,
        scales: int,
        classes: int,
        encoder: Encoder | None = None,
        encoder_scales: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.features, self.scales, self.classes = features, scales, classes
        self.encoder = encoder
        self.encoder_scales = 0 if encoder is None else min(encoder_scales, scales)
        coarse = scales - self.encoder_scales
        self.towers = Towers(coarse, name="towers") if coarse else None
        self.seen = keras.layers.Dense(features, activation="relu", name="seen")
        self.evidence = keras.layers.Dense(classes, name="evidence")
        self.what_and_where = keras.layers.Dense(features, activation="relu", name="what_and_where")

    def build(self, pixels_shape: tuple[int | None, ...], where_shape: tuple[int | None, ...]) -> None:
        for eye, squares in self._eyes:
            eye.build((None, squares.stop - squares.start, *pixels_shape[2:]))
        self.seen.build((None, sum((s.stop - s.start) * eye.features for eye, s in self._eyes)))
        self.evidence.build((None, self.features))
        self.what_and_where.build((None, self.features + self.classes + where_shape[-1]))  # type: ignore[operator]

    def see(self, pixels: Any) -> tuple[Any, Any]:
        """(B, S, g, g, 3) uint8 pixels to what was seen, (B, features), and its class logits, (B, classes)."""
        seen = self.seen(ops.concatenate([eye(pixels[:, squares]) for eye, squares in self._eyes], -1))
        return seen, self.evidence(seen)

    def join(self, seen: Any, logits: Any, where: Any) -> tuple[Any, Any]:
        """What was seen and its class logits, see `see`, and (B, 2) locations to the glimpse vector (B, features) and
        the log-probabilities of the classes from this glimpse alone (B, classes).
        """
        vector = self.what_and_where(ops.concatenate([seen, ops.softmax(logits), where], -1))
        return vector, ops.log_softmax(logits)

    def call(self, pixels: Any, where: Any) -> tuple[Any, Any]:
        """`join` of what is to be seen in (B, S, g, g, 3) uint8 pixels."""
        return self.join(*self.see(pixels), where)

    @property
    def _eyes(self) -> list[tuple[Encoder | Towers, slice]]:
        """What looks at which squares."""
        first = [] if self.encoder is None else [(self.encoder, slice(0, self.encoder_scales))]
        return first + ([] if self.towers is None else [(self.towers, slice(self.encoder_scales, self.scales))])

    @property
    def sight(self) -> list[keras.layers.Layer]:
        """What turns pixels into what was seen and its evidence, without an encoder that is frozen."""
        eyes = [eye for eye, _ in self._eyes if not (eye is self.encoder and eye.frozen)]
        return [*eyes, self.seen, self.evidence]

    def get_config(self) -> dict[str, Any]:
        encoder = None if self.encoder is None else keras.saving.serialize_keras_object(self.encoder)
        return {
            **super().get_config(),
            "features": self.features,
            "scales": self.scales,
            "classes": self.classes,
            "encoder": encoder,
            "encoder_scales": self.encoder_scales,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "GlimpseNetwork":
        return cls(**{**config, "encoder": keras.saving.deserialize_keras_object(config["encoder"])})
