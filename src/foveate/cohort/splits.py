"""Drawing patients so that every stage gives its share, and dividing them into train, val and test."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from foveate.cohort.samples import Sample
from foveate.errors import FoveateError
from foveate.patients.stages import PN_STAGES, SLIDE_CLASSES


def split_patients(samples: Iterable[Sample], *, test: float = 0.3, val: float = 0.15, seed: int = 0) -> list[Sample]:
    """Give every labelled patient a split, the same for all of its slides; others lose theirs.

    test, val: shares of the patients, rounded to whole patients. Each stratum (`by_stratum`) gives its share to
    within one patient.
    The result depends on the patients, their labels and `seed`, not on the order of the rows.
    """
    if not (test >= 0 and val >= 0 and test + val < 1):  # nor NaN
        raise FoveateError(f"test {test} and val {val}: expected shares from 0 that leave some for train")
    samples = list(samples)
    order = by_stratum(samples, seed=seed)
    tested = spread(order, round(test * len(order)))
    chosen_by = spread([p for p in order if p not in tested], round(val * len(order)))
    split = dict.fromkeys(order, "train") | dict.fromkeys(tested, "test") | dict.fromkeys(chosen_by, "val")
    return [replace(s, split=split.get(s.patient, "")) for s in samples]


def by_stratum(samples: Sequence[Sample], *, seed: int | tuple[int, ...] = 0) -> list[str]:
    """The patients with a label, those of one stratum next to each other, shuffled within it.

    Strata are the pN stages, and for patients without a stage the worst label among their slides. The order
    depends on the patients, their labels and `seed`, not on the order of the rows.
    """
    strata = _strata(samples)
    names = sorted(strata)
    shuffled = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    return sorted(shuffled, key=lambda patient: strata[patient])


def _strata(samples: Sequence[Sample]) -> dict[str, int]:
    """The stratum of each patient with a label; strata of one kind are next to each other."""
    stages, labels = {}, defaultdict(list)
    for s in samples:
        if s.patient_label:
            stages[s.patient] = len(SLIDE_CLASSES) + PN_STAGES.index(s.patient_label)
        elif s.label:
            labels[s.patient].append(SLIDE_CLASSES.index(s.label))
    return {patient: max(found) for patient, found in labels.items()} | stages


def spread(patients: Sequence[str], count: int) -> set[str]:
    """`count` of the patients, evenly spaced over the list."""
    n = len(patients)
    return {p for i, p in enumerate(patients) if (i + 1) * count // n > i * count // n}
