"""Which image of a group to look at next: a distribution over images, learned by REINFORCE like the location."""

from typing import Any

import keras
from keras import ops

from foveate.attention.cells import gumbel
from foveate.attention.policy import NEVER, chosen
from foveate.attention.registry import part
from foveate.attention.settings import whole


@part("picker", "categorical")
class Picker(keras.layers.Layer):
    """State and a note on each image to log-probabilities over the images of a group.

    One small network scores every image alike, so groups may differ in size and the order of images does not matter.

    Parameters
    ----------
    hidden : units of the hidden layer.
    even : it begins without a preference; otherwise with a random one.
    """

    def __init__(self, hidden: int = 64, even: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        whole("hidden", hidden)
        self.hidden, self.even = hidden, even
        self.inner = keras.layers.Dense(hidden, activation="relu", name="inner")
        start = "zeros" if even else "glorot_uniform"
        self.score = keras.layers.Dense(1, use_bias=False, kernel_initializer=start, name="score")

    def build(self, state_shape: tuple[int | None, ...], notes_shape: tuple[int | None, ...]) -> None:
        self.inner.build((None, None, state_shape[-1] + notes_shape[-1]))  # type: ignore[operator]
        self.score.build((None, None, self.hidden))

    def call(self, state: Any, notes: Any, present: Any = None) -> Any:
        """Log-probabilities (R, N).

        state: (R, H), detached by the caller. notes: (R, N, F), what is known of each image, detached as well.
        present: (R, N) bool, False where a group has fewer images, at least one a row; None: all are there.
        """
        spread = ops.repeat(state[:, None], ops.shape(notes)[1], axis=1)
        logits = self.score(self.inner(ops.concatenate([spread, notes], -1)))[..., 0]
        return ops.log_softmax(logits if present is None else ops.where(present, logits, NEVER), axis=-1)

    def noise(self, rows: Any, group: int, seed: Any) -> Any:
        """(R, N) of the standard Gumbel distribution."""
        return gumbel((rows, group), self.compute_dtype, seed)

    def sample(self, log_p: Any, noise: Any) -> Any:
        """(R,) int32 images drawn (Gumbel 1954: the largest of log p + noise); not a function of the parameters."""
        return ops.cast(ops.argmax(ops.stop_gradient(log_p) + noise, axis=-1), "int32")

    def log_prob(self, log_p: Any, picked: Any) -> Any:
        """(...) log-probability of the images (...) that were picked. The log-probabilities are not detached."""
        return chosen(log_p, picked)

    def entropy(self, log_p: Any) -> Any:
        """(...) nats."""
        return -ops.sum(ops.exp(log_p) * log_p, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "hidden": self.hidden, "even": self.even}
