"""Runs of the real workflow in folders of their own, on a copy of its code that a test may edit."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from .tiny_cohort import make_cohort, sheet_rows, write_sheet

REPOSITORY = Path(__file__).parents[2]
CODE = ("Snakefile", "workflow", "profiles", "config", "src", "environment.yml")
# Slides of 2.5 mm at 2 um/px; a model that learns nothing, in seconds.
SETTINGS: dict[str, dict[str, object]] = {
    "glimpse": {"px": 16, "scales_mpp": [2, 4, 32], "count": 3},
    "model": {"features": 8, "state": 8, "context": 8},
    "train": {"guide_epochs": 1, "pretrain_epochs": 1, "pretrain_patches": 4, "epochs": 12, "batch": 4, "threads": 2},
    "patient_agent": {"epochs": 1, "batch": 2, "copies": 2},
    "predict": {"batch": 2, "threads": 2},
    "patients": {"bootstrap": 20},
    "compare": {"glimpses": [1, 4], "repeats": 1},
    "batches": {"overview": 4},
}


@dataclasses.dataclass(frozen=True)
class Project:
    """A folder with config/ and data/ in which the workflow of `code` runs."""

    folder: Path
    code: Path
    place: tuple[str, ...] = ("--cores", "2")  # where jobs run

    @property
    def results(self) -> Path:
        return self.folder / "results"

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"PYTHONPATH": str(self.code / "src"), "PYTHONDONTWRITEBYTECODE": ""}

    def command(self, *arguments: str) -> list[str]:
        """The command that a user types, from anywhere."""
        folders = ["-s", str(self.code / "Snakefile"), "--directory", str(self.folder)]
        config = ["--configfile", str(self.folder / "tiny.yaml")]
        return [sys.executable, "-m", "snakemake", *folders, *config, *self.place, *arguments]

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start a run in a process group of its own. Its output goes to run.log in the folder."""
        with (self.folder / "run.log").open("w") as log:
            return subprocess.Popen(
                self.command(*arguments),
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment,
                cwd=self.folder.parent,
                start_new_session=True,
                text=True,
            )

    def run(self, *arguments: str) -> tuple[int, str]:
        """Run to the end. Returns the exit status and everything that the user saw."""
        status = self.start(*arguments).wait()
        return status, (self.folder / "run.log").read_text(encoding="utf-8")

    def finish(self, *arguments: str) -> str:
        """Run to the end, which must be a good one. Returns what the user saw."""
        status, shown = self.run(*arguments)
        assert status == 0, shown
        return shown

    def planned(self, *arguments: str) -> dict[str, int]:
        """How many jobs of each rule a run would do now, `all` and the total left out."""
        rows = re.findall(r"^(\w+) +(\d+)$", self.finish("--dry-run", *arguments), re.MULTILINE)
        return {rule: int(count) for rule, count in rows if rule not in ("all", "total")}

    def copy(self, folder: Path) -> "Project":
        """The same in another folder, as if it had run there."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return dataclasses.replace(self, folder=folder)

    def write_sheet(self, rows: list[dict[str, str]]) -> None:
        write_sheet(self.folder / "config" / "samples.tsv", rows)

    def configure(self, **sections: dict[str, object]) -> None:
        """Write tiny.yaml: the settings of all tests, and `sections` over them."""
        merged = {name: SETTINGS.get(name, {}) | sections.get(name, {}) for name in SETTINGS | sections}
        (self.folder / "tiny.yaml").write_text(json.dumps(merged))  # JSON is YAML


def copy_code(source: Path, target: Path) -> Path:
    """Copy what the workflow runs, with the files' times."""
    target.mkdir()
    for name in CODE:
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name, symlinks=True)
        else:
            shutil.copy2(source / name, target / name)
    return target


def make_project(folder: Path, code: Path) -> Project:
    """A project with the tiny cohort in a folder that is not there yet."""
    project = Project(folder, code)
    (folder / "config").mkdir(parents=True)
    shutil.copy(code / "config" / "config.yaml", folder / "config")
    make_cohort(folder / "data")
    project.write_sheet(sheet_rows("data"))
    project.configure()
    return project
