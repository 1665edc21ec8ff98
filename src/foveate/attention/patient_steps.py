"""The steps of a rollout over a patient's slides as compiled functions, whose results stay on the device."""

from typing import Any

from keras import ops

from foveate.attention.agent import Memory, Scene
from foveate.attention.array_memory import recall
from foveate.attention.patient_agent import PatientAgent, ahead
from foveate.attention.policy import EXPLORE, chosen, pick
from foveate.attention.steps import compiled

View = dict[str, Any]


class PatientSteps:
    """`PatientAgent.begin`, its choices and `absorb`, compiled for one way to explore and a number of copies.

    Parameters
    ----------
    explore : greedy, sampled, or random, over slides as over places; see `policy.pick`.
    copies : rollouts M of each patient.
    """

    def __init__(self, agent: PatientAgent, explore: str, copies: int = 1) -> None:
        if explore not in EXPLORE:
            raise ValueError(f"explore must be one of {EXPLORE}. Received: {explore}")
        self._agent, self._explore, self._copies = agent, explore, copies
        self._begin, self._first, self._informed, self._choose, self._absorb = (
            compiled(agent, function)
            for function in (self._begin_, self._first_, self._informed_, self._choose_, self._absorb_)
        )

    def begin(self, overview: Any, tissue: Any, candidates: Any, present: Any) -> tuple[Scene, Memory, View]:
        """See `PatientAgent.begin`; and the first view."""
        return self._begin(overview, tissue, candidates, present)

    def first(self, scene: Scene) -> Any:
        """Log-probabilities (P * S, N) of the first candidate of each slide."""
        return self._first({name: value for name, value in scene.items() if name != "present"})

    def informed(self, scene: Scene, memory: Memory, evidence: Any) -> tuple[Scene, Memory, View]:
        """The same before the first choice, with evidence (P * S, N) of tumor added to the salience of the slides."""
        return self._informed(scene, memory, evidence)

    def choose(self, scene: Scene, memory: Memory, view: View, chance: Any) -> tuple[Any, Any, Any, Memory]:
        """Slides (R,), candidates (R,) of these, log pi (R,) of both, and what is remembered of the slides.

        chance: (R, 2) from 0 to below 1.
        """
        return self._choose(scene, memory, view, chance)

    def absorb(
        self, scene: Scene, memory: Memory, pixels: Any, where: Any, picked: Any, choice: Any, looking: Any
    ) -> tuple[Memory, View, Any]:
        """The memory after a glimpse, the view of it, and the log-probabilities (R, O) of the outcomes.

        pixels: (R, S, g, g, 3) uint8. where: (R, 2). looking: (R,) bool; see `PatientAgent.absorb`.
        """
        return self._absorb(scene, memory, pixels, where, picked, choice, looking)

    def _begin_(self, overview: Any, tissue: Any, candidates: Any, present: Any) -> tuple[Scene, Memory, View]:
        scene, memory = self._agent.begin(overview, tissue, candidates, present, self._copies)
        return scene, memory, self._agent.view(scene, memory)

    def _first_(self, scene: Scene) -> Any:
        return self._agent.slides.choose(scene, self._agent.slides.start(scene))

    def _informed_(self, scene: Scene, memory: Memory, evidence: Any) -> tuple[Scene, Memory, View]:
        scene = self._agent.slides.informed(scene, evidence)
        first = ahead(scene, scene["open"])
        by_patient = ops.reshape(first, (-1, scene["present"].shape[1], first.shape[-1]))
        memory = memory | {"ahead": ops.repeat(by_patient, self._copies, axis=0)}
        return scene, memory, self._agent.view(scene, memory)

    def _choose_(self, scene: Scene, memory: Memory, view: View, chance: Any) -> tuple[Any, Any, Any, Memory]:
        present = ops.repeat(scene["present"], self._copies, axis=0)
        log_slide = self._agent.pick(view, present)
        picked = pick(log_slide, present, chance[:, 0], self._explore)
        known = recall(memory, picked)
        log_place = self._agent.place(scene, known, picked)
        choice = pick(log_place, known["allowed"], chance[:, 1], self._explore)
        return picked, choice, chosen(log_slide, picked) + chosen(log_place, choice), known

    def _absorb_(
        self, scene: Scene, memory: Memory, pixels: Any, where: Any, picked: Any, choice: Any, looking: Any
    ) -> tuple[Memory, View, Any]:
        vector, evidence = self._agent.slides.glimpse_network(pixels, where)
        memory = self._agent.absorb(scene, memory, vector, evidence, picked, choice, looking)
        view = self._agent.view(scene, memory)
        return memory, view, self._agent.answer(view)
