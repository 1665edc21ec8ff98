"""Going over a slide at low power before the first fixation: where, and what follows for each cell."""

from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from foveate.attention.agent import Agent, Scene
from foveate.attention.scout import Scout
from foveate.attention.steps import compiled
from foveate.stages.looks import Looks, Turns

CHUNK = 64  # squares that the scout sees at a time, so that one shape is compiled


class Scouting:
    """Shows the scout of an agent the squares around the cells that the policy would look at first."""

    def __init__(self, agent: Agent, scout: Scout) -> None:
        self._scout = scout
        self._see = compiled(agent, scout.call)

    @classmethod
    def of(cls, agent: Agent, explore: str) -> "Scouting | None":
        """That of an agent with a scout; places at random need none."""
        return None if agent.scout is None or explore == "random" else cls(agent, agent.scout)

    def turns(
        self, looks: Looks, scene: Scene, log_p: Any, listed: NDArray[np.int32]
    ) -> Turns[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Evidence (B, N) of tumor in the candidates of a scene, 0 where none was seen; and the middles (B, K, 2) of
        the squares, x, y in um, NaN where a slide needs fewer.

        log_p: (B, N) of the first choice. listed: (B, N) which of the batch's candidates they are.
        """
        places, open_ = (ops.convert_to_numpy(scene[name]) for name in ("places", "open"))
        ranks = np.where(open_, ops.convert_to_numpy(log_p), -np.inf)
        reach, count = self._scout.reach, self._scout.count
        chosen = [covering(rank, at, reach, count) for rank, at in zip(ranks, places, strict=True)]
        slide = np.repeat(np.arange(len(chosen)), [len(rows) for rows in chosen])
        at = np.concatenate(chosen)
        pixels, middle_um, _ = yield from looks.take(slide, listed[slide, at], ((self._scout.mpp,), self._scout.px))
        maps = self._maps(pixels[:, 0])
        evidence, middles = np.zeros(ranks.shape, np.float32), np.full((len(chosen), count, 2), np.nan, np.float32)
        for row, rows in enumerate(chosen):
            evidence[row] = laid_out(maps[slide == row], places[row, rows], places[row])
            middles[row, : len(rows)] = middle_um[slide == row]
        return np.where(open_, evidence, 0), middles

    def _maps(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(n, C, C) of squares (n, px, px, 3)."""
        room = np.zeros((-(-len(pixels) // CHUNK) * CHUNK, *pixels.shape[1:]), np.uint8)
        room[: len(pixels)] = pixels
        parts = [ops.convert_to_numpy(self._see(room[k : k + CHUNK])) for k in range(0, len(room), CHUNK)]
        return np.concatenate(parts)[: len(pixels)]


def covering(rank: NDArray[np.floating], places: NDArray[np.floating], reach: int, count: int) -> NDArray[np.int64]:
    """Up to `count` cells around which squares cover those that rank first: the first one, the first that it leaves
    uncovered, and so on.

    rank: (N,), -inf for what does not count. places: (N, 2) row, column. A square covers `reach` cells on each side.
    """
    left, chosen = rank.copy(), list[int]()
    while len(chosen) < count and np.isfinite(left[best := int(np.argmax(left))]):
        chosen.append(best)
        left[(np.abs(places - places[best]) <= reach).all(axis=1)] = -np.inf
    return np.array(chosen, np.int64)


def laid_out(
    maps: NDArray[np.float32], middles: NDArray[np.floating], places: NDArray[np.floating]
) -> NDArray[np.float32]:
    """(N,) of cells at places (N, 2), row and column: the mean of the maps (K, C, C) around middles (K, 2) that show
    them, 0 where none does.
    """
    reach = maps.shape[1] // 2
    at, corners = (np.rint(cells).astype(np.int64) for cells in (places, middles))  # reach cells before a middle
    total, seen = np.zeros((2, *(np.concatenate([at, corners]).max(axis=0) + 1 + 2 * reach)), np.float32)
    for one, (row, column) in zip(maps, corners.tolist(), strict=True):
        shown = np.s_[row : row + 2 * reach + 1, column : column + 2 * reach + 1]
        total[shown] += one
        seen[shown] += 1
    own = tuple(at.T + reach)
    return total[own] / np.maximum(seen[own], 1)
