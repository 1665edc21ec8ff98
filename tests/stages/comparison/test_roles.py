import dataclasses
from pathlib import Path

from foveate.cohort.folds import Fold
from foveate.cohort.samples import Sample
from foveate.stages.comparison.roles import roles
from foveate.stages.plan import Job, Plan

SAMPLES = [
    Sample("learned", "p0", Path("a.tif"), "macro", split="train"),
    Sample("silent", "p0", Path("a.tif"), "", split="train"),
    Sample("chosen", "p1", Path("a.tif"), "negative", split="val"),
    Sample("tested", "p2", Path("a.tif"), "micro", split="test"),
    Sample("beside", "p2", Path("a.tif"), "", split="test"),
    Sample("staged", "p3", Path("a.tif"), "", patient_label="pN0"),
    Sample("unknown", "p4", Path("a.tif"), "", split="test"),
    Sample("left_out", "p5", Path("a.tif"), "macro", split="test", exclude="blurred"),
]


def test_a_trained_model_is_tested_on_its_fold_s_slides() -> None:
    fold = Fold("1", ["learned"], ["chosen"], ["tested", "beside", "unknown"], ["staged"])
    found = roles(Plan(SAMPLES, {"1": Job("1", fold, [])}), "1")
    assert found == dataclasses.replace(fold, test=["tested", "beside"], outside=[])


def test_a_given_model_is_tested_on_what_the_sheet_does_not_call_train_or_val() -> None:
    found = roles(Plan(SAMPLES, {"given": Job("given", None, [])}), "given")
    assert found == Fold("given", ["learned"], ["chosen"], ["tested", "beside", "staged"], [])
