"""How the nodes of one patient go together: what labelled patients say of it, and a posterior that heeds it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foveate.patients.posterior import stage_posterior
from foveate.patients.stages import PN_STAGES, SLIDE_CLASSES

Floats = NDArray[np.float64]

SMOOTHING = 0.5
"""Patients added to the seen and to the expected ones of each stage: without patients every factor is 1."""

ALONE = np.ones(len(PN_STAGES))
"""The factors of a patient with one node: it depends on no other."""


@dataclass(frozen=True)
class LabelledPatient:
    """stage: of `PN_STAGES`; labels: the slide class of each node, "" where it is not known."""

    stage: str
    labels: tuple[str, ...]


class Dependence:
    """How much more often patients have each stage than independent nodes would give it to them.

    `stage_posterior` takes nodes as independent, so it expects the stages that a random draw of nodes would have. In
    a cohort they differ: one patient has many metastases and another has none. With O_s labelled patients of stage s
    and E_s = sum over them of P(s) for as many independent nodes, with the cohort's share of each class, the factor
    of a stage is

        w_s = (O_s + a) / (E_s + a),    a = `SMOOTHING`

    and P(s | slides) is proportional to w_s P_independent(s | slides): Bayes' rule with the cohort's stages for the
    prior, where all patients have equally many nodes. A patient of one node has no dependence (`ALONE`); those that
    are labelled count in the share of each class alone, to which one node of each class is added.

    labelled: patients whose truth may be used, by name.
    """

    def __init__(self, labelled: Mapping[str, LabelledPatient]) -> None:
        self._labelled = dict(labelled)
        self._classes = Counter(dict.fromkeys(SLIDE_CLASSES, 1))
        self._stages: Counter[str] = Counter()
        self._nodes: Counter[int] = Counter()
        for patient in labelled.values():
            self._classes.update(filter(None, patient.labels))
            if len(patient.labels) > 1:
                self._stages[patient.stage] += 1
                self._nodes[len(patient.labels)] += 1

    def factors(self, without: str = "") -> Floats:
        """Return w (5,) for patients of several nodes. without: a patient whose own truth must not count."""
        classes, stages, nodes = self._classes.copy(), self._stages.copy(), self._nodes.copy()
        if own := self._labelled.get(without):
            classes.subtract(filter(None, own.labels))
            if len(own.labels) > 1:
                stages[own.stage] -= 1
                nodes[len(own.labels)] -= 1
        share = tuple(classes[c] / classes.total() for c in SLIDE_CLASSES)
        expected = sum((count * _independent(share, n) for n, count in nodes.items()), np.zeros(len(PN_STAGES)))
        seen = np.array([stages[stage] for stage in PN_STAGES], dtype=np.float64)
        return np.asarray((seen + SMOOTHING) / (expected + SMOOTHING))


@cache
def _independent(share: tuple[float, ...], n_nodes: int) -> Floats:
    """The distribution (5,) over the stages of independent nodes, each with this share of the slide classes."""
    return stage_posterior([share] * n_nodes)


def heed(posterior: Floats, factors: ArrayLike) -> Floats:
    """Return the distribution proportional to factors * posterior; each (5,)."""
    weighted = posterior * np.asarray(factors)
    return np.asarray(weighted / weighted.sum())
