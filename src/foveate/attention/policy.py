"""The location policy: a categorical distribution over the tissue cells of the overview."""

from typing import Any

import keras
from keras import ops

from foveate.attention.registry import PACKAGE

NEVER = -1e9  # logit of what cannot be chosen
HEIGHT = 0.0  # of the inhibition before training, through a softplus: the surroundings become half as likely


@keras.saving.register_keras_serializable(PACKAGE)
class CellPolicy(keras.layers.Layer):
    """State and cell features to logits over cells, with inhibition of return.

    logit(cell) = salience + q(h) . f(cell) / sqrt(C) - inhibition(cell). A visited cell is never chosen again;
    around it every fixation leaves a Gaussian of inhibition, whose height the state decides: the model learns
    to leave a place that it has understood. (Klein 2000 for inhibition of return in people.)

    Parameters
    ----------
    features : length C of a cell's vector.
    spread : standard deviation of the inhibition, in cells.
    """

    def __init__(self, features: int, spread: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.features, self.spread = features, spread
        self.query = keras.layers.Dense(features, name="query")
        self.height = keras.layers.Dense(
            1, activation="softplus", bias_initializer=keras.initializers.Constant(HEIGHT), name="height"
        )

    def build(self, state_shape: tuple[int | None, ...]) -> None:
        self.query.build(state_shape)
        self.height.build(state_shape)

    def call(self, state: Any, cells: Any, salience: Any, inhibition: Any) -> Any:
        """Logits (B * M, N) of the candidates of B slides, for M rollouts each, side by side; see `renormalised`.

        state: (B * M, H), detached by the caller. cells: (B, N, C). salience: (B, N). inhibition: (B * M, N).
        """
        query = self.query(state) / float(self.features) ** 0.5
        query = ops.reshape(query, (ops.shape(cells)[0], -1, self.features))
        logits = salience[:, None] + ops.einsum("bnc,bmc->bmn", cells, query)
        return ops.reshape(logits, ops.shape(inhibition)) - inhibition

    def inhibit(self, state: Any, choice: Any, places: Any) -> Any:
        """Inhibition (B * M, N) that fixations leave. choice: (B * M,) candidates. places: (B, N, 2) row, column."""
        per_slide = ops.reshape(choice, (ops.shape(places)[0], -1))
        at = ops.take_along_axis(places, per_slide[..., None], axis=1)
        squared = ops.sum((places[:, None] - at[:, :, None]) ** 2, axis=-1)
        bump = ops.exp(-squared / (2 * self.spread**2))
        return self.height(state) * ops.reshape(bump, (-1, ops.shape(places)[1]))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "features": self.features, "spread": self.spread}


def renormalised(logits: Any, allowed: Any) -> Any:
    """Log-probabilities (R, N) of what is allowed, and NEVER for the rest. allowed: (R, N) bool, at least one a row."""
    return ops.log_softmax(ops.where(allowed, logits, NEVER), axis=-1)


def visit(allowed: Any, open_: Any, choice: Any) -> Any:
    """Inhibition of return: `allowed` without what was just visited, or all that is open again once none is left.

    allowed: (B * M, N) bool; open_: (B, N) bool; choice: (B * M,) int.
    """
    left = ops.logical_and(allowed, ops.arange(ops.shape(allowed)[1])[None] != choice[:, None])
    again = ops.repeat(open_, ops.shape(allowed)[0] // ops.shape(open_)[0], axis=0)
    return ops.where(ops.any(left, axis=1, keepdims=True), left, again)


EXPLORE = ("greedy", "sampled", "random")


def chosen(log_p: Any, choice: Any) -> Any:
    """(...) log-probabilities of choices (...) int, of distributions (..., N)."""
    return ops.take_along_axis(log_p, choice[..., None], axis=-1)[..., 0]


def pick(log_p: Any, allowed: Any, chance: Any, explore: str) -> Any:
    """One candidate a row, (R,) int32, by `explore`: sampled, by the policy; random, any; otherwise the likeliest.

    log_p (R, N); allowed (R, N) bool, at least one a row; chance (R,) from 0 to below 1, one number a row: the
    candidate at which the sum of probabilities exceeds it. Its random number does not grow with the slide.
    """
    if explore not in ("sampled", "random"):
        return ops.cast(ops.argmax(log_p, axis=-1), "int32")
    p = ops.exp(log_p) if explore == "sampled" else ops.cast(allowed, log_p.dtype)
    below = ops.cumsum(p, axis=-1)
    whole = below[:, -1:]
    passed = ops.sum(ops.cast(below <= chance[:, None] * whole, "int32"), axis=-1)
    return ops.minimum(passed, ops.sum(ops.cast(below < whole, "int32"), axis=-1))  # the product may round up to whole
