"""Where to look next in an image: a Gaussian over [-1, 1]^2 (Mnih et al. 2014, section 3.1 C)."""

import math
from typing import Any

import keras
from keras import ops

from foveate.attention.registry import part
from foveate.attention.settings import above, whole

LEAST_STD = 0.02


@part("location", "gaussian")
class GaussianLocation(keras.layers.Layer):
    """State to the mean of a location; the standard deviation is fixed or learned with it.

    A hidden layer before tanh keeps the mean out of the corners, where tanh has no gradient. A choice is a place
    (R, 2) that was not yet clipped. There is no memory of earlier choices.

    Parameters
    ----------
    hidden : units of the hidden layer.
    std : standard deviation of x and y, above 0; where it is learned, its start, above `LEAST_STD`.
    learned : whether the state decides it.
    """

    def __init__(self, hidden: int = 128, std: float = 0.1, learned: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        whole("hidden", hidden)
        above("std", std, LEAST_STD if learned else 0)
        self.hidden, self.std, self.learned = hidden, std, learned
        self.inner = keras.layers.Dense(hidden, activation="relu", name="inner")
        self.mean = keras.layers.Dense(2, activation="tanh", name="mean")
        raw = math.log(math.expm1(std - LEAST_STD)) if learned else 0.0
        start = keras.initializers.Constant(raw)
        self.spread = keras.layers.Dense(2, kernel_initializer="zeros", bias_initializer=start, name="spread")

    def build(self, state_shape: tuple[int | None, ...]) -> None:
        self.inner.build(state_shape)
        self.mean.build((None, self.hidden))
        if self.learned:
            self.spread.build((None, self.hidden))

    def memory_size(self) -> int:
        """Numbers kept of each image."""
        return 0

    def call(self, state: Any, memory: Any = None, allowed: Any = None) -> tuple[Any, Any]:
        """(R, H), detached by the caller, to mean and standard deviation, (R, 2) each, x and y."""
        del memory, allowed
        inner = self.inner(state)
        mean = self.mean(inner)
        if not self.learned:
            return mean, ops.full_like(mean, self.std)
        return mean, ops.softplus(self.spread(inner)) + LEAST_STD

    def noise(self, rows: Any, seed: Any) -> Any:
        """(R, 2) of the standard normal distribution."""
        return keras.random.normal((rows, 2), dtype=self.compute_dtype, seed=seed)

    def sample(self, distribution: tuple[Any, Any], noise: Any) -> Any:
        """(R, 2) mean + std * noise, detached."""
        mean, std = distribution
        return ops.stop_gradient(mean + std * noise)

    def mode(self, distribution: tuple[Any, Any]) -> Any:
        """(R, 2) the likeliest place, detached."""
        return ops.stop_gradient(distribution[0])

    def anywhere(self, rows: Any, allowed: Any, seed: Any) -> Any:
        """(R, 2) uniformly random places."""
        del allowed
        return keras.random.uniform((rows, 2), -1.0, 1.0, self.compute_dtype, seed)

    def place(self, choice: Any) -> Any:
        """(R, 2) x, y in [-1, 1]: the choice, clipped."""
        return ops.clip(choice, -1.0, 1.0)

    def log_prob(self, distribution: tuple[Any, Any], choice: Any) -> Any:
        """(...) log density of choices (..., 2). The mean is not detached."""
        mean, std = distribution
        z = (choice - mean) / std
        return ops.sum(-0.5 * z**2 - ops.log(std) - 0.5 * math.log(2 * math.pi), axis=-1)

    def entropy(self, distribution: tuple[Any, Any]) -> Any:
        """(...) nats."""
        return ops.sum(ops.log(distribution[1]) + 0.5 * math.log(2 * math.pi * math.e), axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "hidden": self.hidden, "std": self.std, "learned": self.learned}
