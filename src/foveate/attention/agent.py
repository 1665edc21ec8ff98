"""The recurrent attention agent over the cells of a slide's overview.

One model, used twice. In a rollout `begin`, `choose` and `absorb` run step by step while glimpses are read.
In an update `call` replays the recorded glimpses and choices in one graph, and gives everything that the
loss needs. No gradient flows through reading, so none is lost.
"""

from typing import Any

import keras
from keras import ops

from foveate.attention.context import ContextNetwork
from foveate.attention.glimpse_network import GlimpseNetwork
from foveate.attention.policy import CellPolicy
from foveate.attention.registry import PACKAGE

WEAKEST = -5.0  # log-probability of a class before anything was seen


@keras.saving.register_keras_serializable(PACKAGE)
class Agent(keras.Model):
    """Glimpse network, LSTM core, cell policy, action network and baseline (Mnih et al. 2014, figure 1).

    What the model expects of the sensor is part of it, so that a weights file says how it must be used.

    Parameters
    ----------
    scales_mpp, glimpse_px : the sensor's scales (um/px, finest first) and side.
    overview_mpp, cell_um : the overview's resolution and the side of a cell.
    classes : names of the slide classes, in the order of the logits.
    features, state, context : lengths of the glimpse vector, of the core's state, of a cell's vector.
    inhibition_um : spread of the inhibition of return.
    prior : share of each class among the training slides. Training draws classes evenly, so its logits know
        nothing of it; `probabilities` puts it back.
    temperature : what the logits are divided by there, above 0, so that they are no surer than they are right.

    Raises
    ------
    ValueError
        For a temperature that is not above 0.
    """

    def __init__(
        self,
        scales_mpp: list[float],
        glimpse_px: int,
        overview_mpp: float,
        cell_um: float,
        classes: list[str],
        features: int,
        state: int,
        context: int,
        inhibition_um: float = 300.0,
        prior: list[float] | None = None,
        temperature: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not 0 < temperature < float("inf"):
            raise ValueError(f"temperature must be a number above 0. Received: {temperature}")
        self.settings: dict[str, Any] = {
            "scales_mpp": list(scales_mpp),
            "glimpse_px": glimpse_px,
            "overview_mpp": overview_mpp,
            "cell_um": cell_um,
            "classes": list(classes),
            "features": features,
            "state": state,
            "context": context,
            "inhibition_um": inhibition_um,
            "prior": prior or [1 / len(classes)] * len(classes),
            "temperature": temperature,
        }
        self.glimpse_network = GlimpseNetwork(features, len(scales_mpp), len(classes), name="glimpse_network")
        self.core = keras.layers.LSTMCell(state, name="core")
        self.context_network = ContextNetwork(context, round(cell_um / overview_mpp), name="context_network")
        self.policy = CellPolicy(context, inhibition_um / cell_um, name="policy")
        self.action_network = keras.layers.Dense(len(classes), kernel_initializer="zeros", name="action_network")
        self.baseline_network = keras.layers.Dense(1, name="baseline_network")

    def build(self, input_shape: Any = None) -> None:
        px, scales = self.settings["glimpse_px"], len(self.settings["scales_mpp"])
        state = (None, self.settings["state"])
        self.glimpse_network.build((None, scales, px, px, 3), (None, 2))
        self.core.build((None, self.settings["features"]))
        self.context_network.build((None, None, None, 3))
        self.policy.build(state)
        self.action_network.build((None, self.settings["state"] + len(self.settings["classes"])))
        self.baseline_network.build(state)
        self.built = True

    def learn_only(self, *parts: str) -> None:
        """Let only these parts learn: context; query and height (of the policy); sight (of the glimpse network); core.

        Call it before the model that trains the agent is compiled.
        """
        layers = {
            "context": [self.context_network],
            "query": [self.policy.query],
            "height": [self.policy.height],
            "sight": self.glimpse_network.sight,
            "core": [self.glimpse_network.what_and_where, self.core, self.action_network, self.baseline_network],
        }
        for name, group in layers.items():
            for layer in group:
                layer.trainable = name in parts

    def begin(self, overview: Any, tissue: Any) -> dict[str, Any]:
        """Look at the whole slide small.

        overview: (B, R * cell_px, C * cell_px, 3) uint8. tissue: (B, R, C) bool. Returns the memory of a rollout:
        N = R * C: h, c (B, state) of the core; strongest (B, K), the strongest evidence of each class so far;
        cells (B, N, context); salience and inhibition (B, N).
        """
        cells, salience = self.context_network(overview, tissue)
        rows = ops.shape(overview)[0]
        zeros = ops.zeros((rows, self.settings["state"]), self.compute_dtype)
        return {
            "h": zeros,
            "c": zeros,
            "strongest": ops.full((rows, len(self.settings["classes"])), WEAKEST, self.compute_dtype),
            "cells": cells,
            "salience": salience,
            "inhibition": ops.zeros_like(salience),
        }

    def choose(self, memory: dict[str, Any], allowed: Any) -> Any:
        """Log-probabilities (B, N) of the next cell. allowed: (B, N) bool, tissue that was not visited."""
        state = ops.stop_gradient(memory["h"])
        return self.policy(state, memory["cells"], memory["salience"], memory["inhibition"], allowed)

    def absorb(self, memory: dict[str, Any], vector: Any, evidence: Any, cell: Any, columns: int) -> dict[str, Any]:
        """Take in what was seen at cell (B,), an index into R x `columns`.

        vector: (B, features). evidence: (B, K) log-probabilities of the classes from this glimpse alone.
        """
        h, (_, c) = self.core(vector, [memory["h"], memory["c"]])
        more = self.policy.inhibit(ops.stop_gradient(h), cell, columns, ops.shape(memory["salience"])[1])
        strongest = ops.maximum(memory["strongest"], evidence)
        return {**memory, "h": h, "c": c, "strongest": strongest, "inhibition": memory["inhibition"] + more}

    def answer(self, memory: dict[str, Any]) -> Any:
        """Class logits (B, K): the action network on the state and on the strongest evidence of each class.

        One fixation on a metastasis decides, whatever was seen elsewhere; a maximum says so from the start,
        and a recurrent state would have to learn it from few slides.
        """
        return self.action_network(ops.concatenate([memory["h"], memory["strongest"]], -1))

    def probabilities(self, logits: Any, *, calibrated: bool = True) -> Any:
        """Probabilities (..., K): Bayes' rule with the prior in place of the even one of training.

        The temperature (Guo et al. 2017) divides the logits, which are evidence, and not the prior, which was
        counted. calibrated: False leaves it out.
        """
        prior = ops.log(ops.convert_to_tensor(self.settings["prior"], self.compute_dtype))
        return ops.softmax(logits / (self.settings["temperature"] if calibrated else 1.0) + prior)

    def call(self, inputs: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Replay rollouts.

        inputs: overview as in `begin`; tissue (B, R, C) bool; pixels (B, T, S, g, g, 3) uint8; where (B, T, 2);
        cell (B, T) int. Returns logits (B, T, K) after each fixation; log_p (B, T, N) before each; log_pi (B, T)
        of the cells that were chosen; baseline (B, T) before each.
        """
        del training
        pixels, where, chosen = inputs["pixels"], inputs["where"], ops.cast(inputs["cell"], "int32")
        _, rows, columns = ops.shape(inputs["tissue"])
        steps = pixels.shape[1]
        flat, seen = self.glimpse_network(
            ops.reshape(pixels, (-1, *pixels.shape[2:])), ops.reshape(where, (-1, where.shape[-1]))
        )
        vectors = ops.reshape(flat, (-1, steps, self.settings["features"]))
        evidence = ops.reshape(seen, (-1, steps, len(self.settings["classes"])))
        tissue = allowed = ops.reshape(ops.cast(inputs["tissue"], "bool"), (-1, rows * columns))
        memory = self.begin(inputs["overview"], inputs["tissue"])
        logits, log_p, baseline = [], [], []
        for t in range(steps):
            baseline.append(self.baseline_network(ops.stop_gradient(memory["h"]))[:, 0])
            log_p.append(self.choose(memory, allowed))
            allowed = visit(allowed, tissue, chosen[:, t])
            memory = self.absorb(memory, vectors[:, t], evidence[:, t], chosen[:, t], columns)
            logits.append(self.answer(memory))
        log_p_t = ops.stack(log_p, axis=1)
        return {
            "logits": ops.stack(logits, axis=1),
            "log_p": log_p_t,
            "log_pi": ops.take_along_axis(log_p_t, chosen[..., None], axis=-1)[..., 0],
            "baseline": ops.stack(baseline, axis=1),
        }

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.settings}


def visit(allowed: Any, tissue: Any, cell: Any) -> Any:
    """Inhibition of return: `allowed` without the cell just visited, or all tissue again once none is left.

    allowed, tissue: (B, N) bool; cell: (B,) int.
    """
    left = ops.logical_and(allowed, ops.arange(ops.shape(tissue)[1])[None] != cell[:, None])
    return ops.where(ops.any(left, axis=1, keepdims=True), left, tissue)


class FirstLook(keras.Model):
    """The start of a rollout as a compiled model: overview and tissue to memory and the first log_p."""

    def __init__(self, agent: Agent, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.agent = agent
        self.built = True

    def call(self, inputs: dict[str, Any]) -> dict[str, Any]:
        memory = self.agent.begin(inputs["overview"], inputs["tissue"])
        allowed = ops.reshape(inputs["tissue"], ops.shape(memory["salience"]))
        return {**memory, "log_p": self.agent.choose(memory, allowed)}


class Fixation(keras.Model):
    """One step of a rollout as a compiled model: memory and a glimpse to memory, class logits, the next log_p.

    inputs: the memory of `Agent.begin`, and pixels (B, S, g, g, 3), where (B, 2), cell (B,), tissue (B, R, C),
    allowed (B, N) before the step. The output holds the new memory and allowed, logits (B, K), log_p (B, N).
    """

    def __init__(self, agent: Agent, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.agent = agent
        self.built = True

    def call(self, inputs: dict[str, Any]) -> dict[str, Any]:
        agent, columns = self.agent, ops.shape(inputs["tissue"])[2]
        memory = {k: inputs[k] for k in ("h", "c", "strongest", "cells", "salience", "inhibition")}
        vector, evidence = agent.glimpse_network(inputs["pixels"], inputs["where"])
        memory = agent.absorb(memory, vector, evidence, inputs["cell"], columns)
        tissue = ops.reshape(inputs["tissue"], ops.shape(inputs["allowed"]))
        allowed = visit(inputs["allowed"], tissue, inputs["cell"])
        changed = {k: memory[k] for k in ("h", "c", "strongest", "inhibition")}
        return {
            **changed,
            "allowed": allowed,
            "logits": agent.answer(memory),
            "log_p": agent.choose(memory, allowed),
        }
