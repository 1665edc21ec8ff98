"""What trains the agent and its parts: the hybrid loss over replayed rollouts, and what single parts learn from."""

from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from foveate.attention import losses
from foveate.attention.agent import Agent
from foveate.attention.policy import renormalised

MAX_LESIONS = 8  # of a slide, in the guide; the cells of further ones must not be among the candidates
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

    x holds the inputs of `Agent.call`, and of each slide, whose rollouts share them: label (B,) int; weight (B,), 0 for
    a slide that does not count; lesion (B, N), not 0 where a candidate holds annotated tumor.
    """

    def __init__(self, agent: Agent, weights: LossWeights, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.agent, self.weigh = agent, weights
        self.parts = {name: keras.metrics.Mean(name=name) for name in PARTS}
        self.entropy = self.add_weight(shape=(), initializer="zeros", trainable=False, name="entropy")
        self.anneal(0.0)
        self.built = True

    def anneal(self, done: float) -> None:
        """Let the weight of the entropy fall in a line: it is whole at 0 and nothing at 1, the end of the training."""
        self.entropy.assign(self.weigh.entropy * (1 - done))

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
        copies = ops.shape(x["choice"])[0] // ops.shape(x["label"])[0]
        x = x | {name: ops.repeat(x[name], copies, axis=0) for name in ("label", "weight", "lesion")}
        rows, total = hybrid_loss(x, y_pred, self.weigh, self.entropy)
        for name, value in rows.items():
            self.parts[name].update_state(value, sample_weight=x["weight"])
        return ops.sum(total * x["weight"]) / ops.maximum(ops.sum(x["weight"]), 1.0)


def hybrid_loss(
    x: dict[str, Any], replay: dict[str, Any], weigh: LossWeights, entropy: Any
) -> tuple[dict[str, Any], Any]:
    """Each part, a number a rollout (R,), by name; and their weighted sum (R,). See `Learner` and `Agent.call`.

    x: choice (R, T), and of each rollout, not of each slide, label, weight and lesion. entropy: its
    weight at this time.
    """
    logits, log_p, label = replay["logits"], replay["log_p"], x["label"]
    reward = losses.dense_rewards(logits, label)
    returns = losses.discounted_returns(reward, weigh.discount)
    advantage = losses.advantages(returns, replay["baseline"], x["weight"][:, None])
    rows = {
        "cross_entropy": losses.cross_entropy(logits, label),
        "reinforce": losses.reinforce(replay["log_pi"], advantage),
        "baseline_error": losses.baseline_error(returns, replay["baseline"]),
        "guidance": losses.guidance(log_p, unvisited_lesion(x["lesion"], x["choice"])),
        "entropy": losses.entropy(log_p),
    }
    total = (
        rows["cross_entropy"]
        + weigh.reinforce * rows["reinforce"]
        + weigh.baseline * rows["baseline_error"]
        + weigh.guidance * rows["guidance"]
        - entropy * rows["entropy"]
    )
    right = ops.cast(
        ops.equal(ops.cast(ops.argmax(logits[:, -1], -1), "int32"), ops.cast(label, "int32")), logits.dtype
    )
    return {**rows, "accuracy": right, "reward": ops.sum(reward, axis=1)}, total


def unvisited_lesion(lesion: Any, choice: Any) -> Any:
    """(R, N) lesions and (R, T) visits to (R, T, N): candidates with a lesion that were not visited before step t."""
    flat, steps = ops.cast(lesion, "bool"), []
    for t in range(choice.shape[1]):
        steps.append(flat)
        flat = ops.logical_and(flat, ops.arange(ops.shape(flat)[1])[None] != ops.cast(choice[:, t, None], "int32"))
    return ops.stack(steps, axis=1)


class GuideLearner(keras.Model):
    """Trains the policy's first choice on annotated lesion cells, from overviews alone.

    The cells of all slides of a batch compete, also those of slides without a lesion: what is odd in one slide only
    must not look like tumor in the others.

    x: overview, tissue and candidates as in `Agent.begin`; lesion (B, N), 0 for none, k for the k-th.
    """

    def __init__(self, agent: Agent, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.agent = agent
        self.built = True

    def call(self, inputs: dict[str, Any]) -> Any:
        """Log-probabilities (B, N) of the first candidate, among those of all slides together."""
        scene, memory = self.agent.begin(inputs["overview"], inputs["tissue"], inputs["candidates"])
        logits, allowed = self.agent.rank(scene, memory), memory["allowed"]
        log_p = renormalised(ops.reshape(logits, (1, -1)), ops.reshape(allowed, (1, -1)))
        return ops.reshape(log_p, ops.shape(logits))

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """-log of the policy's mass on a lesion's cells, mean over lesions, so that small ones count as much."""
        del y, sample_weight, training
        lesion = ops.cast(x["lesion"], "int32")
        target = ops.equal(lesion[:, None], ops.arange(1, MAX_LESIONS + 1)[None, :, None])
        steps = ops.repeat(y_pred[:, None], MAX_LESIONS, axis=1)
        here = ops.cast(ops.any(target, axis=(1, 2)), y_pred.dtype)
        return ops.sum(losses.guidance(steps, target)) / ops.maximum(ops.sum(here), 1.0)


class GlimpseLearner(keras.Model):
    """Trains sight: the class of the lesion that a glimpse shows, from the glimpse alone."""

    def __init__(self, agent: Agent, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.agent = agent
        self.built = True

    def call(self, pixels: Any) -> Any:
        """(B, S, g, g, 3) uint8 pixels to class logits (B, K)."""
        return self.agent.glimpse_network.see(pixels)[1]


class ScoutLearner(keras.Model):
    """Trains the scout: which cells of a square hold tumor. The loss is `losses.tumor_cells`."""

    def __init__(self, agent: Agent, **kwargs: Any) -> None:
        if agent.scout is None:
            raise ValueError("this agent has no scout")
        super().__init__(**kwargs)
        self.agent, self.scout = agent, agent.scout  # a checkpoint of the learner holds the whole agent
        self.built = True

    def call(self, pixels: Any) -> Any:
        """(n, px, px, 3) uint8 to (n, C, C), see `Scout`."""
        return self.scout(pixels)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """y: (n, C, C), see `losses.tumor_cells`."""
        del x, sample_weight, training
        return losses.tumor_cells(y_pred, y)


class StopLearner(keras.Model):
    """Trains the stop network alone, on rollouts that were made to their end. `train_on_batch(x)` makes one update.

    x: of R rollouts strongest (R, T, K - 1), see `Agent.call`; logits (R, T, K) of the answers; label (R,) int. It
    returns the mean of `losses.stopping`, and mean_glimpses, of the expected number of fixations.

    Parameters
    ----------
    price : of a glimpse, in nats of log p(label).
    """

    def __init__(self, agent: Agent, price: float, **kwargs: Any) -> None:
        if agent.stop_network is None:
            raise ValueError("this agent has no stop network")
        super().__init__(**kwargs)
        self.stop_network, self.price = agent.stop_network, price
        self.mean_glimpses = keras.metrics.Mean(name="mean_glimpses")
        self.built = True

    def call(self, inputs: dict[str, Any]) -> Any:
        """Logits (R, T) of stopping after each fixation."""
        return self.stop_network(inputs["strongest"])

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """`losses.stopping`, mean over rollouts."""
        del y, sample_weight, training
        self.mean_glimpses.update_state(losses.mean_glimpses(losses.stop_distribution(y_pred)))
        return ops.mean(losses.stopping(y_pred, x["logits"], x["label"], self.price))
