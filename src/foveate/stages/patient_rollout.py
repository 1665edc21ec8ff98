"""Rollouts over all slides of patients: which slide, where on it, what was concluded for the patient."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from foveate.attention.patient_agent import PatientAgent
from foveate.attention.patient_steps import PatientSteps
from foveate.errors import SlideError
from foveate.slides.overview_file import StoredOverview
from foveate.slides.sensor import GlimpseSensor
from foveate.stages.augment import Variety
from foveate.stages.batch import Batch, Shape, make_batch
from foveate.stages.looks import Looks, Turns
from foveate.stages.scouting import Scouting


@dataclass(frozen=True)
class PatientBatch:
    """P patients, S slides of each.

    slides: P * S, patient by patient; the place of an absent one holds the patient's first. present: (P, S).
    """

    slides: Batch
    present: NDArray[np.bool_]

    @property
    def count(self) -> NDArray[np.int64]:
        """Slides (P,) of each patient."""
        return self.present.sum(axis=1)


@dataclass(frozen=True)
class PatientRollout:
    """P patients, M copies of each side by side, R = P * M, T fixations, those of the largest budget.

    looking (R, T): up to the end of the budget, after which nothing means anything. picked (R, T) slide of the patient;
    location_um (R, T, 2) x, y; answer (R, T, O) log-probabilities of the stages after each fixation. record: what
    `PatientAgent.call` needs, on the device. errors: patient, as a row of the batch -> why one of its slides could not
    be read (its values mean nothing then).
    """

    looking: NDArray[np.bool_]
    picked: NDArray[np.int32]
    location_um: NDArray[np.float32]
    answer: NDArray[np.float32]
    record: dict[str, Any]
    errors: dict[int, SlideError]


def patient_batch(
    patients: Sequence[Sequence[StoredOverview]],
    shape: Shape,
    cell_share: float,
    most: int,
    orientation: NDArray[np.int64] | None = None,
) -> PatientBatch:
    """Put the slides of patients, at most `most` of each, on one grid. orientation: (P * most,), see `make_batch`."""
    slides = [overview for own in patients for overview in (*own, *[own[0]] * (most - len(own)))]
    present = np.arange(most) < np.array([len(own) for own in patients])[:, None]
    return PatientBatch(make_batch(slides, shape, cell_share, orientation), present)


class PatientRoller:
    """Rolls an agent out over the slides of patients, step by step.

    Parameters
    ----------
    explore, copies : see `PatientSteps`.
    a_slide : glimpses on a slide, on average: a patient's budget is this times the number of slides, rounded.
    """

    def __init__(
        self, agent: PatientAgent, sensor: GlimpseSensor, explore: str, a_slide: float, copies: int = 1
    ) -> None:
        self._sensor, self._copies, self._a_slide = sensor, copies, a_slide
        self._steps = PatientSteps(agent, explore, copies)
        self._scouting = Scouting.of(agent.slides, explore)
        self.waited_s = 0.0  # for pixels, with nothing else to do

    def budget(self, slides: NDArray[np.int64]) -> NDArray[np.int64]:
        """Glimpses of patients with so many slides, at least one."""
        return np.maximum(1, np.rint(self._a_slide * slides).astype(np.int64))

    def turns(
        self,
        batch: PatientBatch,
        rng: np.random.Generator | None = None,
        change: Variety | None = None,
        record: bool = False,
    ) -> Turns[PatientRollout]:
        """Spend the budget of every patient; gives the turn away whenever it waits for pixels.

        rng: needed unless the policy is greedy. change: see `Looks`. record: keep what an update needs, and take as
        many steps as the batch has room for, so that updates are alike in shape.
        """
        most, budget = batch.present.shape[1], self.budget(batch.count)
        count = len(batch.present) * self._copies
        steps = int(self.budget(np.array(most)) if record else budget.max())
        first = np.repeat(np.arange(len(batch.present)) * most, self._copies)
        looking = np.arange(steps) < np.repeat(budget, self._copies)[:, None]
        looks = Looks(self._sensor, batch.slides, change)
        chances = np.zeros((steps, count, 2)) if rng is None else rng.random((steps, count, 2))
        slides = batch.slides
        scene, memory, view = self._steps.begin(slides.image, slides.tissue, slides.candidates, batch.present)
        if self._scouting is not None:
            listed = np.broadcast_to(np.arange(slides.candidates.shape[1], dtype=np.int32), slides.candidates.shape)
            there = batch.present.reshape(-1, 1)  # what fills up is not gone over
            log_p = np.where(there, ops.convert_to_numpy(self._steps.first(scene)), -np.inf)
            evidence, _ = yield from self._scouting.turns(looks, scene, log_p, listed)
            scene, memory, view = self._steps.informed(scene, memory, evidence)
        made, kept = [], []
        for t in range(steps):
            chosen, choice_t, _, known = self._steps.choose(scene, memory, view, chances[t].astype(np.float32))
            picked, choice = ops.convert_to_numpy(chosen), ops.convert_to_numpy(choice_t)
            pixels = np.zeros((count, *self._sensor.shape), np.uint8)
            location, where = np.zeros((2, count, 2), np.float32)
            on = looking[:, t]
            if on.any():
                pixels[on], location[on], where[on] = yield from looks.take((first + picked)[on], choice[on])
            before = view
            memory, view, answer = self._steps.absorb(scene, memory, pixels, where, chosen, choice_t, on)
            made.append((picked, location, answer))
            if record:
                kept.append({"picked": chosen, "choice": choice_t, "known": known, "before": before, "after": view})
        self.waited_s += looks.waited_s
        picked_t, location_um = (np.stack([step[k] for step in made], 1) for k in (0, 1))
        answers = np.stack([ops.convert_to_numpy(step[2]) for step in made], 1)
        whole = {"scene": scene, **keras.tree.map_structure(lambda *v: ops.stack(v, axis=1), *kept)} if record else {}
        errors = {row // most: error for row, error in sorted(looks.errors.items())}
        return PatientRollout(looking, picked_t, location_um, answers, whole, errors)
