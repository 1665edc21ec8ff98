import dataclasses
from pathlib import Path

import pytest

from foveate.cohort.samples import Sample
from foveate.config import Config
from foveate.errors import SheetError
from foveate.stages.plan import Plan, digest, jobs, read_plan


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
FOLDS = [sample("a1", fold=0), sample("b1", "macro", fold=1), sample("c1", fold=2), sample("d1", "")]


def test_a_split_is_one_model_that_predicts_all_but_the_training_slides() -> None:
    made = jobs(SPLIT, given=False)
    assert list(made) == ["split"]
    assert made["split"].predict == ["b1", "c1", "d1"]
    assert made["split"].fold is not None
    assert made["split"].fold.train == ["a1", "a2"]
    assert made["split"].slides == ["a1", "a2", "b1", "c1", "d1"]


def test_every_fold_predicts_its_own_test_slides_and_the_first_one_those_without_a_fold() -> None:
    made = jobs(FOLDS, given=False)
    assert {name: job.predict for name, job in made.items()} == {"0": ["a1", "d1"], "1": ["b1"], "2": ["c1"]}
    assert made["0"].slides == ["c1", "b1", "a1", "d1"]  # learns from 2, is chosen by 1
    assert sorted(slide for job in made.values() for slide in job.predict) == ["a1", "b1", "c1", "d1"]


@pytest.mark.parametrize("samples", [SPLIT, FOLDS])
def test_a_given_model_predicts_all_that_is_not_excluded(samples: list[Sample]) -> None:
    made = jobs(samples, given=True)
    assert list(made) == ["given"]
    assert made["given"].fold is None
    assert made["given"].predict == made["given"].slides == [s.slide for s in samples if not s.exclude]


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


def test_a_digest_is_short_and_stable_and_depends_on_order() -> None:
    assert digest(["a", 1]) == digest(("a", "1"))
    assert len(digest(map(str, range(10_000)))) == 16
    assert len({digest([]), digest(["a"]), digest(["a", "b"]), digest(["b", "a"]), digest(["ab"])}) == 5
    assert digest(["a"]) == "ca978112ca1bbdca"  # the first digits of sha256("a")
