import dataclasses
import json
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from foveate.cli import main
from foveate.digits.run import run
from foveate.digits.tasks import TASKS, Recipe, Task
from foveate.errors import FoveateError
from foveate.stages.training.checkpoint import Checkpoint

SMALL = dataclasses.replace(
    TASKS["mnist28"],
    agent={**TASKS["mnist28"].agent, "steps": 3, "core": {"name": "relu", "units": 16}},
    recipe=Recipe(epochs=3, epoch=400, batch=20, rate=0.003),
)


def weights(folder: Path) -> list[np.ndarray]:
    return keras.models.load_model(folder / "agent.keras").get_weights()


@pytest.fixture(scope="module")
def finished(mnist_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    run("mnist28", SMALL, mnist_file, 1, out, show=False)
    return out


def test_a_run_leaves_results_a_model_and_pictures(finished: Path) -> None:
    found = json.loads((finished / "results.json").read_text())
    assert found["images"] == 40
    assert set(found["test"]) == {"greedy", "sampled", "m10", "random"}
    assert found["settings"]["agent"]["steps"] == 3
    history = json.loads((finished / "history.json").read_text())
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert history[2]["val_accuracy"] > history[0]["accuracy"] > 0.05
    with Image.open(finished / "paths.gif") as animation:
        assert animation.n_frames == 3
    with Image.open(finished / "paths.png") as figure:
        assert figure.width > 400
    assert list((finished / "tensorboard").glob("events*"))


def test_what_is_finished_is_not_done_again(finished: Path, mnist_file: Path) -> None:
    before = (finished / "agent.keras").stat().st_mtime_ns
    run("mnist28", SMALL, Path("not there"), 1, finished, show=False)
    assert (finished / "agent.keras").stat().st_mtime_ns == before


def test_a_training_that_was_stopped_ends_as_if_it_had_not_been(
    finished: Path, mnist_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = Checkpoint.save

    def stopped(self: Checkpoint, model: keras.Model, state: dict) -> None:
        save(self, model, state)
        if state["epoch"] == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Checkpoint, "save", stopped)
        run("mnist28", SMALL, mnist_file, 1, tmp_path, show=False)
    assert not (tmp_path / "results.json").exists()
    run("mnist28", SMALL, mnist_file, 1, tmp_path, show=False)
    for ours, theirs in zip(weights(tmp_path), weights(finished), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert json.loads((tmp_path / "history.json").read_text())[2]["epoch"] == 3


def test_other_settings_in_the_same_folder_begin_anew_with_a_warning(
    mnist_file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    short = dataclasses.replace(SMALL, recipe=dataclasses.replace(SMALL.recipe, epochs=1))
    first = run("mnist28", short, mnist_file, 1, tmp_path, show=False)
    before = set((tmp_path / "tensorboard").iterdir())
    assert "other settings" not in caplog.text
    second = run("mnist28", short, mnist_file, 2, tmp_path, show=False)
    assert (first["settings"]["seed"], second["settings"]["seed"]) == (1, 2)
    assert len(json.loads((tmp_path / "history.json").read_text())) == 1
    assert f"{tmp_path}: holds a training with other settings, which is replaced; --out keeps both" in caplog.text
    assert not before & set((tmp_path / "tensorboard").iterdir())


def group_of(task: str) -> Task:
    return dataclasses.replace(
        TASKS[task],
        agent={
            **TASKS[task].agent,
            "steps": 3,
            "core": {"name": "gru", "units": 8},
            "stop": {"name": "bernoulli", "start": 0.999},
        },
        recipe=Recipe(epochs=1, epoch=40, batch=20),
    )


def test_a_group_with_a_stop_network_runs_as_well(mnist_file: Path, tmp_path: Path) -> None:
    found = run("group2", group_of("group2"), mnist_file, 1, tmp_path, show=False)
    assert found["test"]["greedy"]["glimpses"] == 1 <= found["test"]["sampled"]["glimpses"] < 1.1
    with Image.open(tmp_path / "paths.gif") as animation:
        assert animation.n_frames == 1  # what comes after the stop is not shown


def test_the_command_says_what_came_out(mnist_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ["--agent", '{"steps": 2}', "--recipe", '{"epochs": 1, "epoch": 128}']
    assert main(["digits", "mnist28", "--mnist", str(mnist_file), "--out", str(tmp_path / "o"), *settings]) == 0
    said = capsys.readouterr().out
    assert "mnist28, seed 1, 40 test images" in said
    assert "random" in said


def test_a_missing_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["digits", "mnist28", "--mnist", str(tmp_path / "no.npz"), "--out", str(tmp_path / "o")]) == 1
    assert "no.npz: no such file" in capsys.readouterr().err


def test_a_part_that_is_not_there_is_named(mnist_file: Path, tmp_path: Path) -> None:
    task = dataclasses.replace(SMALL, agent={**SMALL.agent, "core": "transformer"})
    with pytest.raises(FoveateError, match=r"core: no 'transformer'; known: .*gru, lstm"):
        run("mnist28", task, mnist_file, 1, tmp_path, show=False)
