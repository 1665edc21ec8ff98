from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from foveate.cohort.folds import Fold, folds
from foveate.cohort.samples import Sample, read_samples, write_samples
from foveate.errors import SheetError
from foveate.patients.stages import PN_STAGES, SLIDE_CLASSES

SHEET = Path("samples.tsv")


def sample(slide: str, patient: str = "", label: str = "macro", **more: object) -> Sample:
    return Sample(slide, patient or slide, Path(slide), label, **more)  # type: ignore[arg-type]


def patients(slides: Iterable[str]) -> set[str]:
    """Slides are called by their patient, a dash and a number."""
    return {slide.split("-")[0] for slide in slides}


def fold_of(found: dict[str, Fold]) -> dict[str, str]:
    """Patient to the fold that tests on it."""
    return {patient: fold.name for fold in found.values() for patient in patients(fold.test)}


def assert_apart(found: dict[str, Fold]) -> None:
    """No model learns from or is chosen by a patient whom it tests or predicts; slides have one part."""
    for fold in found.values():
        learned, other = patients([*fold.train, *fold.val]), patients([*fold.test, *fold.outside])
        assert not learned & other
        assert not patients(fold.train) & patients(fold.val)
        every = [*fold.train, *fold.val, *fold.test, *fold.outside]
        assert len(every) == len(set(every))


def test_a_sheet_without_numbers_has_one_fold_by_split() -> None:
    samples = [
        sample("a", split="train"),
        sample("b", split="val"),
        sample("c", split="test"),
        sample("d", split="test", label=""),
        sample("e"),
        sample("f", label=""),
        sample("g", split="train", exclude="torn"),
        sample("h", exclude="torn"),
        sample("i", split="train"),
    ]
    assert folds(samples, "sheet", SHEET) == {"split": Fold("split", ["a", "i"], ["b"], ["c", "d"], ["e", "f"])}


def test_a_sheet_to_be_predicted() -> None:
    found = folds([sample("a", label=""), sample("b")], "sheet", SHEET)
    assert found == {"split": Fold("split", [], [], [], ["a", "b"])}


def test_numbers_of_the_sheet_in_their_order() -> None:
    samples = [sample(f"{n}{letter}", fold=n) for letter in "ab" for n in (7, 10, 3)]
    samples += [sample("free"), sample("torn", fold=50, exclude="torn")]
    found = folds(samples, "sheet", SHEET)
    assert {name: fold.test for name, fold in found.items()} == {
        "3": ["3a", "3b"],
        "7": ["7a", "7b"],
        "10": ["10a", "10b"],
    }
    assert list(found) == ["3", "7", "10"]
    for fold in found.values():  # 15 % of 4 patients is less than one
        assert (len(fold.train), len(fold.val), fold.outside) == (3, 1, ["free"])
        assert {*fold.train, *fold.val, *fold.test} == {f"{n}{letter}" for letter in "ab" for n in (7, 10, 3)}


@pytest.mark.parametrize("by", ["sheet", 2, "center"])
def test_two_of_two_patients_have_no_one_to_choose_by(by: str | int) -> None:
    columns = [{"fold": k} if by == "sheet" else {"center": f"c{k}"} for k in range(2)]
    found = folds([sample(f"p{k}", **columns[k]) for k in range(2)], by, SHEET)
    assert sorted((fold.train, fold.val, fold.test) for fold in found.values()) == [
        (["p0"], [], ["p1"]),
        (["p1"], [], ["p0"]),
    ]


def cohort(stages: list[str], **columns: object) -> list[Sample]:
    """Two slides a patient; patient k has the k-th stage."""
    return [
        sample(f"p{k}-{i}", f"p{k}", "negative", patient_label=stage, **columns)
        for k, stage in enumerate(stages)
        for i in range(2)
    ]


def test_twenty_patients_in_five_folds() -> None:
    found = folds(cohort(["pN0", "pN1"] * 10), 5, SHEET)
    assert list(found) == ["0", "1", "2", "3", "4"]
    for fold in found.values():
        stages = Counter("pN0" if int(p[1:]) % 2 == 0 else "pN1" for p in patients(fold.test))
        assert stages == {"pN0": 2, "pN1": 2}
        assert [len(part) for part in (fold.train, fold.val, fold.test)] == [28, 4, 8]  # 2.4 of 16 choose
    assert len(fold_of(found)) == 20
    assert_apart(found)


def test_validation_patients_are_spread_over_the_stages_and_differ_from_fold_to_fold() -> None:
    found = folds(cohort(["pN0", "pN1"] * 40), 4, SHEET)
    drawn = [frozenset(patients(fold.val)) for fold in found.values()]
    assert {len(part) for part in drawn} == {9}  # 15 % of 60
    assert all({int(p[1:]) % 2 for p in part} == {0, 1} for part in drawn)
    assert len(set(drawn)) == 4


def test_the_order_of_the_rows_does_not_matter() -> None:
    samples = cohort(list(PN_STAGES) * 4)
    first, again = (folds(rows, 4, SHEET) for rows in (samples, samples[::-1]))
    for name, fold in first.items():
        assert [sorted(part) for part in (fold.train, fold.val, fold.test)] == [
            sorted(part) for part in (again[name].train, again[name].val, again[name].test)
        ]


def test_an_excluded_slide_moves_nobody() -> None:
    samples = cohort(list(PN_STAGES) * 4)
    before = fold_of(folds(samples, 5, SHEET))
    without = [replace(s, exclude="torn") if s.patient in ("p3", "p11") else s for s in samples]
    after = folds(without, 5, SHEET)
    assert fold_of(after) == {patient: fold for patient, fold in before.items() if patient not in ("p3", "p11")}
    assert not patients([s for f in after.values() for s in (*f.train, *f.val, *f.outside)]) & {"p3", "p11"}


def test_a_fold_of_none_but_excluded_patients_is_left_out() -> None:
    samples = [sample(f"p{k}", exclude="torn" if k == 1 else "") for k in range(4)]
    found = folds(samples, 4, SHEET)
    assert len(found) == 3
    assert set(fold_of(found)) == {"p0", "p2", "p3"}


def test_who_is_held_out_has_no_part_in_the_folds() -> None:
    samples = cohort(["pN0", "pN1", "pN2"] * 4, split="train")
    held_out = [sample(f"h{k}-0", f"h{k}", "negative", split="test") for k in range(5)]
    found = folds([*held_out, *samples], 3, SHEET)
    assert all(fold.outside == [s.slide for s in held_out] for fold in found.values())
    for other in ([replace(s, label="macro") for s in held_out], []):
        for name, fold in folds([*samples, *other], 3, SHEET).items():
            assert (fold.train, fold.val, fold.test) == (found[name].train, found[name].val, found[name].test)


def test_unlabelled_slides_stay_with_their_patient_and_unlabelled_patients_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    samples = [sample(f"p{k}-0", f"p{k}", "itc") for k in range(4)]
    samples += [sample("p1-1", "p1", ""), sample("q-0", "q", "", patient_label="pN1")]
    found = folds(samples, 2, SHEET)
    assert all(fold.outside == ["q-0"] for fold in found.values())
    own = found[fold_of(found)["p1"]]
    assert {"p1-0", "p1-1"} <= set(own.test)
    assert not any("p1-1" in (*fold.train, *fold.val) for fold in found.values())
    assert "without a label, so not trained on (1): p1-1" in caplog.text


def test_a_fold_for_each_centre() -> None:
    samples = [sample(f"{c}{k}-{i}", f"{c}{k}", center=c) for c in ("UMCU", "RUMC") for k in range(8) for i in range(2)]
    samples += [sample("UMCU0-2", "UMCU0", ""), sample("held", split="test", center="LPON"), sample("new", label="")]
    found = folds(samples, "center", SHEET)
    assert list(found) == ["center_RUMC", "center_UMCU"]
    assert patients(found["center_RUMC"].test) == {f"RUMC{k}" for k in range(8)}
    assert {f"UMCU0-{i}" for i in range(3)} <= set(found["center_UMCU"].test)  # the empty centre is the patient's
    assert [(len(f.train), len(f.val)) for f in found.values()] == [(14, 2), (14, 2)]
    assert all(fold.outside == ["held", "new"] for fold in found.values())
    assert_apart(found)


def refused(samples: list[Sample], by: str | int) -> list[str]:
    """The faults, with rows in lines 2, 3, ... as in a sheet."""
    with pytest.raises(SheetError) as caught:
        folds([replace(s, line=line) for line, s in enumerate(samples, start=2)], by, SHEET)
    return caught.value.faults


def test_faults_of_centres_come_all_at_once_with_their_lines() -> None:
    samples = [
        sample("a1", "a", center="A"),
        sample("a2", "a", center="B"),
        sample("b", center=""),
        sample("c", center="St. Anna"),
        sample("d", center="", label=""),
        sample("e", center="", exclude="torn"),
        sample("f", center="", split="test"),
    ]
    assert refused(samples, "center") == [
        "samples.tsv:3: center: 'B', but patient 'a' has 'A' on line 2: with folds: center a patient has one centre",
        "samples.tsv:4: center: an empty cell; with folds: center, expected the centre of every slide with a label",
        "samples.tsv:5: center: 'St. Anna': with folds: center it names files; "
        "expected a name of letters, digits, _ and -, at most 100 of them",
    ]


@pytest.mark.parametrize(
    ("samples", "by", "fault"),
    [
        ([sample("a", fold=4)], "sheet", "samples.tsv: fold: only 4; a fold tests on one"),
        ([sample("a", center="A")], "center", "samples.tsv: center: only A; a fold tests on one"),
        ([sample("a", label="")], "center", "samples.tsv: center: only none; a fold tests on one"),
        ([sample("a"), sample("b"), sample("c", split="test")], 3, "samples.tsv: folds: 3, but only 2 patients have"),
        ([sample("a"), sample("b", exclude="torn")], 2, "samples.tsv: only "),
    ],
)
def test_too_few(samples: list[Sample], by: str | int, fault: str) -> None:
    (found,) = refused(samples, by)
    assert found.startswith(fault)


@pytest.mark.parametrize("by", [3, "center"])
def test_numbers_in_the_sheet_contradict_folds_that_are_made(by: str | int) -> None:
    samples = [sample("a", center="A"), sample("b", center="B", fold=2, exclude="torn")]
    assert refused(samples, by) == [
        f"samples.tsv:3: fold: 2, but the configuration makes the folds, folds: {by}; empty the column, or folds: sheet"
    ]


PATIENTS = st.lists(
    st.tuples(
        st.lists(st.tuples(st.sampled_from(["", *SLIDE_CLASSES]), st.booleans()), min_size=1, max_size=3),
        st.sampled_from(["", *PN_STAGES]),
        st.sampled_from(["", "train", "val", "test"]),
        st.sampled_from([None, 0, 1, 2, 9]),
        st.sampled_from("AB"),
    ),
    min_size=2,
    max_size=25,
)


@settings(max_examples=150)
@given(PATIENTS, st.sampled_from(["sheet", "numbers", "center", 2, 3, 5, 10]))
def test_a_tested_patient_is_never_learnt_from(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple], by: str | int
) -> None:
    """Over sheets of all kinds, read from files as a user's are."""
    samples = [
        sample(
            f"p{k}-{i}", f"p{k}", label, patient_label=stage, center=center,
            split="" if by == "numbers" else split, fold=number if by == "numbers" else None,
            exclude="torn" if torn else "",
        )
        for k, (slides, stage, split, number, center) in enumerate(drawn)
        for i, (label, torn) in enumerate(slides)
    ]  # fmt: skip
    path = tmp_path_factory.getbasetemp() / "drawn.tsv"
    write_samples(samples, path)
    try:
        found = folds(read_samples(path, check_files=False), "sheet" if by == "numbers" else by, path)
    except SheetError:
        assume(False)  # too few patients or centres
    assert_apart(found)
    used = {s.slide: s for s in samples if not s.exclude}
    learned = {slide for fold in found.values() for slide in (*fold.train, *fold.val)}
    assert all(used[slide].label for slide in learned)
    several = "split" not in found
    held_out = {s.slide for s in used.values() if s.split == "test"}
    if several:
        counts = Counter(slide for fold in found.values() for slide in fold.test)
        assert set(counts.values()) == {1}
        (outside,) = {tuple(fold.outside) for fold in found.values()}
        assert {*counts, *outside} == set(used)
        assert held_out <= set(outside)
    assert not learned & held_out
