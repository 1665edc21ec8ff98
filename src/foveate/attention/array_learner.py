"""What trains the agent of arrays: the hybrid loss over rollouts in the graph (Mnih et al. 2014, section 3.2)."""

from typing import Any

import keras
from keras import ops

from foveate.attention import losses
from foveate.attention.array_agent import ArrayAgent

PARTS = ("cross_entropy", "reinforce", "baseline_error", "accuracy")


class ArrayLearner(keras.Model):
    """Agent and loss = CE of the last answer + w REINFORCE with the terminal 0/1 reward + baseline MSE.

    x: images and present as in `ArrayAgent.call`, label (B,) int. `parts` holds the mean of each part.

    Parameters
    ----------
    reinforce : weight w; the sum over the choices of a rollout counts.
    """

    def __init__(self, agent: ArrayAgent, reinforce: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.agent, self.weight = agent, reinforce
        self.parts = {name: keras.metrics.Mean(name=name) for name in PARTS}
        self.built = True

    def call(self, inputs: dict[str, Any], training: bool = False) -> dict[str, Any]:
        return self.agent(inputs, training=training)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """The mean over rows and copies."""
        del y, sample_weight, training
        label = ops.repeat(ops.cast(x["label"], "int32"), self.agent.copies, axis=0)
        choices = y_pred["log_pi"].shape[1]
        reward = losses.terminal_rewards(y_pred["logits"], label)
        returns = losses.discounted_returns(reward, 1.0)[:, 1:]  # of the choices: none leads to the first glimpse
        advantage = losses.advantages(returns, y_pred["baseline"], ops.ones_like(reward[:, 0]))
        rows = {
            "cross_entropy": losses.cross_entropy(y_pred["logits"][:, -1:], label),
            "reinforce": losses.reinforce(y_pred["log_pi"], advantage) * choices,
            "baseline_error": losses.baseline_error(returns, y_pred["baseline"]),
            "accuracy": reward[:, -1],
        }
        for name, value in rows.items():
            self.parts[name].update_state(value)
        total = rows["cross_entropy"] + self.weight * rows["reinforce"] + rows["baseline_error"]
        return ops.mean(total)
