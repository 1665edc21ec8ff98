"""A model knows nothing of the slides that it is tested on: proven by trainings among slides that differ."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foveate.attention.agent import Agent
from foveate.cohort.samples import Sample
from foveate.slides.overview_file import read_overview
from foveate.stages import train
from foveate.stages.keras_file import load_agent
from foveate.stages.overview import survey
from foveate.stages.plan import Job, jobs

from .conftest import write_annotation

pytestmark = pytest.mark.usefixtures("eager")
# slide: patient, split, and in the one and the other cohort the label and the outline of its lesion
UNSEEN = {
    "b0": ("b0", "", ("macro", (240, 120, 860, 560)), ("negative", None)),
    "b1": ("b1", "", ("negative", None), ("itc", (400, 300, 500, 400))),
    "b2": ("b1", "", ("micro", (300, 200, 500, 500)), ("", None)),
    "held": ("held", "test", ("negative", None), ("macro", (240, 120, 860, 560))),
    "new": ("new", "", ("", None), ("", None)),
}
PAINT: tuple[dict[str, Any], dict[str, Any]] = (
    {"size": (1024, 768), "tissue_um": (200, 100, 900, 600)},
    {"size": (1536, 1280), "tissue_um": (500, 450, 1400, 1200), "glass": (230, 236, 228)},
)


@dataclasses.dataclass
class World:
    """Slides of centre A, the same in both worlds, and others, which are not."""

    config: Any
    samples: list[Sample]
    overviews: Path

    def job(self, name: str) -> Job:
        return jobs(self.config, self.samples)[name]

    def train(self, out: Path) -> Agent:
        """Train the fold that tests on centre B, with the rows of all slides at hand."""
        fold = self.job("center_B").fold
        assert fold is not None
        train.run(self.config, self.samples, fold, self.overviews, out)
        return load_agent(out / "model.keras")


@pytest.fixture
def make_world(cohort: Any, make_slide: Callable[..., Any]) -> Callable[[Path, int], World]:
    def make(folder: Path, kind: int) -> World:
        shutil.copytree(cohort.overviews, folder / "overview")
        seen = [dataclasses.replace(s, patient=s.slide, center="A") for s in cohort.samples]
        path = make_slide(folder / "other.tif", **PAINT[kind]).path
        unseen = []
        for slide, (patient, split, *kinds) in UNSEEN.items():
            label, box = kinds[kind]
            outline = write_annotation(folder / f"{slide}.json", [box]) if box else None
            unseen.append(Sample(slide, patient, path, label, outline, split=split, center="B"))
        brief = cohort.tuned(train={"guide_epochs": 1, "pretrain_epochs": 1, "epochs": 1})
        config = dataclasses.replace(brief.config, folds="center")
        world = World(config, [*unseen[:2], *seen, *unseen[2:]], folder / "overview")
        for sample in unseen:
            overview = world.overviews / f"{sample.slide}.h5"
            assert survey(config, sample, overview, overview.with_suffix(".json"))
        return world

    return make


def assert_no_pixel_in_common(one: World, other: World) -> None:
    for slide in UNSEEN:
        a, b = (read_overview(world.overviews / f"{slide}.h5") for world in (one, other))
        assert a is not None
        assert b is not None
        assert a.thumbnail.shape != b.thumbnail.shape
        assert not np.array_equal(a.background_rgb, b.background_rgb)


def same(a: Agent, b: Agent) -> bool:
    weights = zip(a.weights, b.weights, strict=True)
    return a.settings == b.settings and all(np.array_equal(x.numpy(), y.numpy()) for x, y in weights)


def test_other_pixels_labels_and_outlines_of_tested_slides_leave_the_model_as_it_is(
    make_world: Callable[[Path, int], World], tmp_path: Path
) -> None:
    one, other = (make_world(tmp_path / str(kind), kind) for kind in range(2))
    assert_no_pixel_in_common(one, other)
    assert one.job("center_B").learned == other.job("center_B").learned
    assert one.job("center_B").predict == ["b0", "b1", "b2", "held", "new"]
    model = one.train(tmp_path / "model")
    assert same(model, other.train(tmp_path / "again"))
    # and what it does learn from counts: one training slide with the pixels of an unseen one
    (learned,) = (s for s in other.samples if s.slide == "neg_b")
    strange = dataclasses.replace(learned, path=other.samples[0].path)
    assert learned.slide in one.job("center_B").fold.train  # type: ignore[union-attr]
    overview = other.overviews / "neg_b.h5"
    assert survey(other.config, strange, overview, overview.with_suffix(".json"))
    assert not same(model, other.train(tmp_path / "strange"))
