"""A Slurm of one node on this machine, and the same small cohort done with and without it."""

import dataclasses
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from foveate.lock import take

from ..workflow.project import REPOSITORY, Project, copy_code, make_project
from ..workflow.tiny_cohort import sheet_rows

SCRIPT = Path(__file__).with_name("slurm.sh")
NEEDED = ("slurmctld", "slurmd", "munged", "srun", "squeue", "scancel", "scontrol")
# Two folds, each of which learns from the patients of the other, with more than one class among them.
FOLDS = {"p0": "0", "p3": "0", "p1": "1", "p2": "1", "p4": "1"}
SLIDES = ("p0_a", "p0_b", "p1_a", "p2_a", "p3_a", "p3_b", "p4_a")
# The profile as it is, but for waiting
SOON = (
    *("--slurm-init-seconds-before-status-checks", "1"),
    *("--max-status-checks-per-second", "10"),
    *("--latency-wait", "5"),
)
WITHIN_S = 900


@dataclasses.dataclass(frozen=True)
class Job:
    """A job as Slurm remembers it. job: the rule and its wildcard, as "train 0"; memory, limit: what it asked for."""

    number: int
    job: str
    state: str
    gpus: int
    memory: str
    limit: str
    start: float
    end: float

    def overlaps(self, other: "Job") -> bool:
        return self.start < other.end and other.start < self.end


def ask() -> list[Job]:
    """Every job that Slurm has seen, in the order in which they were submitted."""
    shown = subprocess.run(["scontrol", "show", "job", "--oneliner"], capture_output=True, text=True, check=True).stdout
    found = []
    for line in shown.splitlines():
        if not line.startswith("JobId="):
            continue
        fields = dict(word.partition("=")[::2] for word in line.split())
        found.append(
            Job(
                number=int(fields["JobId"]),
                job=fields["Comment"].removeprefix("rule_").replace("_wildcards_", " "),
                state=fields["JobState"],
                gpus=int(fields.get("TresPerJob", "").partition("gpu:")[2] or 0),
                memory=fields["MinMemoryNode"],
                limit=fields["TimeLimit"],
                start=_seconds(fields["StartTime"]),
                end=_seconds(fields["EndTime"]),
            )
        )
    return sorted(found, key=lambda job: job.number)


def _seconds(stamp: str) -> float:
    return float("inf") if stamp == "Unknown" else datetime.fromisoformat(stamp).timestamp()


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run through Slurm, in which one job was killed."""

    project: Project
    shown: str
    jobs: list[Job]
    killed: int


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Slurm while the tests run. One at a time on a machine."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        pytest.skip(f"no {missing[0]}: tests/cluster/slurm.sh install")
    if os.geteuid() != 0:
        pytest.skip("Slurm is started by root only")
    folder = tmp_path_factory.mktemp("slurm")
    with take(Path("/run/foveate-test-slurm.lock"), wait=True):
        try:
            subprocess.run([SCRIPT, "up", folder], check=True, timeout=60)
            yield
        finally:
            subprocess.run([SCRIPT, "down", folder], check=True, timeout=60)


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Seven slides of two folds, of which nothing is done yet."""
    folder = tmp_path_factory.mktemp("cluster")
    made = make_project(folder / "local", copy_code(REPOSITORY, folder / "code"))
    rows = [row for row in sheet_rows("data") if row["slide"] in SLIDES]
    made.write_sheet([row | {"split": "", "fold": FOLDS[row["patient"]]} for row in rows])
    made.configure(patient_agent={"epochs": 1, "batch": 2, "copies": 2}, train={"epochs": 4})
    return made


@pytest.fixture(scope="session")
def run(slurm: None, project: Project) -> Run:
    """The cohort through Slurm. The first training is killed by scancel when it is under way."""
    place = ("--workflow-profile", str(project.code / "profiles" / "slurm"), *SOON)
    remote = dataclasses.replace(project.copy(project.folder.with_name("remote")), place=place)
    running = remote.start()
    try:
        end = time.monotonic() + WITHIN_S
        checkpoints = remote.results / "train"
        while not list(checkpoints.glob("*/checkpoint/state.json")):
            assert running.poll() is None, (remote.folder / "run.log").read_text()
            assert time.monotonic() < end
            time.sleep(0.1)
        killed = next(job.number for job in ask() if job.job.startswith("train ") and job.state == "RUNNING")
        subprocess.run(["scancel", str(killed)], check=True)
        status = running.wait(timeout=max(1.0, end - time.monotonic()))
    finally:
        if running.poll() is None:
            running.kill()
            running.wait()
    shown = (remote.folder / "run.log").read_text()
    assert status == 0, shown
    return Run(remote, shown, ask(), killed)


@pytest.fixture(scope="session")
def local(run: Run, project: Project) -> Project:
    """The same without Slurm, after it."""
    project.finish()
    return project
