"""The location policy: a categorical distribution over the tissue cells of the overview."""

from typing import Any

import keras
from keras import ops

from foveate.attention.registry import PACKAGE

NEVER = -1e9  # logit of what cannot be chosen
HEIGHT = 4.0  # of the inhibition before training: the surroundings become e^4 times less likely


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

    def call(self, state: Any, cells: Any, salience: Any, inhibition: Any, allowed: Any) -> Any:
        """Log-probabilities (B, N) over cells.

        state: (B, H), detached by the caller. cells: (B, N, C). salience, inhibition: (B, N).
        allowed: (B, N) bool, at least one a row.
        """
        query = self.query(state) / float(self.features) ** 0.5
        logits = salience + ops.einsum("bnc,bc->bn", cells, query) - inhibition
        return ops.log_softmax(ops.where(allowed, logits, NEVER), axis=-1)

    def inhibit(self, state: Any, visited: Any, columns: int, count: int) -> Any:
        """Inhibition (B, N) that a fixation on cell `visited`, (B,) indices into rows x `columns`, leaves."""
        index = ops.arange(count)
        rows, cols = index // columns, index % columns
        down = ops.cast(rows[None] - (visited // columns)[:, None], self.compute_dtype)
        across = ops.cast(cols[None] - (visited % columns)[:, None], self.compute_dtype)
        bump = ops.exp(-(down**2 + across**2) / (2 * self.spread**2))
        return self.height(state) * bump

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "features": self.features, "spread": self.spread}
