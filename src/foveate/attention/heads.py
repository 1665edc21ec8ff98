"""What reads the agent's sight: the answer, and the reward to expect."""

from typing import Any

import keras

from foveate.attention.registry import part


@part("action", "dense")
def dense_action(classes: int, **kwargs: Any) -> keras.layers.Layer:
    """The action network: logits (..., K) = W s + b of the sight s (..., H) (Mnih et al. 2014, section 3.1 D)."""
    return keras.layers.Dense(classes, **kwargs)


@part("baseline", "dense")
def dense_baseline(**kwargs: Any) -> keras.layers.Layer:
    """The baseline: (..., 1) = w . s + b of the detached sight s (..., H) (Mnih et al. 2014, section 3.2)."""
    return keras.layers.Dense(1, **kwargs)


@part("baseline", "constant")
class ConstantBaseline(keras.layers.Layer):
    """The same reward for any sight: the running mean, learned (Williams 1992, section 4)."""

    def build(self, sight_shape: tuple[int | None, ...]) -> None:
        del sight_shape
        self.mean = self.add_weight(shape=(1,), initializer="zeros", name="mean")

    def call(self, sight: Any) -> Any:
        """(..., H) to (..., 1)."""
        return keras.ops.zeros_like(sight[..., :1]) + self.mean
