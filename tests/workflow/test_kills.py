"""kill -9 in the middle, then the same command: it finishes, with the same numbers bit for bit."""

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import time
import zipfile
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import pytest

from .project import SETTINGS, Project

ATTEND = 2  # the phase's number in a checkpoint
WITHIN_S = 120


def wait_for(condition: Callable[[], bool], run: "subprocess.Popen[str]") -> None:
    """Until it is so, while the run goes on. A test that fails here leaves no run behind."""
    end = time.monotonic() + WITHIN_S
    while not condition():
        if run.poll() is not None or time.monotonic() > end:
            kill(run)
            pytest.fail("the run ended, or took too long, before it came to the point to look for")
        time.sleep(0.005)


def kill(run: "subprocess.Popen[str]") -> None:
    """The run and all its jobs, at once."""
    if run.poll() is None:
        os.killpg(run.pid, signal.SIGKILL)
    run.wait()


def forget(project: Project, *names: str) -> None:
    """Delete results that the test wants to be made again."""
    for name in names:
        path = project.results / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def variables(file: h5py.File) -> dict[str, Any]:
    found: dict[str, Any] = {}
    file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found


def weights(project: Project) -> dict[str, Any]:
    with zipfile.ZipFile(project.results / "train" / "split" / "model.keras") as model:
        data = io.BytesIO(model.read("model.weights.h5"))
    with h5py.File(data) as file:
        return variables(file)


def predictions(project: Project) -> dict[str, Any]:
    with h5py.File(project.results / "predictions" / "split" / "all.h5") as file:
        return variables(file) | dict(file["failed"].attrs)


def history(project: Project) -> list[dict[str, str]]:
    """The epochs, without what a clock says."""
    with (project.results / "train" / "split" / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    timed = ("seconds", "glimpses_per_s", "device_waited", "readers_waited")
    return [{k: v for k, v in row.items() if k not in timed} for row in rows]


def assert_same(left: dict[str, Any], right: dict[str, Any]) -> None:
    assert left.keys() == right.keys()
    assert len(left) > 10
    for name in left:  # NaN fills up, and equals itself here
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)


def test_a_training_that_was_killed_goes_on_and_ends_in_the_same_model(project: Project, finished: Project) -> None:
    forget(project, "train", "predictions", "patients.tsv", "report")
    checkpoint = project.results / "train" / "split" / "checkpoint" / "state.json"

    def progress() -> tuple[int, int]:
        if not checkpoint.exists():
            return 0, 0
        state = json.loads(checkpoint.read_text())
        return state["phase"], state["epoch"]

    run = project.start()
    wait_for(lambda: progress() >= (ATTEND, 2), run)
    kill(run)
    assert 2 <= progress()[1] < SETTINGS["train"]["epochs"]
    assert not (project.results / "train" / "split" / "model.keras").exists()
    done = history(project)

    run = project.start()
    log = project.results / "logs" / "train" / "split.log"
    wait_for(lambda: log.exists() and "resuming" in log.read_text(), run)
    again = subprocess.run(project.command(), env=project.environment, capture_output=True, text=True, check=False)
    assert again.returncode != 0
    assert "is held by another run; wait for its end" in again.stdout + again.stderr
    assert run.wait() == 0

    assert len(done) < len(history(project))
    assert history(project) == history(finished)
    assert_same(weights(project), weights(finished))
    assert_same(predictions(project), predictions(finished))


def test_a_prediction_that_was_killed_goes_on_and_gives_the_same(project: Project, finished: Project) -> None:
    forget(project, "predictions", "patients.tsv", "report")
    folder = project.results / "predictions"

    def batches() -> dict[str, int]:
        return {p.name: p.stat().st_mtime_ns for p in folder.glob("split/all.parts/*/[0-9]*.h5")}

    run = project.start()
    wait_for(lambda: len(batches()) > 0, run)
    kill(run)
    before = batches()
    assert not (folder / "split" / "all.h5").exists()

    seen: dict[str, set[int]] = {}
    run = project.start()
    while run.poll() is None:
        for name, made in batches().items():
            seen.setdefault(name, set()).add(made)
        time.sleep(0.01)

    assert run.returncode == 0
    assert {name: {made} for name, made in before.items()}.items() <= seen.items()
    assert len(seen) == 3  # five slides, two in a batch
    assert not list(folder.glob("*/*.parts"))
    assert_same(predictions(project), predictions(finished))
    for table in ("predictions/slides.tsv", "patients.tsv", "submission.csv", "metrics.json"):
        assert (project.results / table).read_bytes() == (finished.results / table).read_bytes()
