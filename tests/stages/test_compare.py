import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from foveate.attention.agent import Agent
from foveate.cohort.folds import Fold
from foveate.cohort.samples import Sample
from foveate.errors import FoveateError
from foveate.stages import compare
from foveate.stages.comparison.exhaustive import CellSurvey
from foveate.stages.comparison.looking import WAYS, Looker
from foveate.stages.determinism import seeded
from foveate.stages.plan import Job, Plan
from foveate.stages.train import make_agent

from .conftest import Cohort

pytestmark = pytest.mark.usefixtures("eager")
FOLD = Fold("0", ["neg_a", "itc_a", "micro_a", "macro_a"], ["neg_v", "micro_v"], ["neg_b", "neg_c"], [])
FITTED = {"max, fitted", "mean, fitted", "mean+max, fitted", "policy, fitted", "gated attention, fitted"}
PLAIN = {"max, plain", "mean, plain", "policy, plain"}


@pytest.fixture(scope="module")
def small(cohort: Cohort) -> Cohort:
    """Few cells, so that everything is soon read."""
    return cohort.tuned(tissue={"cell_share": 0.95}, compare={"glimpses": (1, 3), "repeats": 2, "fit": True})


@pytest.fixture(scope="module")
def weights(small: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    seeded(0)
    agent: Agent = make_agent(small.config, [0.4, 0.2, 0.2, 0.2])
    rng = np.random.default_rng(0)
    for variable in agent.weights:
        variable.assign_add(0.3 * rng.normal(size=variable.shape))
    path = tmp_path_factory.mktemp("weights") / "model.keras"
    agent.save(path)
    return path


def run(cohort: Cohort, weights: Path, out: Path, fold: Fold = FOLD) -> dict[str, Any]:
    """Compare, and read what was written."""
    compare.run(cohort.config, {s.slide: s for s in cohort.samples}, fold, cohort.overviews, weights, out)
    found: dict[str, Any] = {}
    with h5py.File(out) as file:
        found |= {"attrs": dict(file.attrs), "failed": dict(file["failed"].attrs)}
        file.visititems(lambda name, item: found.update({name: item[:]}) if isinstance(item, h5py.Dataset) else None)
        found["slide"] = file["slide"].asstr()[:].tolist()
    return found


@pytest.fixture(scope="module")
def compared(small: Cohort, weights: Path, eager: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run(small, weights, tmp_path_factory.mktemp("compare") / "0.h5")


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    """But for the clock, and for tiles that two threads decode at once."""
    assert set(one) == set(other)
    for name in one:
        if not name.endswith("costs") and isinstance(one[name], np.ndarray):
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def test_what_is_written(small: Cohort, compared: dict[str, Any]) -> None:
    assert compared["slide"] == ["neg_b", "neg_c"]
    assert compared["attrs"]["glimpses"].tolist() == [1, 2, 3]  # 2 is glimpse.count
    assert compared["attrs"]["fitted"].tolist() == [4, 2]
    assert compared["failed"] == {}
    for way in WAYS:
        rollouts = 2 if way in ("sampled", "random") else 1
        assert compared[f"looks/{way}/probabilities"].shape == (2, rollouts, 3, 4)
        assert compared[f"looks/{way}/costs"].shape == (2, rollouts, 3, 3)
    names = {name.removeprefix("exhaustive/probabilities/") for name in compared if "exhaustive/prob" in name}
    assert names == FITTED | PLAIN
    for name in names:
        np.testing.assert_allclose(compared[f"exhaustive/probabilities/{name}"].sum(1), 1, rtol=1e-5)
    assert (compared["exhaustive/tissue"] >= compared["looks/learned/tissue"][:, 0, -1]).all()


def test_a_killed_comparison_goes_on(
    small: Cohort, weights: Path, compared: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    def again(*_: object) -> None:
        raise AssertionError("this was done before")

    out = tmp_path / "0.h5"
    with monkeypatch.context() as patch:
        patch.setattr(compare, "fit", killed)
        with pytest.raises(KeyboardInterrupt):
            run(small, weights, out)
    assert not out.exists()
    with monkeypatch.context() as patch:
        patch.setattr(Looker, "look", again)
        patch.setattr(CellSurvey, "read", again)
        assert_same(run(small, weights, out), compared)
    assert [path.name for path in tmp_path.iterdir()] == ["0.h5"]


def test_tested_slides_touch_no_fit(
    small: Cohort, weights: Path, compared: dict[str, Any], tmp_path: Path, make_slide: Callable[..., Any]
) -> None:
    """What is concluded of a slide is the same whatever the other tested slides are, and whatever they are called."""
    alone = dataclasses.replace(FOLD, test=["neg_c"])
    found = run(small.relabelled("neg_c", "macro"), weights, tmp_path / "0.h5", alone)
    for name in FITTED | PLAIN:
        name = f"exhaustive/probabilities/{name}"
        np.testing.assert_allclose(found[name][0], compared[name][1], atol=1e-6)


def test_without_fitting_nothing_else_is_read(small: Cohort, weights: Path, tmp_path: Path) -> None:
    found = run(small.tuned(compare={"fit": False}), weights, tmp_path / "0.h5", dataclasses.replace(FOLD, train=["-"]))
    assert {n.removeprefix("exhaustive/probabilities/") for n in found if "exhaustive/prob" in n} == PLAIN
    assert found["attrs"]["fitted"].tolist() == [0, 0]


def test_a_slide_that_cannot_be_read_is_named(
    small: Cohort, weights: Path, tmp_path: Path, make_slide: Callable[..., Any], spoil_tile: Callable[..., None]
) -> None:
    folder = tmp_path / "overview"
    shutil.copytree(small.overviews, folder)
    bad = make_slide(tmp_path / "bad.tif", size=(1024, 768), tissue_um=(200, 100, 900, 600)).path
    more = dataclasses.replace(small, overviews=folder).with_slide("bad", bad, "macro")
    spoil_tile(bad, 0, absent=False, page=1)
    fold = dataclasses.replace(FOLD, test=["neg_b", "bad"])
    found = run(more.tuned(compare={"fit": False}), weights, tmp_path / "0.h5", fold)
    assert found["slide"] == ["neg_b"]
    assert list(found["failed"]) == ["bad"]


def test_the_table(small: Cohort, weights: Path, tmp_path: Path) -> None:
    fold = dataclasses.replace(FOLD, test=["neg_b", "neg_c", "macro_a"], train=["neg_a", "itc_a", "micro_a"])
    run(small.tuned(compare={"fit": False}), weights, tmp_path / "0.h5", fold)
    samples = [dataclasses.replace(s, patient=s.slide) for s in small.samples]
    plan = Plan([*samples, Sample("out", "x", Path("x"), exclude="torn")], {"0": Job("0", fold, [])})
    compare.summarise(small.config, plan, [tmp_path / "0.h5"], tmp_path / "compare.tsv")
    lines = [line.split("\t") for line in (tmp_path / "compare.tsv").read_text().splitlines()]
    assert len(lines) == 1 + 5 * 3 + 3
    assert [lines[0][k] for k in (0, 5, 6)] == ["way", "n_slides", "n_patients"]
    assert {(line[5], line[6]) for line in lines[1:]} == {("3", "3")}


def test_nothing_to_compare_is_an_error_and_reads_nothing(small: Cohort, weights: Path, tmp_path: Path) -> None:
    fold = dataclasses.replace(FOLD, test=[])
    found = run(small, weights, tmp_path / "0.h5", dataclasses.replace(fold, train=["-"]))
    assert found["slide"] == []
    plan = Plan(small.samples, {"0": Job("0", fold, [])})
    with pytest.raises(FoveateError, match="nothing to compare: no slide that a model is tested on has a label"):
        compare.summarise(small.config, plan, [tmp_path / "0.h5"], tmp_path / "compare.tsv")
    assert not (tmp_path / "compare.tsv").exists()
