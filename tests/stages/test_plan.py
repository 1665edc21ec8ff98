import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from foveate.cohort.samples import Sample
from foveate.config import Batches, Config
from foveate.errors import SheetError
from foveate.stages.plan import Plan, Predictions, digest, jobs, read_plan


def sample(slide: str, label: str = "negative", **columns: object) -> Sample:
    return Sample(slide, slide[0], Path(f"{slide}.tif"), label, **columns)  # type: ignore[arg-type]


SPLIT = [
    sample("a1", "macro", split="train"),
    sample("a2", split="train"),
    sample("b1", split="val"),
    sample("c1", "micro", split="test"),
    sample("c2", split="test", exclude="blurred"),
    sample("d1", ""),
]
FOLDS = [
    sample("a1", fold=0),
    sample("b1", "macro", fold=1),
    sample("c1", fold=2),
    sample("d1", ""),
    sample("a2", fold=0, exclude="blurred"),
]


@pytest.fixture
def plan(config: Config) -> Callable[..., Plan]:
    """The plan of samples with some keys of the configuration."""

    def make(samples: list[Sample], folds: str | int = "sheet", weights: str = "") -> Plan:
        predict = dataclasses.replace(config.predict, weights=weights)
        return Plan(samples, jobs(dataclasses.replace(config, folds=folds, predict=predict), samples))

    return make


def test_a_split_is_one_model_that_predicts_all_but_the_training_slides(plan: Callable[..., Plan]) -> None:
    made = plan(SPLIT)
    assert list(made.jobs) == ["split"]
    job = made.jobs["split"]
    assert job.predict == ["b1", "c1", "d1"]
    assert job.fold is not None
    assert job.fold.train == ["a1", "a2"]
    assert job.learned == ["a1", "a2", "b1"]
    assert job.slides == ["a1", "a2", "b1", "c1", "d1"]
    assert made.splits == {"a": "train", "b": "val", "c": "test", "d": ""}


def test_every_fold_predicts_its_own_test_slides_and_those_in_no_fold(plan: Callable[..., Plan]) -> None:
    made = plan(FOLDS)
    assert {name: job.predict for name, job in made.jobs.items()} == {
        "0": ["a1", "d1"],
        "1": ["b1", "d1"],
        "2": ["c1", "d1"],
    }
    assert sorted(made.jobs["0"].learned) == ["b1", "c1"]
    assert made.splits == {"a": "cv", "b": "cv", "c": "cv", "d": ""}


COHORT = [
    sample(f"{letter}{k}", "macro" if k else "negative", split="train" if number % 2 else "val", center=f"{number % 3}")
    for number, letter in enumerate("abcdefghi")
    for k in range(2)
]
COHORT += [sample(f"{letter}0", label, split="test", center="0") for letter, label in (("x", "itc"), ("y", ""))]
COHORT += [sample("z0", "", split="val", patient_label="pN0")]


@pytest.mark.parametrize("folds", [3, "center"])
def test_folds_that_the_configuration_makes(plan: Callable[..., Plan], folds: str | int) -> None:
    made = plan(COHORT, folds)
    assert list(made.jobs) == (["0", "1", "2"] if folds == 3 else ["center_0", "center_1", "center_2"])
    tested = []
    for job in made.jobs.values():
        assert job.predict[-3:] == ["x0", "y0", "z0"]
        tested += job.predict[:-3]
        # what the rule `train` has as input: no overview of a slide that the model predicts, or of its patient
        assert not {s.patient for s in made.of(job.learned)} & {s.patient for s in made.of(job.predict)}
        assert set(job.learned) | set(job.predict) == set(made.used)
    assert sorted(tested) == sorted(s.slide for s in COHORT[:-3])
    assert made.splits == dict.fromkeys("abcdefghi", "cv") | {"x": "test", "y": "test", "z": ""}


@pytest.mark.parametrize("samples", [SPLIT, FOLDS])
@pytest.mark.parametrize("folds", ["sheet", 2, "center"])
def test_a_given_model_predicts_all_that_is_not_excluded(
    plan: Callable[..., Plan], samples: list[Sample], folds: str | int
) -> None:
    made = plan(samples, folds, "model.keras")
    assert list(made.jobs) == ["given"]
    job = made.jobs["given"]
    assert job.fold is None
    assert job.learned == []
    assert job.predict == job.slides == [s.slide for s in samples if not s.exclude]
    assert set(made.splits.values()) == ({"test", ""} if samples is FOLDS else {"train", "val", "test", ""})


def test_the_samples_of_a_plan() -> None:
    plan = Plan(SPLIT, {})
    assert list(plan.used) == ["a1", "a2", "b1", "c1", "d1"]
    assert plan.of(["d1", "a1"]) == [SPLIT[5], SPLIT[0]]


def test_the_plan_of_a_sheet(config: Config, tmp_path: Path) -> None:
    sheet, demo = tmp_path / "samples.tsv", tmp_path / "demo"
    sheet.write_text(f"slide\tpatient\tpath\tlabel\na\tp\t{demo}/images/a.tif\tnegative\n")
    config = dataclasses.replace(config, samples=str(sheet), demo=dataclasses.replace(config.demo, folder=str(demo)))
    assert list(read_plan(config).jobs) == ["split"]  # the demo's files are not made yet
    given = dataclasses.replace(config, predict=dataclasses.replace(config.predict, weights="model.keras"))
    assert list(read_plan(given).jobs) == ["given"]
    elsewhere = dataclasses.replace(config, demo=dataclasses.replace(config.demo, folder="elsewhere"))
    with pytest.raises(SheetError, match=r"samples\.tsv:2: path: "):
        read_plan(elsewhere)
    with pytest.raises(SheetError, match=r"samples\.tsv: folds: 2, but only 1 patients"):
        read_plan(dataclasses.replace(config, folds=2))


def test_a_digest_is_short_and_stable_and_depends_on_order() -> None:
    assert digest(["a", 1]) == digest(("a", "1"))
    assert len(digest(map(str, range(10_000)))) == 16
    assert len({digest([]), digest(["a"]), digest(["a", "b"]), digest(["b", "a"]), digest(["ab"])}) == 5
    assert digest(["a"]) == "ca978112ca1bbdca"  # the first digits of sha256("a")


def test_slides_that_the_same_folds_learn_from_share_batches(plan: Callable[..., Plan]) -> None:
    one = plan(SPLIT)
    assert one.overview_batches == {"learned-all": ["a1", "a2", "b1"], "predicted-all": ["c1", "d1"]}
    folds = plan(FOLDS)
    learners = {slide: {n for n, job in folds.jobs.items() if slide in job.learned} for slide in folds.used}
    assert learners["d1"] == set()
    for name, own in folds.overview_batches.items():
        assert len({frozenset(learners[slide]) for slide in own}) == 1
        assert name.startswith("learned-" if learners[own[0]] else "predicted-")
    assert sorted(s for own in folds.overview_batches.values() for s in own) == ["a1", "b1", "c1", "d1"]


def test_a_job_predicts_in_batches_with_a_file_each(plan: Callable[..., Plan]) -> None:
    whole = plan(SPLIT)
    assert whole.predictions == [Predictions("split", "all", ["b1", "c1", "d1"])]
    assert whole.predictions[0].below(Path("results")) == Path("results/predictions/split/all.h5")
    cut = dataclasses.replace(whole, sizes=Batches(overview=1, predict=1, export=2))
    assert sorted(p.slides for p in cut.predictions) == [["b1"], ["c1"], ["d1"]]
    assert {p.below(Path("r")).parent for p in cut.predictions} == {Path("r/predictions/split")}
    assert len({p.batch for p in cut.predictions}) == 3
    assert sum(map(len, cut.export_batches.values())) == 5


def test_a_job_with_nothing_to_predict_has_one_empty_batch(plan: Callable[..., Plan]) -> None:
    assert plan([s for s in SPLIT if s.split == "train"]).predictions == [Predictions("split", "all", [])]
