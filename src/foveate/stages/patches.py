"""Where to take patches for the pretraining of the glimpse network."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveate.patients.stages import SLIDE_CLASSES
from foveate.slides.overview_file import StoredOverview

ITC_UM, MICRO_UM = 200.0, 2000.0  # largest diameters (design: TNM; Hermanek et al. 1999)
NORMAL_SHARE = 0.4  # of the patches; the lesion classes that there are share the rest evenly


def lesion_class(diameter_um: NDArray[np.floating]) -> NDArray[np.int64]:
    """Index into SLIDE_CLASSES by largest diameter: itc up to 0.2 mm, micro up to 2 mm, macro above."""
    d = np.asarray(diameter_um)
    return 1 + (d > ITC_UM).astype(np.int64) + (d > MICRO_UM)


@dataclass(frozen=True)
class Patches:
    """Draws: slide (n,) index into the overviews, location_um (n, 2) x, y, label (n,) index into SLIDE_CLASSES."""

    slide: NDArray[np.int64]
    location_um: NDArray[np.float64]
    label: NDArray[np.int64]


class PatchSampler:
    """Draws glimpse centres in annotated lesions and in normal tissue.

    Every lesion of a class is as likely as every other, so that small ones are seen. Normal tissue comes
    from slides whose lesions are known: negative ones and annotated ones.

    Parameters
    ----------
    overviews, labels : slides and their class ("" where unknown).
    """

    def __init__(self, overviews: Sequence[StoredOverview], labels: Sequence[str]) -> None:
        self._overviews = overviews
        self._normal: list[int] = []
        self._lesions: dict[int, list[tuple[int, int]]] = {}
        for k, (overview, label) in enumerate(zip(overviews, labels, strict=True)):
            if (label == SLIDE_CLASSES[0] or overview.lesions is not None) and len(self._normal_pixels(k)):
                self._normal.append(k)
            if overview.lesions is None or label == SLIDE_CLASSES[0]:
                continue
            for lesion in np.unique(overview.lesions.index[overview.lesions.index > 0]).tolist():
                kind = int(lesion_class(overview.lesions.diameter_um[lesion - 1]))
                self._lesions.setdefault(kind, []).append((k, lesion))

    @property
    def usable(self) -> bool:
        """Whether there is anything to tell apart."""
        return bool(self._normal and self._lesions)

    def draw(self, count: int, rng: np.random.Generator) -> Patches:
        """Draw `count` patches in random order."""
        kinds = sorted(self._lesions)
        share = (1 - NORMAL_SHARE) / len(kinds)
        label = rng.choice([0, *kinds], size=count, p=[NORMAL_SHARE, *[share] * len(kinds)])
        slide, location = np.empty(count, np.int64), np.empty((count, 2))
        for row, kind in enumerate(label.tolist()):
            if kind == 0:
                slide[row] = self._normal[rng.integers(len(self._normal))]
                overview = self._overviews[slide[row]]
                pixels = self._normal_pixels(int(slide[row]))
            else:
                lesions = self._lesions[kind]
                slide[row], lesion = lesions[rng.integers(len(lesions))]
                overview = self._overviews[slide[row]]
                assert overview.lesions is not None
                pixels = np.flatnonzero(overview.lesions.index == lesion)
            at = pixels[rng.integers(len(pixels))]
            y, x = np.divmod(at, overview.tissue.shape[1])
            location[row] = (np.array([x, y]) + rng.random(2)) * overview.mpp + overview.origin_um
        return Patches(slide, location, label)

    def _normal_pixels(self, slide: int) -> NDArray[np.int64]:
        overview = self._overviews[slide]
        normal = overview.tissue
        if overview.lesions is not None:
            normal = normal & (overview.lesions.index == 0)
        return np.flatnonzero(normal)
