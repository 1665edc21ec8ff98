"""A results folder with slides that the viewer shows, and some that it cannot."""

import csv
import dataclasses
import importlib.util
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np
import pytest

from foveate.cohort.samples import Sample
from foveate.config import Config
from foveate.report.sources import PATIENT_COLUMNS, SLIDE_COLUMNS
from foveate.stages.overview import survey
from foveate.view.content import Content
from foveate.view.server import Server

PLACES = [[500.0, 300.0], [1000.0, 600.0], [656.0, 336.0]]  # the last is the marker of the tiny slide
RUNNING = [[0.7, 0.1, 0.1, 0.1], [0.4, 0.2, 0.3, 0.1], [0.1, 0.1, 0.7, 0.1]]
SCALES_MPP, GLIMPSE_PX = (1.0, 4.0), 8
LESION = [[600, 300], [700, 300], [700, 400], [600, 400]]
HOLE = [[620, 350], [640, 350], [640, 370]]
DOCS = Path(__file__).parents[2] / "docs"


@dataclasses.dataclass(frozen=True)
class Run:
    """What a run left: `seen` was predicted (its files lie at `slide` and `annotation`), `gone` as well, but its file
    is not there any more; `learned` was learned from; `broken` failed.
    """

    results: Path
    slide: Path
    annotation: Path


def write_predictions(path: Path, slides: list[str]) -> None:
    n, steps, scales = len(slides), len(PLACES), len(SCALES_MPP)
    with h5py.File(path, "w") as file:
        file.attrs.update(fold="0", weights_sha256="0", scales_mpp=SCALES_MPP, glimpse_px=GLIMPSE_PX, n_glimpses=5)
        group = file.create_group("learned")
        group.create_dataset("slide", data=slides, dtype=h5py.string_dtype())

        def padded(values: Any) -> Any:  # two of five fixations were not made
            given = np.asarray(values, np.float32)
            return np.stack([np.concatenate([given, np.full((2, *given.shape[1:]), np.nan, np.float32)])] * n)

        group["looked"] = [steps] * n
        group["running"] = padded(RUNNING)
        group["location_um"] = padded(PLACES)
        group["location_l0"] = padded(PLACES).astype(np.float64)
        group["policy_probability"] = padded([0.5, 0.25, 0.125])
        group["glimpses"] = np.full((n, 5, scales, GLIMPSE_PX, GLIMPSE_PX, 3), 7, np.uint8)


def write_table(path: Path, columns: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, delimiter="\t", restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def make_run(folder: Path, config: Config, slide: Path) -> Run:
    """Write the results of a run below `folder`, of copies of a tiny slide."""
    results = folder / "results"
    annotation = folder / "seen.json"
    annotation.write_text(json.dumps({"positive": [{"vertices": LESION}], "negative": [{"vertices": HOLE}]}))
    for name in ("seen", "gone", "learned"):
        path = folder / f"{name}.tif"
        shutil.copy(slide, path)
        sample = Sample(name, "p", path, annotation=annotation if name == "seen" else None)
        assert survey(config, sample, results / "overview" / f"{name}.h5", results / "status" / f"{name}.json")
    (folder / "gone.tif").unlink()
    broken = Sample("broken", "p", folder / "broken.tif")
    assert not survey(config, broken, results / "overview" / "broken.h5", results / "status" / "broken.json")
    (results / "predictions" / "0").mkdir(parents=True)
    write_predictions(results / "predictions" / "0" / "all.h5", ["gone", "seen"])
    names = ("p_negative", "p_itc", "p_micro", "p_macro")
    verdict = {f"{policy}prediction": "micro" for policy in ("", "random_")}
    verdict |= {f"{policy}{name}": p for policy in ("", "random_") for name, p in zip(names, RUNNING[-1], strict=True)}
    common = {"fold": "0", "split": "test", "state": "ok"}
    rows: list[dict[str, Any]] = [
        {"slide": "learned", "patient": "q", "split": "train", "label": "negative", "state": "unused"},
        {"slide": "seen", "patient": "p", "label": "micro", **common, **verdict},
        {"slide": "broken", "patient": "p", "split": "test", "state": "failed", "reason": "cannot be read"},
        {"slide": "gone", "patient": "p", **common, **verdict},
    ]
    write_table(results / "predictions" / "slides.tsv", SLIDE_COLUMNS, rows)
    patient = {"patient": "p", "split": "test", "state": "incomplete", "missing": "broken", "true_stage": "pN1mi"}
    write_table(results / "patients.tsv", PATIENT_COLUMNS, [patient])
    return Run(results, folder / "seen.tif", annotation)


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, config: Config, tiny_slide: Any) -> Run:
    """A run that is not to be changed."""
    return make_run(tmp_path_factory.mktemp("run"), config, tiny_slide.path)


@pytest.fixture
def own_run(tmp_path: Path, config: Config, tiny_slide: Any) -> Run:
    """A run of the test's own."""
    return make_run(tmp_path, config, tiny_slide.path)


@pytest.fixture
def serving() -> Iterator[Callable[[Path], Server]]:
    """Serve results until the end of the test."""
    servers = []

    def start(results: Path) -> Server:
        server = Server(Content(results))
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session")
def chromium() -> ModuleType:
    """The script that drives Chromium; without one the test is skipped, but not where `.ci/run` installed it."""
    spec = importlib.util.spec_from_file_location("chromium", DOCS / "chromium.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if module.find() is None:
        assert "CI" not in os.environ, "no Chromium, which .ci/run should have installed"
        pytest.skip("no Chromium here: the viewer's page is not tested")
    return module
