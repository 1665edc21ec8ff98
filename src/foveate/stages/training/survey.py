"""What sight holds surveyed places for: the labels that slides without annotations do not give."""

import logging

import numpy as np
from keras import ops
from numpy.typing import NDArray

from foveate.attention.agent import Agent
from foveate.attention.steps import compiled
from foveate.patients.stages import SLIDE_CLASSES
from foveate.slides.overview_file import StoredOverview
from foveate.stages.training.bags import BagSampler, Places, bears_tumor
from foveate.stages.training.session import Session

log = logging.getLogger(__name__)
Map = NDArray[np.int32]  # of an overview's cells

STREAM = 4
SURVEYED = 20  # places of a slide, times those of an epoch of sight
CHUNK = 256  # places that are seen at a time
BLANK = 128  # grey: nothing to see
TRANSPLANTED = 0.5  # chance of surroundings that are another's


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


class LesionCells:
    """Which cells of the training slides hold lesions: by the annotations, or, without any, as sight finds them.

    Sight is taught, and stays as it is; so what it finds is the same after a resume.
    """

    def __init__(self, session: Session, agent: Agent) -> None:
        self._session, self._agent = session, agent
        self._found: dict[str, tuple[Map, Map]] | None = None

    def of(self, overview: StoredOverview) -> Map:
        """Which lesion each cell holds (R, C), see `Session.lesion_cells`. What sight finds is one lesion."""
        return self._of(overview)[0]

    def known(self, overview: StoredOverview) -> Map:
        """1 for the cells (R, C) of which that is known, 0 for those of a slide that sight did not look at."""
        return self._of(overview)[1]

    def _of(self, overview: StoredOverview) -> tuple[Map, Map]:
        session = self._session
        if session.annotated or not bears_tumor(session.label[overview.slide]):
            lesions = session.lesion_cells(overview)
            return lesions, np.ones_like(lesions)
        if self._found is None:
            self._found = self._find()
        return self._found[overview.slide]

    def _find(self) -> dict[str, tuple[Map, Map]]:
        settings, survey = self._session.config.train, Survey(self._session, self._agent)
        rng = np.random.default_rng([settings.seed, STREAM])
        most = SURVEYED * settings.pretrain_patches
        places = survey.bags.survey({k: most for k in range(len(SLIDE_CLASSES)) if bears_tumor(k)}, rng)
        rows = np.concatenate(survey.bags.found(places, survey.tumor(places)) or [np.empty(0, np.int64)])
        lesion = np.zeros(len(places.slide), bool)
        lesion[rows] = True
        maps = {}
        for k, overview in enumerate(survey.bags.overviews):
            own = places.slide == k
            lesions, known = (np.zeros(overview.cell_tissue.shape, np.int32) for _ in range(2))
            known[tuple(places.cell[own].T)] = 1
            lesions[tuple(places.cell[own & lesion].T)] = 1
            maps[overview.slide] = lesions, known
        log.info("sight holds %d of %d places for tumor", len(rows), len(places.slide))
        return maps


def blanked(pixels: NDArray[np.uint8], blank: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Glimpses (n, S, g, g, 3) with squares left blank, (n, S); the finest one always stays."""
    out = pixels.copy()
    out[:, 1:][blank[:, 1:]] = BLANK
    return out


def transplanted(
    pixels: NDArray[np.uint8], label: NDArray[np.int64], clean: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Glimpses (n, S, g, g, 3), half of them with the surroundings of another one, and their labels (n,).

    clean (n,): those of negative slides. Half of the clean ones and of those with tumor get the coarsest square of a
    clean one. Tumor in normal surroundings is a micrometastasis, and no annotation is needed to make one; what is clean
    stays so, and keeps it from being told by squares that do not belong together.
    """
    donors, tumor = np.flatnonzero(clean), label > 0
    if not len(donors) or pixels.shape[1] < 2:
        return pixels, label
    moved = (clean | tumor) & (rng.random(len(label)) < TRANSPLANTED)
    out = pixels.copy()
    out[moved, -1] = pixels[rng.choice(donors, moved.sum()), -1]
    return out, np.where(moved & tumor, SLIDE_CLASSES.index("micro"), label)
