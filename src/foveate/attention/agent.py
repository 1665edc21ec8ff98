"""The recurrent attention agent over the cells of a slide's overview.

One model, used twice. In a rollout `begin`, `choose` and `absorb` run step by step (`steps.py`) while glimpses are
read. In an update `call` replays what was recorded in one graph, and gives everything that the loss needs: glimpses
and overviews, or, where parts do not learn, what these had made of them. No gradient flows through reading, so none is
lost.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from foveate.attention.context import ContextNetwork
from foveate.attention.encoder import Encoder
from foveate.attention.glimpse_network import GlimpseNetwork
from foveate.attention.policy import CellPolicy, chosen, renormalised, visit
from foveate.attention.registry import PACKAGE
from foveate.attention.scout import Scout
from foveate.attention.stop import StopNetwork

Scene = dict[str, Any]  # what stays the same in rollouts over a slide
Memory = dict[str, Any]  # what a rollout changes
WEAKEST, STRONGEST = -5.0, 10.0  # bounds of the evidence of a class against the first


@keras.saving.register_keras_serializable(PACKAGE)
class Agent(keras.Model):
    """Glimpse network, LSTM core, cell policy, action network and baseline (Mnih et al. 2014, figure 1).

    And, if wanted, a stop network (Yarin 2017). Rollouts go on or stop as the `Roller` of a stage wants it; what is
    replayed always has all steps.

    What the model expects of the sensor is part of it, so that a weights file says how it must be used.

    Parameters
    ----------
    scales_mpp, glimpse_px : the sensor's scales (um/px, finest first) and side.
    overview_mpp, cell_um : the overview's resolution and the side of a cell.
    classes : names of the slide classes, in the order of the logits. The first one is that of nothing found.
    stain_od : mean optical density (3,) that the sensor gives the tissue of every slide; none leaves it as it is.
    features, state, context : lengths of the glimpse vector, of the core's state, of a cell's vector.
    inhibition_um : spread of the inhibition of return.
    prior : share of each class among the training slides. Training draws classes evenly, so its logits know
        nothing of it; `probabilities` puts it back.
    temperature : what the logits are divided by there, above 0, so that they are no surer than they are right.
    encoder : a given image encoder in place of the glimpse network's own towers.
    encoder_scales : for so many squares of a glimpse, from the finest on; the coarser ones keep their towers.
    stop : whether there is a stop network, which says after each fixation whether enough has been seen.
    scout : looks at low power before the first fixation, if wanted.

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
        encoder: Encoder | None = None,
        encoder_scales: int = 1,
        stain_od: Sequence[float] = (),
        stop: bool = False,
        scout: Scout | None = None,
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
            "stain_od": list(stain_od),
            "stop": stop,
            "encoder_scales": encoder_scales,
        }
        self.glimpse_network = GlimpseNetwork(
            features, len(scales_mpp), len(classes), encoder, encoder_scales, name="glimpse_network"
        )
        self.core = keras.layers.LSTMCell(state, name="core")
        self.context_network = ContextNetwork(context, round(cell_um / overview_mpp), name="context_network")
        self.policy = CellPolicy(context, inhibition_um / cell_um, name="policy")
        self.action_network = keras.layers.Dense(
            len(classes),
            kernel_initializer=keras.initializers.Constant(_evidence(state, len(classes))),
            name="action_network",
        )
        self.baseline_network = keras.layers.Dense(1, name="baseline_network")
        self.stop_network = StopNetwork(name="stop_network") if stop else None  # last: the others draw what they drew
        self.scout = scout

    def build(self, input_shape: Any = None) -> None:
        px, scales = self.settings["glimpse_px"], len(self.settings["scales_mpp"])
        state = (None, self.settings["state"])
        strongest = len(self.settings["classes"]) - 1
        self.glimpse_network.build((None, scales, px, px, 3), (None, 2))
        self.core.build((None, self.settings["features"]))
        self.context_network.build((None, None, None, 3))
        self.policy.build(state)
        self.action_network.build((None, self.settings["state"] + strongest))
        self.baseline_network.build(state)
        if self.stop_network is not None:
            self.stop_network.build((None, strongest))
        if self.scout is not None and not self.scout.built:  # one from a file is
            self.scout.build((None, self.scout.px, self.scout.px, 3))
        self.built = True

    @property
    def sensor(self) -> dict[str, Any]:
        """What the model expects of a `GlimpseSensor`, as its arguments."""
        settings = self.settings
        return {"scales_mpp": settings["scales_mpp"], "px": settings["glimpse_px"], "stain_od": settings["stain_od"]}

    def learn_only(self, *parts: str) -> None:
        """Let only these parts learn: context, query, height, sight, core, stop, scout.

        Query and height are the policy's, sight the glimpse network's. The answer and the baseline, which read the
        core's state, belong to the core.
        Call it before the model that trains the agent is compiled.
        """
        layers = {
            "context": [self.context_network],
            "query": [self.policy.query],
            "height": [self.policy.height],
            "sight": self.glimpse_network.sight,
            "core": [self.glimpse_network.what_and_where, self.core, self.action_network, self.baseline_network],
            "stop": [] if self.stop_network is None else [self.stop_network],
            "scout": [] if self.scout is None else self.scout.parts,
        }
        for name, group in layers.items():
            for layer in group:
                layer.trainable = name in parts

    def begin(self, overview: Any, tissue: Any, candidates: Any, copies: int = 1) -> tuple[Scene, Memory]:
        """Look at the whole slide small.

        overview: (B, R * cell_px, C * cell_px, 3) uint8. tissue: (B, R, C) bool. candidates: (B, N) int32, the cells
        that can be looked at as indices into R * C, the others -1. copies: rollouts M of each slide, side by side.

        Returns what stays the same, the scene: cells (B, N, context), salience and open (B, N), places (B, N, 2) row
        and column, and scouted (B, N) once it is `informed`; and what the rollouts remember, the memory: h, c
        (B * M, state) of the core; strongest (B * M, K - 1), the strongest evidence so far of each class but the first;
        inhibition (B * M, N); allowed (B * M, N), open and not visited.
        """
        scene = self.scan(overview, tissue, candidates)
        return scene, self.start(scene, copies)

    def scan(self, overview: Any, tissue: Any, candidates: Any) -> Scene:
        """The scene of `begin`."""
        columns, index = ops.shape(tissue)[2], ops.maximum(ops.cast(candidates, "int32"), 0)
        cells, salience = self.context_network(overview, tissue, index)
        places = ops.cast(ops.stack([index // columns, index % columns], axis=-1), self.compute_dtype)
        return {"cells": cells, "salience": salience, "places": places, "open": candidates >= 0}

    def informed(self, scene: Scene, evidence: Any) -> Scene:
        """The scene of rollouts that have not begun, after the scout: evidence (B, N) of tumor in the candidates, 0
        where none was seen. It adds to their salience, and to what glimpses say of them.
        """
        return scene | {"salience": scene["salience"] + evidence, "scouted": evidence}

    def start(self, scene: Scene, copies: int = 1) -> Memory:
        """The memory of `begin`."""
        allowed, dtype = ops.repeat(scene["open"], copies, axis=0), self.compute_dtype
        weakest = ops.full((ops.shape(allowed)[0], len(self.settings["classes"]) - 1), WEAKEST, dtype)
        zeros = ops.zeros((ops.shape(allowed)[0], self.settings["state"]), dtype)
        return {
            "h": zeros,
            "c": zeros,
            "strongest": weakest,
            "inhibition": ops.zeros_like(allowed, dtype=dtype),
            "allowed": allowed,
        }

    def choose(self, scene: Scene, memory: Memory) -> Any:
        """Log-probabilities (B * M, N) of the next candidate."""
        return renormalised(self.rank(scene, memory), memory["allowed"])

    def rank(self, scene: Scene, memory: Memory) -> Any:
        """Logits (B * M, N) of the candidates, comparable between slides; also of those that are not allowed."""
        return self.policy(ops.stop_gradient(memory["h"]), scene["cells"], scene["salience"], memory["inhibition"])

    def absorb(self, scene: Scene, memory: Memory, vector: Any, evidence: Any, choice: Any) -> Memory:
        """Take in what was seen at a candidate, (B * M,) int.

        vector: (B * M, features). evidence: (B * M, K) log-probabilities of the classes from this glimpse alone. What a
        scout had seen at the place counts beside it, as if the two were independent given the class (naive Bayes).
        """
        h, (_, c) = self.core(vector, [memory["h"], memory["c"]])
        more = self.policy.inhibit(ops.stop_gradient(h), choice, scene["places"])
        ratio = evidence[:, 1:] - evidence[:, :1]
        if "scouted" in scene:
            copies = ops.shape(choice)[0] // ops.shape(scene["scouted"])[0]
            ratio = ratio + chosen(ops.repeat(scene["scouted"], copies, axis=0), choice)[:, None]
        return {
            "h": h,
            "c": c,
            "strongest": ops.maximum(memory["strongest"], ops.clip(ratio, WEAKEST, STRONGEST)),
            "inhibition": memory["inhibition"] + more,
            "allowed": visit(memory["allowed"], scene["open"], choice),
        }

    def answer(self, memory: dict[str, Any]) -> Any:
        """Class logits (B, K): the action network on the state and on the strongest evidence of each class.

        One fixation on a metastasis decides, whatever was seen elsewhere: a maximum says so before any training,
        and a recurrent state would have to learn it from few slides. Evidence is the log of how much likelier a class
        is than the first one; a probability near 1 would hide how sure a glimpse is.
        """
        return self.action_network(ops.concatenate([memory["h"], memory["strongest"]], -1))

    def enough(self, memory: Memory) -> Any:
        """Logits (B,) of having seen enough: the stop network on the strongest evidence of each class.

        Not on the state, which the slides that it was trained on have in common with no others (docs/results.md).
        Raises ValueError for an agent without a stop network.
        """
        if self.stop_network is None:
            raise ValueError("this agent has no stop network")
        return self.stop_network(ops.stop_gradient(memory["strongest"]))

    def probabilities(self, logits: Any, *, calibrated: bool = True) -> Any:
        """Probabilities (..., K): Bayes' rule with the prior in place of the even one of training.

        The temperature (Guo et al. 2017) divides the logits, which are evidence, and not the prior, which was
        counted. calibrated: False leaves it out.
        """
        prior = ops.log(ops.convert_to_tensor(self.settings["prior"], self.compute_dtype))
        return ops.softmax(logits / (self.settings["temperature"] if calibrated else 1.0) + prior)

    def call(self, inputs: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Replay rollouts.

        inputs: overview, tissue and candidates as in `begin`, or, where the context network does not learn, the scene
        that it made of them; pixels (B * M, T, S, g, g, 3) uint8, or what `GlimpseNetwork.see` made of them, where
        sight does not learn: seen (B * M, T, features) and seen_logits (B * M, T, K); where (B * M, T, 2); choice
        (B * M, T) int. Returns logits (B * M, T, K) and the memory's strongest (B * M, T, K - 1) after each
        fixation; log_p (B * M, T, N) and baseline (B * M, T) before each; log_pi (B * M, T) of what was chosen.
        """
        del training
        where, choice = inputs["where"], ops.cast(inputs["choice"], "int32")
        steps = where.shape[1]
        if "pixels" in inputs:
            seen = self.glimpse_network.see(ops.reshape(inputs["pixels"], (-1, *inputs["pixels"].shape[2:])))
        else:
            seen = tuple(ops.reshape(inputs[name], (-1, inputs[name].shape[-1])) for name in ("seen", "seen_logits"))
        flat, alone = self.glimpse_network.join(*seen, ops.reshape(where, (-1, where.shape[-1])))
        vectors = ops.reshape(flat, (-1, steps, self.settings["features"]))
        evidence = ops.reshape(alone, (-1, steps, len(self.settings["classes"])))
        scene = inputs.get("scene") or self.scan(inputs["overview"], inputs["tissue"], inputs["candidates"])
        memory = self.start(scene, ops.shape(where)[0] // ops.shape(scene["open"])[0])
        logits, strongest, log_p, baseline = [], [], [], []
        for t in range(steps):
            baseline.append(self.baseline_network(ops.stop_gradient(memory["h"]))[:, 0])
            log_p.append(self.choose(scene, memory))
            memory = self.absorb(scene, memory, vectors[:, t], evidence[:, t], choice[:, t])
            logits.append(self.answer(memory))
            strongest.append(memory["strongest"])
        log_p_t = ops.stack(log_p, axis=1)
        return {
            "logits": ops.stack(logits, axis=1),
            "strongest": ops.stack(strongest, axis=1),
            "log_p": log_p_t,
            "log_pi": chosen(log_p_t, choice),
            "baseline": ops.stack(baseline, axis=1),
        }

    def get_config(self) -> dict[str, Any]:
        scout = None if self.scout is None else keras.saving.serialize_keras_object(self.scout)
        encoder = self.glimpse_network.get_config()["encoder"]
        return {**super().get_config(), **self.settings, "encoder": encoder, "scout": scout}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Agent":
        made = {name: keras.saving.deserialize_keras_object(config.get(name)) for name in ("encoder", "scout")}
        return cls(**{**config, **made})  # None stays None


def _evidence(state: int, classes: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Weights with which the answer is the strongest evidence of each class."""
    return np.concatenate([np.zeros((state, classes)), np.eye(classes)[1:]])
