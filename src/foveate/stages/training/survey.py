"""What sight holds surveyed places for: the labels that slides without annotations do not give."""

import numpy as np
from keras import ops
from numpy.typing import NDArray

from foveate.attention.agent import Agent
from foveate.attention.steps import compiled
from foveate.stages.training.bags import BagSampler, Places
from foveate.stages.training.session import Session

CHUNK = 256  # places that are seen at a time
BLANK = 128  # grey: nothing to see


class Survey:
    """Reads places and asks the glimpse network what they show."""

    def __init__(self, session: Session, agent: Agent) -> None:
        self._session = session
        labels = [session.label[o.slide] for o in session.enrolled]
        self.bags = BagSampler(session.enrolled, labels, session.config.tissue.cell_share)
        self._see = compiled(agent, lambda pixels: agent.glimpse_network.see(pixels)[1])

    def tumor(self, places: Places) -> NDArray[np.float64]:
        """The log odds of tumor at each place (n,). NaN on slides that could not be read; these are dropped."""
        slides, parts = self.bags.overviews, [slice(k, k + CHUNK) for k in range(0, len(places.slide), CHUNK)]
        odds, failed = np.empty(len(places.slide)), set[int]()
        reads = self._session.sensor.read_ahead(
            ([slides[k] for k in places.slide[rows]], places.location_um[rows]) for rows in parts
        )
        for rows, seen in zip(parts, reads, strict=True):
            count = len(seen.pixels)
            failed |= {int(places.slide[rows][k]) for k in self._session.drop_failed([(count, seen.errors)])}
            pixels = np.zeros((CHUNK, *seen.pixels.shape[1:]), np.uint8)  # of one size, so that one shape is compiled
            pixels[:count] = seen.pixels
            logits = ops.convert_to_numpy(self._see(pixels))[:count].astype(np.float64)
            odds[rows] = np.logaddexp.reduce(logits[:, 1:], axis=1) - logits[:, 0]
        return np.where(np.isin(places.slide, sorted(failed)), np.nan, odds)


def blanked(pixels: NDArray[np.uint8], blank: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Glimpses (n, S, g, g, 3) with squares left blank, (n, S); the finest one always stays."""
    out = pixels.copy()
    out[:, 1:][blank[:, 1:]] = BLANK
    return out
