"""What trains the agent of arrays: the hybrid loss over rollouts in the graph (Mnih et al. 2014, section 3.2)."""

from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from foveate.attention import losses
from foveate.attention.array_agent import ArrayAgent
from foveate.attention.settings import at_least
from foveate.errors import FoveateError

PARTS = ("classification", "reinforce", "baseline_error", "entropy", "accuracy", "glimpses")
STOP = "stop"  # the part of an agent with a stop network, too
CLASSIFICATION = {"cross_entropy": losses.cross_entropy, "squared_error": losses.squared_error}
CHOICES = {
    "classification": tuple(CLASSIFICATION),
    "reward": ("terminal", "dense"),
    "compare": ("baseline", "copies"),
}


@dataclass(frozen=True)
class HybridLoss:
    """Loss = classification + reinforce * REINFORCE + baseline * (V - b)^2 - entropy * H.

    REINFORCE is the sum over the choices of a rollout, the others are means over steps. With a stop network
    `losses.stopping` is added, which alone gets its gradient.

    classification : cross_entropy or squared_error.
    every_step : the answer after every glimpse counts, not the last one alone; an agent that stops early needs it.
    reward : terminal, 1 for a right answer, or dense, the change of log p(label) with each glimpse.
    discount : of later rewards. price : of a glimpse, in nats of log p(label), for the stop network.
    compare : what a return is compared with: baseline, the learned one, or copies, the mean of the other rollouts of
        the same row. normalise : advantages of a batch to deviation 1.
    """

    classification: str = "cross_entropy"
    every_step: bool = False
    reward: str = "terminal"
    discount: float = 1.0
    price: float = 0.0
    compare: str = "baseline"
    normalise: bool = True
    reinforce: float = 1.0
    baseline: float = 1.0
    entropy: float = 0.0

    def __post_init__(self) -> None:
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise FoveateError(f"{name}: {getattr(self, name)!r}; expected one of {', '.join(known)}")
        at_least("discount", self.discount, 0, 1)
        for name in ("price", "reinforce", "baseline", "entropy"):
            at_least(name, getattr(self, name), 0)

    def rows(self, label: Any, rollout: dict[str, Any], copies: int = 1) -> dict[str, Any]:
        """Each part, a number a row (R,), by name, and `total`. label (R,); see `ArrayAgent.call` for the rollout."""
        logits, looked, choices = rollout["logits"], rollout["looked"], rollout["log_pi"].shape[1]
        advantage, returns = self._advantage(label, rollout, copies)
        error = CLASSIFICATION[self.classification]
        rows = {
            "classification": error(logits if self.every_step else logits[:, -1:], label),
            "reinforce": losses.reinforce(rollout["log_pi"], advantage) * choices,
            "baseline_error": losses.baseline_error(returns, rollout["baseline"]),
            "entropy": ops.mean(rollout["entropy"], axis=1),
        }
        total = rows["classification"] + self.reinforce * rows["reinforce"] + self.baseline * rows["baseline_error"]
        if self.entropy:
            total = total - self.entropy * rows["entropy"]
        if STOP in rollout:
            rows[STOP] = losses.stopping(rollout[STOP], logits, label, self.price)
            total = total + rows[STOP]
        right = losses.correctness(losses.last_looked(logits, looked), label)
        return {**rows, "accuracy": right, "glimpses": ops.sum(looked, axis=1), "total": total}

    def _advantage(self, label: Any, rollout: dict[str, Any], copies: int) -> tuple[Any, Any]:
        """Advantages and returns (R, C) of the choices."""
        logits, choices = rollout["logits"], rollout["log_pi"].shape[1]
        if self.reward == "dense":
            brought = losses.dense_rewards(logits, label)
        else:
            brought = ops.pad(losses.correctness(logits[:, -1], label)[:, None], [[0, 0], [logits.shape[1] - 1, 0]])
        returns = losses.discounted_returns(brought, self.discount)[:, -choices:]
        compared = losses.other_copies(returns, copies) if self.compare == "copies" else rollout["baseline"]
        if self.normalise:
            return losses.advantages(returns, compared, ops.ones_like(returns)), returns
        return ops.stop_gradient(returns - compared), returns


def compiles() -> bool:
    """Whether XLA compiles models: on a CPU, TensorFlow's own graphs are faster (benchmarks/digits.py)."""
    return keras.backend.backend() != "tensorflow"


class ArrayLearner(keras.Model):
    """Agent and hybrid loss, for `fit`. x: the inputs of `ArrayAgent.call`; y: label (B,) int.

    Parameters
    ----------
    copies : rollouts M of each row (Monte-Carlo copies).
    """

    def __init__(self, agent: ArrayAgent, loss: HybridLoss, copies: int = 1, **kwargs: Any) -> None:
        if loss.compare == "copies" and copies < 2:
            raise FoveateError(f"compare: copies, with {copies} of each row; expected at least 2")
        super().__init__(**kwargs)
        self.agent, self.hybrid, self.copies = agent, loss, copies
        names = PARTS if agent.stop_network is None else (*PARTS, STOP)
        self.parts = {name: keras.metrics.Mean(name=name) for name in names}
        self.built = True

    def call(self, inputs: dict[str, Any], training: bool = False) -> dict[str, Any]:
        return self.agent(inputs, training=training, copies=self.copies)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """The mean over rows and copies."""
        del x, sample_weight, training
        rows = self.hybrid.rows(ops.repeat(ops.cast(y, "int32"), self.copies, axis=0), y_pred, self.copies)
        for name, value in self.parts.items():
            value.update_state(rows[name])
        return ops.mean(rows["total"])


class Rollouts(keras.Model):
    """The agent as it looks in one way, for `predict`: the outputs of `ArrayAgent.call`."""

    def __init__(self, agent: ArrayAgent, explore: str, copies: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.agent, self.explore, self.copies = agent, explore, copies
        self.built = True
        self.compile(jit_compile=compiles())

    def call(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return self.agent(inputs, explore=self.explore, copies=self.copies)
