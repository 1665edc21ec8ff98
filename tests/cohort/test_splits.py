from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foveate.cohort.samples import Sample
from foveate.cohort.splits import split_patients
from foveate.errors import FoveateError
from foveate.patients.stages import PN_STAGES, SLIDE_CLASSES


def cohort(stages: list[str]) -> list[Sample]:
    """Two slides a patient; patient k has the k-th stage."""
    return [
        Sample(f"p{k}-{i}", f"p{k}", Path(f"p{k}-{i}.tif"), patient_label=stage)
        for k, stage in enumerate(stages)
        for i in range(2)
    ]


def by_patient(samples: list[Sample]) -> dict[str, str]:
    result = {s.patient: s.split for s in samples}
    assert all(result[s.patient] == s.split for s in samples), "a patient has two splits"
    return result


def test_shares_of_ten_patients() -> None:
    split = by_patient(split_patients(cohort(["pN0"] * 10), test=0.3, val=0.2))
    assert Counter(split.values()) == {"test": 3, "val": 2, "train": 5}


def test_nothing_but_the_split_changes() -> None:
    samples = cohort(["pN0", "", "pN1"])
    split = split_patients(samples)
    assert [replace(s, split="") for s in split] == samples


def test_patients_without_any_label_have_no_split_left() -> None:
    samples = [replace(s, split="train") for s in cohort(["pN0", "", "pN1"])]
    assert by_patient(split_patients(samples))["p1"] == ""


def test_strata_are_the_worst_label_where_there_is_no_stage() -> None:
    labels = ["negative", "negative", "itc", "macro"] * 10
    samples = [Sample(f"s{i}", f"p{i // 2}", Path(f"{i}"), label) for i, label in enumerate(labels)]
    split = by_patient(split_patients(samples, test=0.5, val=0.2))
    negative, macro = (Counter(split[f"p{i}"] for i in range(first, 20, 2)) for first in (0, 1))
    assert negative == macro == {"test": 5, "val": 2, "train": 3}


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(PN_STAGES), max_size=60),
    st.sampled_from([0.0, 0.15, 0.3, 0.5]),
    st.integers(0, 99),
)
def test_every_stratum_gives_its_share(stages: list[str], test: float, seed: int) -> None:
    split = by_patient(split_patients(cohort(stages), test=test, val=0.2, seed=seed))
    tested = round(test * len(stages))
    assert sum(s == "test" for s in split.values()) == tested
    assert sum(s == "val" for s in split.values()) == round(0.2 * len(stages))
    for stage in set(stages):
        own = [split[f"p{k}"] for k, s in enumerate(stages) if s == stage]
        assert abs(own.count("test") - len(own) * tested / len(stages)) < 1


def test_the_order_of_the_rows_does_not_matter_and_the_seed_does() -> None:
    samples = cohort(list(PN_STAGES) * 6)
    first = by_patient(split_patients(samples))
    assert by_patient(split_patients(samples[::-1])) == first
    assert by_patient(split_patients(samples, seed=1)) != first


@pytest.mark.parametrize(("test", "val"), [(-0.1, 0.2), (0.2, -0.1), (0.6, 0.4)])
def test_bad_shares(test: float, val: float) -> None:
    with pytest.raises(FoveateError, match=f"test {test} and val {val}: expected shares"):
        split_patients([], test=test, val=val)


def test_every_class_and_stage_has_its_own_stratum() -> None:
    samples = [Sample(f"s{c}", f"s{c}", Path(c), c) for c in SLIDE_CLASSES] + cohort(list(PN_STAGES))
    split = by_patient(split_patients(samples, test=1 / 9, val=0))
    assert Counter(split.values()) == {"test": 1, "train": 8}
