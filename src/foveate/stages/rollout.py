"""Rollouts on slides: the agent chooses, the sensor reads, the agent absorbs."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from keras import ops
from numpy.typing import NDArray

from foveate.attention.agent import Agent, Memory, Scene
from foveate.attention.steps import DRAWN, Steps
from foveate.errors import SlideError
from foveate.slides.sensor import GlimpseSensor
from foveate.stages.augment import Variety
from foveate.stages.batch import Batch
from foveate.stages.looks import Done, Looks, Turns
from foveate.stages.scouting import Scouting

SHORTLIST = 4096
"""Candidates among which a prediction chooses: those that the policy ranks first before anything was seen."""
Row = TypeVar("Row")


@dataclass(frozen=True)
class Rollout:
    """B slides, M copies of each side by side, T fixations.

    location_um (B * M, T, 2) x, y; where (B * M, T, 2) as the model gets it; choice (B * M, T) index into the batch's
    candidates; probability (B * M, T) of it under the policy; logits (B * M, T, K); pixels (B * M, T, S, g, g, 3);
    scene, by name (B, ...), and seen (B * M, T, ...): on the device, see `Agent.call`; errors: slide, as a row of the
    batch -> why its glimpses could not be read (its values mean nothing then).

    looked (B * M,): how many of the fixations were made. After them logits stay as they were, location_um is NaN, and
    where, choice, probability and pixels are 0. Where all rollouts of the batch stopped, seen ends.

    attention (B * M, N), where it was asked for: the highest probability that the policy gave each candidate before
    any of the fixations; a mean would be lowest where it looked first, because no place is visited twice.

    scouted_um (B, K, 2), where there is a scout: the middles x, y of its squares, NaN where a slide needs fewer.
    """

    location_um: NDArray[np.float32]
    where: NDArray[np.float32]
    choice: NDArray[np.int32]
    probability: NDArray[np.float32]
    logits: NDArray[np.float32]
    pixels: NDArray[np.uint8]
    scene: dict[str, Any]
    seen: dict[str, Any]
    errors: dict[int, SlideError]
    looked: NDArray[np.int64]
    attention: NDArray[np.float32] | None = None
    scouted_um: NDArray[np.float32] | None = None


class Roller:
    """Rolls an agent out over slides, step by step.

    Parameters
    ----------
    explore, copies : see `Steps`.
    stop : a rollout ends where the agent's stop network, if it has one, says that enough was seen. What is replayed in
        training does not stop.
    attention : whether the rollouts say how the policy's attention was shared out, which costs a copy from the device.
    shortlist : choose among so many candidates, those that the policy ranks first, so that a step costs the same on any
        slide; of the ways that go by a ranking, not those that draw. And look at each overview on a grid of its own:
        the first look costs what the slide's size asks for, and shows the same whatever is beside it. What is replayed
        in training has neither.
    scout : whether the agent's scout, if it has one, goes over the slides first.
    """

    def __init__(
        self,
        agent: Agent,
        sensor: GlimpseSensor,
        explore: str,
        copies: int = 1,
        *,
        stop: bool = False,
        attention: bool = False,
        shortlist: int | None = None,
        scout: bool = True,
    ) -> None:
        self._sensor, self._copies = sensor, copies
        self._steps = Steps(agent, explore, copies)
        self._stop = stop and agent.stop_network is not None
        self._attention, self._apart = attention, shortlist is not None
        self._shortlist = None if explore in DRAWN else shortlist
        self._scouting = Scouting.of(agent, explore) if scout else None
        self.waited_s = 0.0  # for pixels, with nothing else to do

    def run(
        self, batch: Batch, steps: int, rng: np.random.Generator | None = None, change: Variety | None = None
    ) -> Rollout:
        """Make `steps` fixations on every slide of the batch, or fewer where it stops. See `turns`."""
        return next(side_by_side([self.turns(batch, steps, rng, change)]))

    def turns(
        self,
        batch: Batch,
        steps: int,
        rng: np.random.Generator | None = None,
        change: Variety | None = None,
        out: NDArray[np.uint8] | None = None,
    ) -> Turns[Rollout]:
        """The same, and gives the turn away whenever it waits for pixels.

        rng: needed unless the policy is greedy. change: see `Looks`. out: (B * M, T, S, g, g, 3) to fill.
        """
        slide = np.repeat(np.arange(len(batch.overviews)), self._copies)
        looks = Looks(self._sensor, batch, change)
        chances = np.zeros((steps, len(slide))) if rng is None else rng.random((steps, len(slide)))
        scene, memory, listed, scouted_um = yield from self._informed(looks, *self._begin(batch))
        rows = (len(slide), steps)
        location_um, where = np.full((*rows, 2), np.nan, np.float32), np.zeros((*rows, 2), np.float32)
        choice, probability = np.zeros(rows, np.int32), np.zeros(rows, np.float32)
        pixels = np.empty((*rows, *self._sensor.shape), np.uint8) if out is None else out
        attention = np.zeros(listed.shape, np.float32)
        answers, kept = [], []
        on, looked = np.ones(len(slide), bool), np.zeros(len(slide), np.int64)
        for t in range(steps):
            enough = self._steps.enough(memory) if self._stop and t else None
            chosen = self._steps.choose(scene, memory, chances[t].astype(np.float32))
            if enough is not None:
                on = on & ~ops.convert_to_numpy(enough)
            if not on.any():
                pixels[:, t:] = 0
                break
            looked += on
            if self._attention:
                attention[on] = np.maximum(attention[on], np.exp(ops.convert_to_numpy(chosen[2])[on]))
            pixels[~on, t] = 0
            among, log_pi = (ops.convert_to_numpy(value)[on] for value in chosen[:2])
            choice[on, t] = listed[on, among]
            probability[on, t] = np.exp(log_pi)
            pixels[on, t], location_um[on, t], where[on, t] = yield from looks.take(slide[on], choice[on, t])
            # of rollouts that stopped it goes on from blank pixels, and nothing of that is kept
            memory, answer, seen = self._steps.absorb(scene, memory, pixels[:, t], where[:, t], chosen[0])
            answers.append(answer)
            kept.append(seen)
        self.waited_s += looks.waited_s
        logits = np.stack([ops.convert_to_numpy(answer) for answer in answers], 1)
        last = np.minimum(np.arange(steps), looked[:, None] - 1)
        logits = np.take_along_axis(logits, last[..., None], axis=1)
        seen_t = {name: ops.stack([seen[name] for seen in kept], axis=1) for name in kept[0]}
        errors = dict(sorted(looks.errors.items()))
        if self._attention:
            whole = np.zeros((len(slide), batch.candidates.shape[1]), np.float32)
            np.put_along_axis(whole, listed, attention, axis=1)
        return Rollout(
            *(location_um, where, choice, probability, logits, pixels, scene, seen_t, errors, looked),
            attention=whole if self._attention else None,
            scouted_um=scouted_um,
        )

    def first(self, batch: Batch) -> tuple[NDArray[np.float32], dict[int, SlideError]]:
        """Log-probabilities (B, N) of the first candidate of each slide; and as `Rollout.errors`."""
        looks = Looks(self._sensor, batch)
        scene, memory, listed, _ = next(side_by_side([self._informed(looks, *self._begin(batch))]))
        return self._first(scene, memory, len(listed)), looks.errors

    def _informed(
        self, looks: Looks, scene: Scene, memory: Memory, listed: NDArray[np.int32]
    ) -> Turns[tuple[Scene, Memory, NDArray[np.int32], NDArray[np.float32] | None]]:
        """The same after the scout, if there is one, has gone over the slides, and `Rollout.scouted_um`."""
        if self._scouting is None:
            return scene, memory, listed, None
        log_p = self._first(scene, memory, len(listed))
        evidence, scouted_um = yield from self._scouting.turns(looks, scene, log_p, listed[:: self._copies])
        return self._steps.informed(scene, memory, evidence), memory, listed, scouted_um

    def _first(self, scene: Scene, memory: Memory, rollouts: int) -> NDArray[np.float32]:
        """Log-probabilities (B, N) of the first candidate; copies begin alike."""
        log_p = self._steps.choose(scene, memory, np.zeros(rollouts, np.float32))[2]
        return np.asarray(ops.convert_to_numpy(log_p)[:: self._copies])

    def _begin(self, batch: Batch) -> tuple[Scene, Memory, NDArray[np.int32]]:
        """Scene and memory, and (B * M, N) which of the batch's candidates theirs are; -1 fills up."""
        if not self._apart:
            return self._look(batch)
        begun = [self._look(batch.alone(row)) for row in range(len(batch.overviews))]
        scene, memory = self._steps.together([(scene, memory) for scene, memory, _ in begun])
        most = ops.shape(scene["open"])[1]
        listed = [np.pad(own, [(0, 0), (0, most - own.shape[1])], constant_values=-1) for *_, own in begun]
        return scene, memory, np.concatenate(listed)

    def _look(self, batch: Batch) -> tuple[Scene, Memory, NDArray[np.int32]]:
        """The same for slides on one grid."""
        scene, memory = self._steps.begin(batch.image, batch.tissue, batch.candidates)
        rows, count = batch.candidates.shape
        if self._shortlist is None or count <= self._shortlist:
            return scene, memory, np.broadcast_to(np.arange(count, dtype=np.int32), (rows * self._copies, count))
        log_p = self._first(scene, memory, rows * self._copies)
        best = np.argpartition(-log_p, self._shortlist - 1, axis=1)[:, : self._shortlist]
        listed = np.sort(best, axis=1).astype(np.int32)
        scene, memory = self._steps.shorten(scene, memory, listed)
        return scene, memory, listed.repeat(self._copies, axis=0)


def halves(rows: Sequence[Row]) -> list[Sequence[Row]]:
    """Two halves, the first not the smaller one, or a single part of a single row."""
    half = -(-len(rows) // 2)
    return [part for part in (rows[:half], rows[half:]) if part]


def side_by_side(work: Iterable[Turns[Done]], width: int = 2) -> Iterator[Done]:
    """Results of works in their order, up to `width` of them in turns: while one waits, another goes on.

    The order of turns is always the same, so that nothing depends on how long something takes.
    """
    left, running = enumerate(work), deque[tuple[int, Turns[Done]]]()
    done: dict[int, Done] = {}
    due = 0
    while True:
        while len(running) < width and (new := next(left, None)) is not None:
            running.append(new)
        if not running:
            return
        number, one = running.popleft()
        try:
            next(one)
            running.append((number, one))
        except StopIteration as end:
            done[number] = end.value
        while due in done:
            yield done.pop(due)
            due += 1
