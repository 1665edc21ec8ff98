"""Where to take glimpses for the training of sight when slides have labels and no annotations: a slide is a bag."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveate.patients.stages import SLIDE_CLASSES
from foveate.slides.overview_file import StoredOverview
from foveate.stages.batch import tissue_cells
from foveate.stages.training.patches import NORMAL_SHARE, Patches

TUMOR_SHARE = {"micro": 1 / 64, "macro": 1 / 12}  # of a slide's places, the likeliest, that count as tumor
LOOKALIKE_SHARE, LOOKALIKES = 0.4, 1 / 20  # of the normal draws; and which places of negative slides these are
REST_SHARE = 0.4  # of the normal draws: the less likely half of the slides that have the most tumor


@dataclass(frozen=True)
class Places:
    """slide (n,) index into the overviews, cell (n, 2) row and column, location_um (n, 2) x, y in that cell."""

    slide: NDArray[np.int64]
    cell: NDArray[np.int64]
    location_um: NDArray[np.float64]


def bears_tumor(label: int) -> bool:
    """Whether tumor can be found on a slide of this class with no annotation. An ITC is a cell or two of thousands."""
    return SLIDE_CLASSES[label] in TUMOR_SHARE


class BagSampler:
    """Draws places and says what to hold them for, by the labels of their slides.

    Parameters
    ----------
    overviews, labels : slides and their class, as an index into SLIDE_CLASSES; negative ones and some that bear tumor.
    cell_share : share of tissue from which on a cell can be looked at.
    """

    def __init__(self, overviews: Sequence[StoredOverview], labels: Sequence[int], cell_share: float) -> None:
        self.overviews, self._labels = overviews, np.asarray(labels, np.int64)
        self._cells = [np.argwhere(tissue_cells(o, cell_share)) for o in overviews]
        self._negative = np.flatnonzero(self._labels == 0)
        self.largest = max(k for k in labels if bears_tumor(k))  # class of the slides that have the most tumor
        self._largest = np.flatnonzero(self._labels == self.largest)

    def blame(self, count: int, rng: np.random.Generator) -> Patches:
        """Draw `count` places, every one labelled as its slide: of the largest class and of negative slides.

        Macrometastases fill a seventh of their slides. What is more frequent there than on negative slides is tumor.
        """
        negative = rng.random(count) < NORMAL_SHARE
        slide = np.where(negative, rng.choice(self._negative, count), rng.choice(self._largest, count))
        places = self._anywhere(slide, rng)
        return Patches(slide, places.location_um, self._labels[slide])

    def survey(self, counts: Mapping[int, int], rng: np.random.Generator) -> Places:
        """So many places of each slide as `counts` has for its class, slide by slide.

        Each is in a cell of its own, so that slides with fewer cells have fewer.
        """
        most = [counts.get(k, 0) for k in self._labels.tolist()]
        cells = [
            own[rng.permutation(len(own))[:size]] if size else own[:0]
            for own, size in zip(self._cells, most, strict=True)
        ]
        slide = np.repeat(np.arange(len(cells)), [len(own) for own in cells])
        return self._within(slide, np.concatenate(cells), rng)

    def relabel(self, places: Places, tumor: NDArray[np.floating], count: int, rng: np.random.Generator) -> Patches:
        """Draw `count` of surveyed places by what sight holds them for, half of them normal.

        tumor (n,): the more, the likelier is tumor; NaN where it is not known. Tumor are the `likeliest` places on
        slides of the largest class; on others most of these are normal, and would be learned by heart. Normal are
        places of negative slides; those of them that look most like tumor; and the less likely half on slides of the
        largest class, which teaches what else they show.
        """
        clean = np.flatnonzero((self._labels[places.slide] == 0) & ~np.isnan(tumor))
        alike = clean[np.argsort(-tumor[clean], kind="stable")][: max(1, round(len(clean) * LOOKALIKES))]
        most = [ranked(places, tumor, k) for k in self._largest.tolist()]
        rest = np.concatenate([rows[len(rows) // 2 :] for rows in most])
        shares = (1 - LOOKALIKE_SHARE - REST_SHARE, LOOKALIKE_SHARE, REST_SHARE)
        pools = [(0, rows, NORMAL_SHARE * share) for rows, share in zip((clean, alike, rest), shares, strict=True)]
        pools.append((self.largest, np.concatenate([likeliest(rows, self.largest) for rows in most]), 1 - NORMAL_SHARE))
        pools = [pool for pool in pools if len(pool[1])]
        weights = np.array([weight for _, _, weight in pools])
        kinds = rng.choice(len(pools), size=count, p=weights / weights.sum()).tolist()
        rows = np.array([pools[k][1][rng.integers(len(pools[k][1]))] for k in kinds])
        return Patches(places.slide[rows], places.location_um[rows], np.array([pools[k][0] for k in kinds]))

    def found(self, places: Places, tumor: NDArray[np.floating]) -> list[NDArray[np.int64]]:
        """The places that count as tumor, of each slide that bears some and whose places are known, as rows."""
        bearing = [(slide, label) for slide, label in enumerate(self._labels.tolist()) if bears_tumor(label)]
        found = [likeliest(ranked(places, tumor, slide), label) for slide, label in bearing]
        return [rows for rows in found if len(rows)]

    def _anywhere(self, slide: NDArray[np.int64], rng: np.random.Generator) -> Places:
        cells = [self._cells[k][rng.integers(len(self._cells[k]))] for k in slide.tolist()]
        return self._within(slide, np.array(cells), rng)

    def _within(self, slide: NDArray[np.int64], cell: NDArray[np.int64], rng: np.random.Generator) -> Places:
        at = cell + rng.random(cell.shape) - 0.5
        location = [self.overviews[k].grid.centre_um(a) for k, a in zip(slide.tolist(), at, strict=True)]
        return Places(slide, cell, np.array(location))


def ranked(places: Places, tumor: NDArray[np.floating], slide: int) -> NDArray[np.int64]:
    """The places of a slide of which `tumor` is known, as rows, the likeliest first."""
    rows = np.flatnonzero((places.slide == slide) & ~np.isnan(tumor))
    return rows[np.argsort(-tumor[rows], kind="stable")]


def likeliest(rows: NDArray[np.int64], label: int) -> NDArray[np.int64]:
    """Those of a slide's ranked places that count as tumor, by its class: one at least, if there are any."""
    return rows[: max(1, round(len(rows) * TUMOR_SHARE[SLIDE_CLASSES[label]]))]
