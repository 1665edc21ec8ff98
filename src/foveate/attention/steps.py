"""The steps of a rollout as compiled functions, whose results stay on the device."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from foveate.attention.agent import Agent, Memory, Scene
from foveate.attention.policy import EXPLORE as BY_POLICY
from foveate.attention.policy import chosen, pick, renormalised

Seen = dict[str, Any]
STATIC = ("salience", "spread")
WHOLE = ("h", "c", "strongest")  # of a rollout; the rest is by candidate
PER_ROLLOUT = ("first", "inhibition", "allowed")  # of what there is by candidate; the rest is of slides
EXPLORE = (*BY_POLICY, *STATIC)
DRAWN = ("sampled", "random")
"""Ways that draw random numbers, so that one rollout is not enough."""


class Steps:
    """`Agent.begin`, `choose`, `absorb` and `enough`, compiled for one way to explore and a number of copies.

    Parameters
    ----------
    explore : greedy, sampled, or random, see `policy.pick`; or, of what the overview alone says: salience,
        down the ranking that the policy gives the cells before anything was seen; spread, the same with the inhibition
        around visited cells that the first state gives.
    copies : rollouts M of each slide.
    """

    def __init__(self, agent: Agent, explore: str, copies: int = 1) -> None:
        if explore not in EXPLORE:
            raise ValueError(f"explore must be one of {EXPLORE}. Received: {explore}")
        self._agent, self._explore, self._copies = agent, explore, copies
        self._begin, self._shorten, self._choose, self._absorb, self._enough, self._rank = (
            compiled(agent, function)
            for function in (self._begin_, self._shorten_, self._choose_, self._absorb_, self._enough_, agent.choose)
        )

    def begin(self, overview: Any, tissue: Any, candidates: Any) -> tuple[Scene, Memory]:
        """See `Agent.begin`."""
        return self._begin(overview, tissue, candidates)

    def shorten(self, scene: Scene, memory: Memory, listed: Any) -> tuple[Scene, Memory]:
        """The same with fewer candidates: those at `listed` (B, L), indices into the N that there were."""
        return self._shorten(scene, memory, listed)

    def together(self, begun: Sequence[tuple[Scene, Memory]]) -> tuple[Scene, Memory]:
        """Slides that were begun one by one, side by side: candidates that are not open fill up to the most of them.

        Once a batch, so it is not compiled.
        """
        most = max(ops.shape(scene["open"])[1] for scene, _ in begun)

        def wide(name: str, value: Any) -> Any:
            if name in WHOLE:
                return value
            return ops.pad(value, [(0, 0), (0, most - ops.shape(value)[1]), *[(0, 0)] * (len(value.shape) - 2)])

        def joined(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
            return {name: ops.concatenate([wide(name, part[name]) for part in parts]) for name in parts[0]}

        return joined([scene for scene, _ in begun]), joined([memory for _, memory in begun])

    def informed(self, scene: Scene, memory: Memory, evidence: Any) -> Scene:
        """See `Agent.informed`."""
        scene = self._agent.informed(scene, ops.convert_to_tensor(evidence))
        return scene | {"first": self._rank(scene, memory)} if "first" in scene else scene

    def choose(self, scene: Scene, memory: Memory, chance: Any) -> tuple[Any, Any, Any]:
        """Candidates (B * M,) to look at next, log pi (B * M,) of them, and of all, (B * M, N). chance: (B * M,)."""
        return self._choose(scene, memory, chance)

    def absorb(self, scene: Scene, memory: Memory, pixels: Any, where: Any, choice: Any) -> tuple[Memory, Any, Seen]:
        """The memory after a glimpse, the class logits (B * M, K), and what was seen, as `Agent.call` takes it.

        pixels: (B * M, S, g, g, 3) uint8. where: (B * M, 2).
        """
        return self._absorb(scene, memory, pixels, where, choice)

    def enough(self, memory: Memory) -> Any:
        """(B * M,) bool, whether stopping is likelier than not. The agent has a stop network."""
        return self._enough(memory)

    def _begin_(self, overview: Any, tissue: Any, candidates: Any) -> tuple[Scene, Memory]:
        scene, memory = self._agent.begin(overview, tissue, candidates, self._copies)
        if self._explore in STATIC:
            scene["first"] = self._agent.choose(scene, memory)
        return scene, memory

    def _shorten_(self, scene: Scene, memory: Memory, listed: Any) -> tuple[Scene, Memory]:
        of_rollouts = ops.repeat(listed, self._copies, axis=0)

        def short(name: str, value: Any) -> Any:
            at = of_rollouts if name in PER_ROLLOUT else listed
            return ops.take_along_axis(value, at[..., None] if len(value.shape) == 3 else at, axis=1)

        fewer = {name: short(name, value) for name, value in scene.items()}
        return fewer, memory | {name: short(name, memory[name]) for name in ("inhibition", "allowed")}

    def _choose_(self, scene: Scene, memory: Memory, chance: Any) -> tuple[Any, Any, Any]:
        if self._explore in STATIC:
            inhibition = memory["inhibition"] if self._explore == "spread" else 0.0
            log_p = renormalised(scene["first"] - inhibition, memory["allowed"])
        else:
            log_p = self._agent.choose(scene, memory)
        choice = pick(log_p, memory["allowed"], chance, self._explore)
        return choice, chosen(log_p, choice), log_p

    def _absorb_(self, scene: Scene, memory: Memory, pixels: Any, where: Any, choice: Any) -> tuple[Memory, Any, Seen]:
        seen, logits = self._agent.glimpse_network.see(pixels)
        vector, evidence = self._agent.glimpse_network.join(seen, logits, where)
        after = self._agent.absorb(scene, memory, vector, evidence, choice)
        if self._explore == "spread":
            more = self._agent.policy.inhibit(ops.zeros_like(memory["h"]), choice, scene["places"])
            after["inhibition"] = memory["inhibition"] + more
        return after, self._agent.answer(after), {"seen": seen, "seen_logits": logits}

    def _enough_(self, memory: Memory) -> Any:
        return self._agent.enough(memory) > 0


def compiled(model: keras.Model, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` of arrays, and dictionaries of them, compiled; it reads the model's variables as they are then."""
    if keras.backend.backend() == "jax":
        import jax

        def pure(values: list[Any], *inputs: Any) -> Any:
            with keras.StatelessScope(state_mapping=zip(model.variables, values, strict=True)):
                return function(*inputs)

        jitted = jax.jit(pure)
        return lambda *inputs: jitted([variable.value for variable in model.variables], *inputs)
    import tensorflow as tf

    return tf.function(function, reduce_retracing=True)
