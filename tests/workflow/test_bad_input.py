"""Faults of the configuration and the sheet: said at once, all of them, before anything runs."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from .project import Project
from .tiny_cohort import sheet_rows


@pytest.fixture
def fresh(new_project: Callable[[Path], Project], tmp_path: Path) -> Project:
    return new_project(tmp_path / "project")


def refused(project: Project) -> str:
    """What the user sees of a run that must fail before its first job."""
    status, shown = project.run()
    assert status != 0
    assert "Traceback" not in shown
    assert not project.results.exists()
    return shown


def test_a_wrong_key(fresh: Project) -> None:
    fresh.configure(glimpse={"cuont": 3})
    shown = refused(fresh)
    assert "tiny.yaml" in shown
    assert "glimpse.cuont: no such key; did you mean 'count'?" in shown


def test_wrong_values_are_all_named(fresh: Project) -> None:
    fresh.configure(glimpse={"count": 0, "scales_mpp": [2, "four"]}, train={"batch": "many"})
    shown = refused(fresh)
    assert "glimpse.count: 0 is less than the minimum of 1" in shown
    assert 'glimpse.scales_mpp.1: "four" is not of type "number"' in shown
    assert 'train.batch: "many" is not of type "integer"' in shown


def test_values_that_contradict_each_other(fresh: Project) -> None:
    fresh.configure(glimpse={"scales_mpp": [4, 2]})
    assert "glimpse.scales_mpp: [4.0, 2.0] must grow from the finest to the coarsest" in refused(fresh)


def test_all_faults_of_the_sheet_with_their_lines(fresh: Project) -> None:
    rows = {row["slide"]: row for row in sheet_rows("data")}
    rows["p0_b"]["label"] = "makro"
    rows["p1_b"]["path"] = "data/images/gone.tif"
    rows["p3_a"]["path"] = "data/images"
    rows["p3_b"]["split"] = "train"
    rows["p4_a"]["slide"] = "p4 a"
    fresh.write_sheet(list(rows.values()))
    shown = refused(fresh)
    faults = re.findall(r"^config/samples.tsv:(\d+): (\w+): (.+)$", shown, re.MULTILINE)
    places = [(line, column) for line, column, _ in faults]
    assert places == [("3", "label"), ("5", "path"), ("7", "path"), ("8", "split"), ("9", "slide")]
    label, gone, folder, split, _ = (text for _, _, text in faults)
    assert label.startswith("'makro' is not one of 'negative', 'itc', 'micro', 'macro'")
    assert label.endswith("(did you mean 'macro'?)")
    assert gone == "'data/images/gone.tif': No such file or directory; expected a file"
    assert folder == "'data/images': it is not a file; expected a file"
    assert split.startswith("'train', but patient 'p3' has 'test' on line 7")


def test_a_sheet_that_is_not_there(fresh: Project) -> None:
    fresh.configure()
    (fresh.folder / "config" / "samples.tsv").unlink()
    assert "config/samples.tsv: cannot be read: No such file or directory" in refused(fresh)


def test_training_slides_of_one_class(fresh: Project) -> None:
    rows = {row["slide"]: row for row in sheet_rows("data")}
    fresh.write_sheet([rows["p0_a"], rows["p2_a"], rows["p3_a"]])
    status, shown = fresh.run("results/train/split/model.keras")
    assert status != 0
    assert "Traceback" not in shown
    assert "training needs at least two classes" in shown
