"""Where to look next in an image: one of the cells of a grid, with inhibition of return."""

from typing import Any

import keras
from keras import ops

from foveate.attention.policy import NEVER, chosen
from foveate.attention.registry import part
from foveate.attention.settings import whole

HEIGHT = 4.0  # of the inhibition before training: the surroundings become e^4 times less likely


@part("location", "cells")
class CellLocation(keras.layers.Layer):
    """State to a categorical distribution over `rows` x `columns` cells, a place being a cell's middle.

    logit(cell) = w(cell) . f(state) - height(state) * visits(cell): a cell that was visited becomes less likely, by as
    much as the state decides (Klein 2000 for inhibition of return in people). A choice is the index (R,) of a cell,
    row by row; the memory of an image is the number of visits to each of its cells.

    Parameters
    ----------
    rows, columns : of the grid over the image.
    hidden : units of the hidden layer f.
    """

    def __init__(self, rows: int = 8, columns: int = 8, hidden: int = 128, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name, value in (("rows", rows), ("columns", columns), ("hidden", hidden)):
            whole(name, value)
        self.rows, self.columns, self.hidden = rows, columns, hidden
        start = keras.initializers.Constant(HEIGHT)
        self.inner = keras.layers.Dense(hidden, activation="relu", name="inner")
        self.score = keras.layers.Dense(rows * columns, name="score")
        self.height = keras.layers.Dense(1, activation="softplus", bias_initializer=start, name="height")

    def build(self, state_shape: tuple[int | None, ...]) -> None:
        self.inner.build(state_shape)
        self.score.build((None, self.hidden))
        self.height.build((None, self.hidden))

    def memory_size(self) -> int:
        """Numbers kept of each image: visits to its cells."""
        return self.rows * self.columns

    def call(self, state: Any, memory: Any, allowed: Any = None) -> Any:
        """Log-probabilities (R, cells).

        state: (R, H), detached by the caller. memory: (R, cells) visits. allowed: (R, cells) bool, at least one a
        row, or None for all.
        """
        inner = self.inner(state)
        logits = self.score(inner) - self.height(inner) * memory
        if allowed is not None:
            logits = ops.where(allowed, logits, NEVER)
        return ops.log_softmax(logits, axis=-1)

    def noise(self, rows: Any, seed: Any) -> Any:
        """(R, cells) of the standard Gumbel distribution."""
        return gumbel((rows, self.rows * self.columns), self.compute_dtype, seed)

    def sample(self, distribution: Any, noise: Any) -> Any:
        """(R,) int32 cells drawn (Gumbel 1954: the largest of log p + noise); not a function of the parameters."""
        return ops.cast(ops.argmax(ops.stop_gradient(distribution) + noise, axis=-1), "int32")

    def mode(self, distribution: Any) -> Any:
        """(R,) int32 the likeliest cell."""
        return ops.cast(ops.argmax(distribution, axis=-1), "int32")

    def anywhere(self, rows: Any, allowed: Any, seed: Any) -> Any:
        """(R,) int32 uniformly random cells of those that are allowed."""
        noise = self.noise(rows, seed)
        return ops.cast(ops.argmax(noise if allowed is None else ops.where(allowed, noise, NEVER), axis=-1), "int32")

    def place(self, choice: Any) -> Any:
        """(R, 2) x, y in [-1, 1] of the cells' middles."""
        row, column = choice // self.columns, choice % self.columns
        middles = [(2 * row + 1) / self.rows - 1, (2 * column + 1) / self.columns - 1]
        return ops.cast(ops.stack(middles[::-1], axis=-1), self.compute_dtype)

    def visit(self, memory: Any, choice: Any) -> Any:
        """Visits (R, cells) with one more to each chosen cell."""
        return memory + ops.one_hot(choice, self.rows * self.columns, dtype=self.compute_dtype)

    def log_prob(self, distribution: Any, choice: Any) -> Any:
        """(...) log-probability of chosen cells (...). The log-probabilities are not detached."""
        return chosen(distribution, choice)

    def entropy(self, distribution: Any) -> Any:
        """(...) nats."""
        return -ops.sum(ops.exp(distribution) * distribution, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rows": self.rows, "columns": self.columns, "hidden": self.hidden}


def gumbel(shape: Any, dtype: Any, seed: Any) -> Any:
    """Numbers of the standard Gumbel distribution: -log(-log u)."""
    u = keras.random.uniform(shape, 1e-7, 1.0 - 1e-7, dtype, seed)
    return -ops.log(-ops.log(u))
