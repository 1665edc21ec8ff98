"""The workflow through a real Slurm: what comes out, what runs beside what, what happens on a kill."""

from itertools import combinations

import h5py
import numpy as np
import pytest

from ..workflow.project import Project
from .conftest import SLIDES, Run

pytestmark = pytest.mark.cluster


def test_the_results_are_those_of_a_local_run(run: Run, local: Project) -> None:
    for table in ("patients.tsv", "submission.csv", "metrics.json", "predictions/slides.tsv", "summary.txt"):
        assert (run.project.results / table).read_bytes() == (local.results / table).read_bytes(), table
    for slide in SLIDES:
        overviews = [project.results / "overview" / f"{slide}.h5" for project in (run.project, local)]
        with h5py.File(overviews[0]) as left, h5py.File(overviews[1]) as right:
            assert set(left) == set(right) != set()
            for name in left:
                np.testing.assert_array_equal(left[name][()], right[name][()], err_msg=f"{slide}: {name}")
    assert (run.project.results / "patients.tsv").read_text().count("\n") == 1 + 5


def test_jobs_that_need_a_gpu_never_share_it(run: Run) -> None:
    started = [job for job in run.jobs if job.start < job.end]
    on_gpu = [job for job in started if job.gpus]
    assert {job.job for job in on_gpu} == {"train 0", "train 1", "predict 0_all", "predict 1_all"}
    assert all(job.gpus == 1 for job in on_gpu)
    assert not any(one.overlaps(other) for one, other in combinations(on_gpu, 2))
    # others go side by side: it is the GPU that they wait for
    assert any(one.overlaps(other) for one, other in combinations(started, 2) if not (one.gpus and other.gpus))


def test_a_job_that_was_killed_is_tried_again(run: Run) -> None:
    killed = next(job for job in run.jobs if job.number == run.killed)
    assert killed.state == "CANCELLED"
    assert [(job.state, job.memory, job.limit) for job in run.jobs if job.job == killed.job] == [
        ("CANCELLED", "12000M", "12:00:00"),
        ("COMPLETED", "24000M", "1-00:00:00"),  # more of both at every attempt
    ]
    assert {job.state for job in run.jobs if job.job != killed.job} == {"COMPLETED"}
    assert f"SLURM-job '{killed.number}' failed, SLURM status is: 'CANCELLED'" in run.shown
    log = run.project.results / "logs" / "train" / f"{killed.job.removeprefix('train ')}.log"
    assert "resuming" in log.read_text()


def test_small_rules_are_no_jobs_of_slurm(run: Run) -> None:
    small = {"qc", "slides", "patients", "page", "complete"}
    assert not small & {job.job.partition(" ")[0] for job in run.jobs}
    assert all((run.project.results / name).exists() for name in ("qc.tsv", "report/index.html", "complete.txt"))


def test_a_second_run_has_nothing_to_do(run: Run) -> None:
    assert "Nothing to be done" in run.project.finish()
