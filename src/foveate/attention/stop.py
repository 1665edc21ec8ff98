"""When to stop looking: the exploration network of Yarin 2017, trained with a price per glimpse."""

import math
from typing import Any

import keras
from keras import ops

from foveate.attention.registry import part
from foveate.attention.settings import above, whole


@part("stop", "bernoulli")
class StopNetwork(keras.layers.Layer):
    """State to the probability that enough has been seen: p = s(w . relu(W h + b) + b').

    Parameters
    ----------
    hidden : units of the hidden layer.
    start : p before training, at any state, between 0 and 1; small, so that the other parts can learn first.
    """

    def __init__(self, hidden: int = 64, start: float = 0.02, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        whole("hidden", hidden)
        above("start", start, 0, 1)
        self.hidden, self.start = hidden, start
        bias = keras.initializers.Constant(-math.log(1 / start - 1))
        self.inner = keras.layers.Dense(hidden, activation="relu", name="inner")
        self.logit = keras.layers.Dense(1, kernel_initializer="zeros", bias_initializer=bias, name="logit")

    def build(self, state_shape: tuple[int | None, ...]) -> None:
        self.inner.build(state_shape)
        self.logit.build((*state_shape[:-1], self.hidden))

    def call(self, state: Any) -> Any:
        """(..., H), detached by the caller, to logits (...) of stopping."""
        return self.logit(self.inner(state))[..., 0]

    def sample(self, logit: Any, seed: Any) -> Any:
        """(...) bool, drawn; not a function of the parameters."""
        return keras.random.uniform(ops.shape(logit), seed=seed) < ops.sigmoid(ops.stop_gradient(logit))

    def mode(self, logit: Any) -> Any:
        """(...) bool, whether stopping is likelier than not."""
        return logit > 0

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "hidden": self.hidden, "start": self.start}
