"""What trains the agent: the hybrid loss over replayed rollouts, and the pretraining of the glimpse network."""

from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from foveate.attention import losses
from foveate.attention.agent import Agent

MAX_LESIONS = 8  # of a slide, in the guide; further ones count in none
PARTS = ("cross_entropy", "reinforce", "baseline_error", "guidance", "entropy", "accuracy", "reward")


@dataclass(frozen=True)
class LossWeights:
    """Weights of the hybrid loss: cross entropy counts 1."""

    reinforce: float
    baseline: float
    guidance: float
    entropy: float
    discount: float


class Learner(keras.Model):
    """Agent and hybrid loss. `train_on_batch(x)` makes one update and returns the mean of each part so far.

    x holds the inputs of `Agent.call`, and label (B,) int; weight (B,), 0 for a row that does not count;
    lesion (B, R, C), not 0 where a cell holds annotated tumor.
    """

    def __init__(self, agent: Agent, weights: LossWeights, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.agent, self.weigh = agent, weights
        self.parts = {name: keras.metrics.Mean(name=name) for name in PARTS}
        self.built = True

    def call(self, inputs: dict[str, Any], training: bool = False) -> dict[str, Any]:
        return self.agent(inputs, training=training)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Loss = CE + w_rl REINFORCE + w_b baseline MSE + w_g guidance - w_e entropy, mean over rows that count."""
        del y, sample_weight, training
        rows, total = hybrid_loss(x, y_pred, self.weigh)
        for name, value in rows.items():
            self.parts[name].update_state(value, sample_weight=x["weight"])
        return ops.sum(total * x["weight"]) / ops.maximum(ops.sum(x["weight"]), 1.0)


def hybrid_loss(x: dict[str, Any], replay: dict[str, Any], weigh: LossWeights) -> tuple[dict[str, Any], Any]:
    """Each part, a number a row (B,), by name; and their weighted sum (B,). See `Learner` and `Agent.call`."""
    logits, log_p, label = replay["logits"], replay["log_p"], x["label"]
    reward = losses.dense_rewards(logits, label)
    returns = losses.discounted_returns(reward, weigh.discount)
    advantage = losses.advantages(returns, replay["baseline"], x["weight"][:, None])
    rows = {
        "cross_entropy": losses.cross_entropy(logits, label),
        "reinforce": losses.reinforce(replay["log_pi"], advantage),
        "baseline_error": losses.baseline_error(returns, replay["baseline"]),
        "guidance": losses.guidance(log_p, unvisited_lesion(x["lesion"], x["cell"])),
        "entropy": losses.entropy(log_p),
    }
    total = (
        rows["cross_entropy"]
        + weigh.reinforce * rows["reinforce"]
        + weigh.baseline * rows["baseline_error"]
        + weigh.guidance * rows["guidance"]
        - weigh.entropy * rows["entropy"]
    )
    right = ops.cast(
        ops.equal(ops.cast(ops.argmax(logits[:, -1], -1), "int32"), ops.cast(label, "int32")), logits.dtype
    )
    return {**rows, "accuracy": right, "reward": ops.sum(reward, axis=1)}, total


def unvisited_lesion(lesion: Any, cell: Any) -> Any:
    """(B, R, C) lesion cells and (B, T) visits to (B, T, N): lesion cells that were not visited before step t."""
    flat = ops.reshape(ops.cast(lesion, "bool"), (ops.shape(cell)[0], -1))
    steps = []
    for t in range(cell.shape[1]):
        steps.append(flat)
        flat = ops.logical_and(flat, ops.arange(ops.shape(flat)[1])[None] != ops.cast(cell[:, t, None], "int32"))
    return ops.stack(steps, axis=1)


class GuideLearner(keras.Model):
    """Trains the policy's first choice on annotated lesion cells, from overviews alone.

    x: overview and tissue as in `Agent.begin`; lesion (B, R, C), 0 for none, k for the k-th.
    """

    def __init__(self, agent: Agent, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.agent = agent
        self.built = True

    def call(self, inputs: dict[str, Any]) -> Any:
        """Log-probabilities (B, N) of the first cell."""
        memory = self.agent.begin(inputs["overview"], inputs["tissue"])
        tissue = ops.reshape(ops.cast(inputs["tissue"], "bool"), ops.shape(memory["salience"]))
        return self.agent.choose(memory, tissue)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """-log of the policy's mass on a lesion's cells, mean over lesions, so that small ones count as much."""
        del y, sample_weight, training
        lesion = ops.reshape(ops.cast(x["lesion"], "int32"), ops.shape(y_pred))
        target = ops.equal(lesion[:, None], ops.arange(1, MAX_LESIONS + 1)[None, :, None])
        steps = ops.repeat(y_pred[:, None], MAX_LESIONS, axis=1)
        return ops.mean(losses.guidance(steps, target))


class GlimpseLearner(keras.Model):
    """Trains sight: the class of the lesion that a glimpse shows, from the glimpse alone."""

    def __init__(self, agent: Agent, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.agent = agent
        self.built = True

    def call(self, pixels: Any) -> Any:
        """(B, S, g, g, 3) uint8 pixels to class logits (B, K)."""
        return self.agent.glimpse_network.see(pixels)[1]
