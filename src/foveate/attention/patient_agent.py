"""The attention agent over all slides of a patient: which slide, where on it, and what follows for the patient.

It holds the agent of slides, which sees, remembers and answers as it has learned to. In a rollout `begin`, `view`,
`pick`, `place` and `absorb` run step by step (`patient_steps.py`). What learns here, the picker, the policy's query
and the correction, reads only what is detached from the rest; so an update needs no second look at pixels: `call`
goes through all steps of recorded rollouts at once.
"""

from typing import Any

import keras
from keras import ops

from foveate.attention.agent import Agent, Memory, Scene
from foveate.attention.array_memory import recall, remember
from foveate.attention.picker import Picker
from foveate.attention.policy import NEVER, chosen
from foveate.attention.registry import PACKAGE
from foveate.attention.rule import RulePosterior

LEAST = 1e-6  # probability of an outcome before the correction, so that no reward is boundless
FAIRNESS = 0.5  # before training, one look more at a slide makes another e^0.5 times less likely


@keras.saving.register_keras_serializable(PACKAGE)
class PatientAgent(keras.Model):
    """The agent of slides, a picker, the posterior over the outcomes and a correction of it.

    Shapes: P patients, S slides of each (the most that one has, others are absent; S is fixed in a compiled function),
    M copies of each patient side by side, R = P * M rollouts, O outcomes. Every slide has a memory of its own, which
    only its own glimpses change.

    answer = log(posterior) + correction, the posterior being the rule's, given the slides' running class
    probabilities, times `factors`. A slide that was not visited has the prior's probabilities. Before training the
    correction is zero and the likeliest slide is the one with the fewest visits: with the budget of the slides' own
    rollouts, a greedy rollout is these rollouts, and the answer is the posterior of what they conclude. It does not
    ask the slides' stop network.

    Parameters
    ----------
    slides : the agent of slides as `Agent.get_config` gives it.
    following, outcome : the rule, see `RulePosterior`.
    factors : (O,), how many times likelier each outcome is where there are several slides than if they were
        independent (`foveate.patients.prior` for stages); none for independent ones.
    hidden : units of the picker's and of the correction's hidden layer.
    """

    def __init__(
        self,
        slides: dict[str, Any],
        following: list[list[int]],
        outcome: list[int],
        factors: list[float] | None = None,
        hidden: int = 16,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.hidden = hidden
        self.factors = factors or [1.0] * (max(outcome) + 1)
        self.slides = Agent.from_config({**slides, "name": "slides"})
        self.rule = RulePosterior(following, outcome, name="rule")
        self.picker = Picker(hidden, even=True, name="picker")
        self.correction = keras.Sequential(
            [
                keras.layers.Dense(hidden, activation="relu"),
                keras.layers.Dense(self.rule.outcomes, kernel_initializer="zeros"),
            ],
            name="correction",
        )

    def build(self, input_shape: Any = None) -> None:
        classes = len(self.slides.settings["classes"])
        summary = self.rule.outcomes + classes
        self.slides.build()
        self.picker.build((None, summary), (None, None, self.slides.settings["state"] + classes + 3))
        self.correction.build((None, summary))
        self.fairness = self.add_weight(
            shape=(), initializer=keras.initializers.Constant(FAIRNESS), name="fairness"
        )  # logit that each visit costs a slide
        self.built = True

    @classmethod
    def over(
        cls, agent: Agent, following: list[list[int]], outcome: list[int], factors: list[float] | None = None
    ) -> "PatientAgent":
        """A new one over a copy of a trained agent of slides, of which only the policy's query goes on learning.

        A cohort has few patients: what the slides' answers mean stays as it was learned and calibrated.
        """
        made = cls(agent.get_config(), following, outcome, factors)
        made.build()
        made.slides.set_weights(agent.get_weights())
        made.slides.learn_only("query")
        return made

    def begin(self, overview: Any, tissue: Any, candidates: Any, present: Any, copies: int = 1) -> tuple[Scene, Memory]:
        """Look at all slides small.

        overview, tissue, candidates: of P * S slides, see `Agent.begin`; the place of an absent slide holds any other.
        present: (P, S) bool. Returns the scene, of P * S slides, with present; and the memory, by name (R, S, F): that
        of each slide, said (K), the running class probabilities, visits (1), and what is `ahead` (2).
        """
        scene, memory = self.slides.begin(overview, tissue, candidates)
        ones = ops.ones_like(memory["h"][:, :1])
        memory = memory | {
            "said": ones * ops.convert_to_tensor(self.slides.settings["prior"], self.compute_dtype),
            "visits": ops.zeros_like(ones),
            "ahead": ahead(scene, memory["allowed"]),
        }
        most = present.shape[1]
        held = {name: ops.reshape(value, (-1, most, ops.shape(value)[1])) for name, value in memory.items()}
        return scene | {"present": present}, {name: ops.repeat(value, copies, axis=0) for name, value in held.items()}

    def view(self, scene: Scene, memory: Memory) -> dict[str, Any]:
        """What the picker and the answer read, detached.

        notes (R, S, F) of each slide: state, class probabilities, visits, what is ahead. visits (R, S). posterior
        (R, O). summary (R, O + K): the posterior, and the mean class probabilities of the slides.
        """
        present = ops.repeat(scene["present"], _copies(scene, memory["h"]), axis=0)
        said, visits = memory["said"], memory["visits"]
        notes = [memory["h"], said, ops.log1p(visits) / 4, memory["ahead"]]
        here = ops.cast(present, said.dtype)[..., None]
        count = ops.sum(here, axis=1)
        weighed = self.rule(said, present) * ops.where(count > 1, ops.convert_to_tensor(self.factors, said.dtype), 1.0)
        posterior = weighed / ops.sum(weighed, axis=-1, keepdims=True)
        mean = ops.sum(said * here, axis=1) / count
        found = {
            "notes": ops.concatenate(notes, axis=-1),
            "visits": visits[..., 0],
            "posterior": posterior,
            "summary": ops.concatenate([posterior, mean], axis=-1),
        }
        return {name: ops.stop_gradient(value) for name, value in found.items()}

    def pick(self, view: dict[str, Any], present: Any) -> Any:
        """Log-probabilities (R, S) of the slide to look at next. present: (R, S) bool."""
        learned = self.picker(view["summary"], view["notes"], present)
        return ops.log_softmax(ops.where(present, learned - self.fairness * view["visits"], NEVER), axis=-1)

    def place(self, scene: Scene, known: Memory, picked: Any) -> Any:
        """Log-probabilities (R, N) of the candidates of the picked slides (R,), of which `known` is remembered."""
        return self.slides.choose(_of_picked(scene, picked), known)

    def absorb(
        self, scene: Scene, memory: Memory, vector: Any, evidence: Any, picked: Any, choice: Any, looking: Any
    ) -> Memory:
        """Take in what was seen at a candidate of a slide, picked and choice (R,) int; see `Agent.absorb`.

        looking: (R,) bool, False where the budget is spent: nothing changes there.
        """
        known, of_picked = recall(memory, picked), _of_picked(scene, picked)
        new = self.slides.absorb(of_picked, known, vector, evidence, choice)
        said = self.slides.probabilities(self.slides.answer(new))
        new = new | {"said": said, "visits": known["visits"] + 1, "ahead": ahead(of_picked, new["allowed"])}
        return remember(memory, picked, {k: ops.where(looking[:, None], v, known[k]) for k, v in new.items()})

    def answer(self, view: dict[str, Any]) -> Any:
        """Log-probabilities (..., O) of the outcomes; see `view`."""
        return ops.log_softmax(ops.log(ops.maximum(view["posterior"], LEAST)) + self.correction(view["summary"]))

    def call(self, inputs: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Go through recorded rollouts, all of their steps at once.

        inputs: scene; picked, choice (R, T) int; before and after each step, what `view` gave, (R, T, ...); known, what
        was remembered of the picked slide before, (R, T, ...). Returns logits (R, T, O) after each fixation; log_pi
        (R, T) of the slide and the place that were chosen; entropy (R, T) of both distributions.
        """
        del training
        scene, picked, choice = inputs["scene"], inputs["picked"], inputs["choice"]
        rollouts, steps = ops.shape(picked)[0], picked.shape[1]
        before, after, known = (
            {name: _flat(value) for name, value in inputs[part].items()} for part in ("before", "after", "known")
        )
        slide, cell = (ops.reshape(ops.cast(value, "int32"), (-1,)) for value in (picked, choice))
        present = ops.repeat(scene["present"], ops.shape(slide)[0] // ops.shape(scene["present"])[0], axis=0)
        log_slide, log_place = self.pick(before, present), self.place(scene, known, slide)
        log_pi = chosen(log_slide, slide) + chosen(log_place, cell)
        entropy = self.picker.entropy(log_slide) + self.picker.entropy(log_place)
        return {
            "logits": ops.reshape(self.answer(after), (rollouts, steps, self.rule.outcomes)),
            "log_pi": ops.reshape(log_pi, (rollouts, steps)),
            "entropy": ops.reshape(entropy, (rollouts, steps)),
        }

    def get_config(self) -> dict[str, Any]:
        own = {"slides": self.slides.get_config(), "following": self.rule.following, "outcome": self.rule.outcome}
        return {**super().get_config(), **own, "factors": self.factors, "hidden": self.hidden}


def ahead(scene: Scene, allowed: Any) -> Any:
    """(B, 2): the share of a slide's salience that lies in candidates that are still allowed, and the highest of it.

    scene: of B slides, one rollout each; allowed: (B, N) bool. The highest is squashed to (-1, 1).
    """
    salience = ops.where(scene["open"], scene["salience"], NEVER)
    left = ops.sum(ops.where(allowed, ops.softmax(salience, axis=-1), 0.0), axis=-1)
    highest = ops.max(ops.where(allowed, salience, NEVER), axis=-1)
    return ops.stop_gradient(ops.stack([left, ops.tanh(highest / 10)], axis=-1))


def _flat(value: Any) -> Any:
    """(R, T, ...) as (R * T, ...)."""
    return ops.reshape(value, (-1, *(side or ops.shape(value)[k + 2] for k, side in enumerate(value.shape[2:]))))


def _copies(scene: Scene, rows: Any) -> Any:
    return ops.shape(rows)[0] // ops.shape(scene["present"])[0]


def _of_picked(scene: Scene, picked: Any) -> Scene:
    """The scene of each picked slide (R,): R slides, one rollout each."""
    most = scene["present"].shape[1]
    first = ops.arange(ops.shape(picked)[0], dtype="int32") // _copies(scene, picked) * most
    at = first + ops.cast(picked, "int32")
    return {name: ops.take(value, at, axis=0) for name, value in scene.items() if name != "present"}
