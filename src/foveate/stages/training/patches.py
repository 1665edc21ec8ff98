"""Where to take glimpses for the training of sight."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveate.patients.stages import SLIDE_CLASSES
from foveate.slides.overview_file import StoredOverview
from foveate.stages.batch import tissue_cells

ITC_UM, MICRO_UM = 200.0, 2000.0  # largest diameters of the classes, TNM
NORMAL_SHARE = 0.5  # of the draws; the lesion classes that there are share the rest evenly
SALIENT_SHARE = 0.7  # of the normal draws: where the policy would look, so that look-alikes are learned


def lesion_class(diameter_um: NDArray[np.floating] | float) -> NDArray[np.int64]:
    """Index into SLIDE_CLASSES by largest diameter: itc up to 0.2 mm, micro up to 2 mm, macro above."""
    d = np.asarray(diameter_um)
    return 1 + (d > ITC_UM).astype(np.int64) + (d > MICRO_UM)


def class_at(overview: StoredOverview, location_um: NDArray[np.floating]) -> int:
    """Class of the largest annotated lesion within half a cell of a location (x, y); 0 where there is none.

    In the middle of a cell that is the largest lesion in the cell, which is what the policy's choice means.
    """
    if overview.lesions is None:
        return 0
    half = overview.cell_px / 2
    x, y = (np.asarray(location_um) - overview.origin_um) / overview.mpp
    top, left = max(0, round(y - half)), max(0, round(x - half))
    box = overview.lesions.index[top : max(0, round(y + half)), left : max(0, round(x + half))]
    found = np.unique(box[box > 0])
    return int(lesion_class(overview.lesions.diameter_um[found - 1].max())) if len(found) else 0


@dataclass(frozen=True)
class Patches:
    """Draws: slide (n,) index into the overviews, location_um (n, 2) x, y, label (n,) index into SLIDE_CLASSES."""

    slide: NDArray[np.int64]
    location_um: NDArray[np.float64]
    label: NDArray[np.int64]


class PatchSampler:
    """Draws places in cells with annotated lesions and in normal cells.

    Every lesion of a class is as likely as every other, so that small ones are seen. Normal cells come from
    slides whose lesions are known: annotated ones, and negative ones, in which outlines do not count.

    Parameters
    ----------
    overviews, labels : slides and their class.
    salience : per slide, (R, C) of its grid: how likely the policy looks at each cell.
    cell_share : share of tissue from which on a cell can be looked at.
    """

    def __init__(
        self,
        overviews: Sequence[StoredOverview],
        labels: Sequence[str],
        salience: Sequence[NDArray[np.floating]],
        cell_share: float,
    ) -> None:
        self.overviews = overviews
        self._negative = [label == SLIDE_CLASSES[0] for label in labels]
        self._normal: list[tuple[int, NDArray[np.int64], NDArray[np.float64]]] = []
        self._lesions: dict[int, list[tuple[int, NDArray[np.int64]]]] = {}
        for k, (overview, negative) in enumerate(zip(overviews, self._negative, strict=True)):
            cells = tissue_cells(overview, cell_share)
            if overview.lesions is not None and not negative:
                self._add_lesions(k, overview)
                rows, columns = np.nonzero(overview.lesions.index)
                cells[rows // overview.cell_px, columns // overview.cell_px] = False
            if (negative or overview.lesions is not None) and cells.any():
                free = np.argwhere(cells)
                chance = np.asarray(salience[k], np.float64)[free[:, 0], free[:, 1]] + 1e-12
                self._normal.append((k, free, chance / chance.sum()))

    def _add_lesions(self, k: int, overview: StoredOverview) -> None:
        lesions = overview.lesions
        if lesions is None:
            return
        for number in np.unique(lesions.index[lesions.index > 0]).tolist():
            cells = np.unique(np.argwhere(lesions.index == number) // overview.cell_px, axis=0)
            kind = int(lesion_class(lesions.diameter_um[number - 1]))
            self._lesions.setdefault(kind, []).append((k, cells))

    def draw(self, count: int, rng: np.random.Generator) -> Patches:
        """Draw `count` places in random order, each anywhere in its cell."""
        kinds = [0] * bool(self._normal) + sorted(self._lesions)
        chance = np.array([NORMAL_SHARE if k == 0 else (1 - NORMAL_SHARE) / len(self._lesions) for k in kinds])
        slide, location, label = np.empty(count, np.int64), np.empty((count, 2)), np.empty(count, np.int64)
        for row, kind in enumerate(rng.choice(kinds, size=count, p=chance / chance.sum()).tolist()):
            slide[row], cell = self._normal_cell(rng) if kind == 0 else self._lesion_cell(kind, rng)
            overview = self.overviews[slide[row]]
            location[row] = overview.grid.centre_um(cell + rng.random(2) - 0.5)
            label[row] = 0 if self._negative[slide[row]] else class_at(overview, location[row])
        return Patches(slide, location, label)

    def _normal_cell(self, rng: np.random.Generator) -> tuple[int, NDArray[np.int64]]:
        k, cells, chance = self._normal[rng.integers(len(self._normal))]
        salient = rng.random() < SALIENT_SHARE
        return k, cells[rng.choice(len(cells), p=chance) if salient else rng.integers(len(cells))]

    def _lesion_cell(self, kind: int, rng: np.random.Generator) -> tuple[int, NDArray[np.int64]]:
        k, cells = self._lesions[kind][rng.integers(len(self._lesions[kind]))]
        return k, cells[rng.integers(len(cells))]
