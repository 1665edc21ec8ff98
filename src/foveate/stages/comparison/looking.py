"""Rollouts of one model by several ways to choose the cells, and what each costs."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from keras import ops
from numpy.typing import NDArray

from foveate.attention.agent import Agent
from foveate.attention.steps import DRAWN
from foveate.errors import SlideError
from foveate.slides.coverage import tissue_seen
from foveate.slides.overview_file import StoredOverview
from foveate.slides.sensor import Glimpses, GlimpseSensor, Squares
from foveate.stages.batch import common_shape, make_batch
from foveate.stages.rollout import SHORTLIST, Roller

WAYS = {"learned": "greedy"} | {way: way for way in ("sampled", "salience", "spread", "random")}
"""Way to look to how it explores (`attention.steps.EXPLORE`)."""

COSTS = ("seconds", "cpu_seconds", "decoded_px")
Floats = NDArray[np.float64]


class MeteredSensor(GlimpseSensor):
    """A sensor that notes, at every call, what has been spent since `begin`."""

    def begin(self) -> None:
        """Start from nothing: no open slide, no decoded tile, no cost."""
        self.forget()
        self._marks: list[Floats] = []
        self._begun = self._now()

    def spent(self) -> Floats:
        """(3,) `COSTS` so far: wall time, CPU time of the whole process, pixels decoded."""
        return self._now() - self._begun

    def steps(self) -> Floats:
        """(T, 3) `COSTS` of the first 1, 2, ..., T calls of `start`, each with all that was done with its pixels."""
        return np.stack([*self._marks[1:], self.spent()])

    def start(
        self,
        overviews: Sequence[StoredOverview],
        locations_um: NDArray[np.floating],
        out: NDArray[np.uint8] | None = None,
        squares: Squares | None = None,
    ) -> Callable[[], Glimpses]:
        """See GlimpseSensor. What is read before the first glimpse is part of its cost."""
        if squares is None:
            self._marks.append(self.spent())
        return super().start(overviews, locations_um, out, squares)

    def _now(self) -> Floats:
        return np.array([time.perf_counter(), time.process_time(), self.decoded_px])


@dataclass(frozen=True)
class Looks:
    """n slides, R rollouts of each, by one way, after each of P numbers of glimpses.

    probabilities: (n, R, P, K) of the slide classes. tissue: (n, R, P), the share of tissue area that was seen at the
    finest scale. costs: (n, R, P, 3), `COSTS`: a slide's part of its batch. errors: slide to why it could not be read;
    these are not among `slides`.
    """

    slides: list[str]
    probabilities: Floats
    tissue: Floats
    costs: Floats
    errors: dict[str, str]


class Looker:
    """Rolls an agent out by each of `WAYS`.

    Parameters
    ----------
    after : numbers of glimpses after which the answer counts, ascending. One rollout gives them all.
    repeats : rollouts for the ways of `steps.DRAWN`.
    cell_share : see `batch.tissue_cells`.
    """

    def __init__(self, agent: Agent, threads: int, after: Sequence[int], repeats: int, cell_share: float) -> None:
        settings = agent.settings
        self._agent, self._after, self._repeats, self._share = agent, list(after), repeats, cell_share
        self._side_um = settings["scales_mpp"][0] * settings["glimpse_px"]
        self.sensor = MeteredSensor(**agent.sensor, threads=threads)
        self._rollers = {way: Roller(agent, self.sensor, explore, shortlist=SHORTLIST) for way, explore in WAYS.items()}
        self._compiled: set[tuple[object, ...]] = set()

    def look(self, way: str, overviews: Sequence[StoredOverview], rng: np.random.Generator) -> Looks:
        """Look at a batch of slides, from cold caches each time.

        The cost is that of reading and of the model, from the overview's file on. Compilation is done before.
        """
        batch, roller = make_batch(overviews, common_shape(overviews, self._share), self._share), self._rollers[way]
        # a slide's first look has the shape of its own grid, the steps that of the batch
        kinds = {(way, common_shape([o], self._share)) for o in overviews} | {(way, *batch.candidates.shape)}
        if not kinds <= self._compiled:
            self.sensor.begin()
            roller.run(batch, 2, np.random.default_rng(0))
            self._compiled |= kinds
        errors: dict[int, SlideError] = {}
        answers, tissue, costs = [], [], []
        for _ in range(self._repeats if way in DRAWN else 1):
            self.sensor.begin()
            made = roller.run(batch, self._after[-1], rng)
            steps = self.sensor.steps()
            errors |= made.errors
            last = np.array(self._after) - 1
            answers.append(ops.convert_to_numpy(self._agent.probabilities(made.logits[:, last])))
            places = zip(overviews, made.location_um, strict=True)
            tissue.append([tissue_seen(o, at, self._side_um, self._after) for o, at in places])
            costs.append(np.broadcast_to(steps[last] / len(overviews), (len(overviews), len(last), len(COSTS))))
        kept = [row for row in range(len(overviews)) if row not in errors]
        return Looks(
            [overviews[row].slide for row in kept],
            np.stack(answers, 1, dtype=np.float64)[kept],
            np.stack(tissue, 1)[kept],
            np.stack(costs, 1)[kept],
            {error.slide: error.reason for error in errors.values()},
        )
