"""What a rule makes of many items whose classes are known by their probabilities, with gradients."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from foveate.attention.registry import PACKAGE


@keras.saving.register_keras_serializable(PACKAGE)
class RulePosterior(keras.layers.Layer):
    """The exact distribution of a rule's outcome over independent items, for a rule that counts.

    The rule is a table: in the beginning the count is 0, an item of class k leads from count s to following[s][k],
    and the count s after the last item has the outcome outcome[s]. The distribution over counts is carried from item
    to item, so the cost is linear in their number.

    Parameters
    ----------
    following : (counts, K) whole numbers.
    outcome : (counts,) whole numbers, the last outcome among them.
    """

    def __init__(self, following: Sequence[Sequence[int]], outcome: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.following, self.outcome = [list(row) for row in following], list(outcome)
        self.outcomes = max(self.outcome) + 1
        counts = len(self.outcome)
        moves = np.eye(counts, dtype=np.float32)[np.array(self.following)]  # before, class, after
        self._moves = moves.reshape(counts, -1)
        self._ends = np.eye(self.outcomes, dtype=np.float32)[self.outcome]

    def call(self, probabilities: Any, present: Any) -> Any:
        """(R, S, K) probabilities of each item's classes to those of the outcomes (R, O).

        present: (R, S) bool, False for an item that is not there.
        """
        counts, classes = len(self.outcome), len(self.following[0])
        state = ops.one_hot(ops.zeros_like(present[:, 0], dtype="int32"), counts, dtype=probabilities.dtype)
        for item in range(present.shape[1]):
            moved = ops.reshape(ops.matmul(state, self._moves), (-1, classes, counts))
            after = ops.sum(probabilities[:, item, :, None] * moved, axis=1)
            state = ops.where(present[:, item, None], after, state)
        return ops.matmul(state, self._ends)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "following": self.following, "outcome": self.outcome}
