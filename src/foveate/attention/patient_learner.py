"""What trains the agent over a patient's slides: the hybrid loss over recorded rollouts."""

from typing import Any

import keras
from keras import ops

from foveate.attention import losses
from foveate.attention.patient_agent import PatientAgent

PARTS = ("cross_entropy", "reinforce", "entropy", "accuracy", "reward")


class PatientLearner(keras.Model):
    """Agent and hybrid loss. `train_on_batch(x)` makes one update and returns the mean of each part so far.

    x holds the inputs of `PatientAgent.call`; looking (R, T) bool, up to the end of the budget; and of each patient
    label (P,) int and weight (P,), 0 for one that does not count. A return is compared with those of the patient's
    other copies, so at least two are needed and no baseline has to be learned from few patients.

    Parameters
    ----------
    copies : rollouts M of each patient, at least 2.
    reinforce, entropy : weights in the loss; cross entropy has 1.
    discount : of later rewards.
    """

    def __init__(
        self, agent: PatientAgent, copies: int, reinforce: float, entropy: float, discount: float, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.agent, self.copies = agent, copies
        self.reinforce, self.entropy, self.discount = reinforce, entropy, discount
        self.parts = {name: keras.metrics.Mean(name=name) for name in PARTS}
        self.built = True

    def call(self, inputs: dict[str, Any], training: bool = False) -> dict[str, Any]:
        return self.agent(inputs, training=training)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Loss = CE + w_rl REINFORCE - w_e entropy, mean over rollouts that count."""
        del y, sample_weight, training
        label, weight = (ops.repeat(x[name], self.copies, axis=0) for name in ("label", "weight"))
        looking = ops.cast(x["looking"], y_pred["logits"].dtype)
        reward = losses.dense_rewards(y_pred["logits"], label) * looking
        returns = losses.discounted_returns(reward, self.discount)
        advantage = losses.advantages(returns, losses.other_copies(returns, self.copies), looking * weight[:, None])
        right = losses.correctness(y_pred["logits"][:, -1], label)
        rows = {
            "cross_entropy": losses.cross_entropy(y_pred["logits"], label),
            "reinforce": losses.reinforce(y_pred["log_pi"] * looking, advantage),
            "entropy": ops.mean(y_pred["entropy"] * looking, axis=1),
            "accuracy": right,
            "reward": ops.sum(reward, axis=1),
        }
        for name, value in rows.items():
            self.parts[name].update_state(value, sample_weight=weight)
        total = rows["cross_entropy"] + self.reinforce * rows["reinforce"] - self.entropy * rows["entropy"]
        return ops.sum(total * weight) / ops.maximum(ops.sum(weight), 1.0)
