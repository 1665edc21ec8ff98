"""A cohort of tiny slides with lesions, and settings for a model that is trained in a moment."""

import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from foveate.cohort.folds import Fold
from foveate.cohort.samples import Sample
from foveate.config import Config
from foveate.slides.overview_file import StoredOverview, read_overview
from foveate.stages.overview import survey

# `foveate.stages.determinism` must come before TensorFlow's first operation, which other tests may have made
os.environ["TF_NUM_INTEROP_THREADS"] = "1"

# level-0 px = um; tissue lies at 200 to 900, 100 to 600
SIZE, TISSUE_UM = (1024, 768), (200, 100, 900, 600)
LESIONS = {
    "itc_a": [(300, 200, 400, 300)],
    "micro_a": [(260, 140, 640, 500), (700, 300, 800, 400)],
    "macro_a": [(240, 120, 860, 560)],
    "micro_v": [(500, 200, 800, 500)],
}
TRAIN = ["neg_a", "neg_b", "neg_c", "itc_a", "micro_a", "macro_a"]
VAL = ["neg_v", "micro_v"]
LABELS = {"neg": "negative", "itc": "itc", "micro": "micro", "macro": "macro"}


@dataclasses.dataclass(frozen=True)
class Cohort:
    """Slides with overviews, made with `config`."""

    config: Config
    samples: list[Sample]
    fold: Fold
    overviews: Path

    def tuned(self, **sections: dict[str, Any]) -> "Cohort":
        """The cohort with other settings, as `train={"epochs": 1}`."""
        changed = {k: dataclasses.replace(getattr(self.config, k), **v) for k, v in sections.items()}
        return dataclasses.replace(self, config=dataclasses.replace(self.config, **changed))

    def sample(self, slide: str) -> Sample:
        return next(s for s in self.samples if s.slide == slide)

    def relabelled(self, slide: str, label: str) -> "Cohort":
        samples = [dataclasses.replace(s, label=label) if s.slide == slide else s for s in self.samples]
        return dataclasses.replace(self, samples=samples)

    def of_patients(self, **slides: list[str]) -> "Cohort":
        """The cohort with slides given to other patients."""
        owner = {slide: patient for patient, own in slides.items() for slide in own}
        samples = [dataclasses.replace(s, patient=owner.get(s.slide, s.patient)) for s in self.samples]
        return dataclasses.replace(self, samples=samples)

    def split(self, train: list[str], val: list[str]) -> "Cohort":
        return dataclasses.replace(self, fold=Fold("0", train, val, [], []))

    def with_slide(self, slide: str, path: Path, label: str) -> "Cohort":
        """The cohort and one more training slide, whose overview is made now."""
        sample = Sample(slide, "p", path, label)
        good = survey(self.config, sample, self.overviews / f"{slide}.h5", self.overviews / f"{slide}.json")
        assert good
        more = dataclasses.replace(self, samples=[*self.samples, sample])
        return more.split([*self.fold.train, slide], self.fold.val)


def write_annotation(path: Path, boxes: list[tuple[int, int, int, int]]) -> Path:
    """Rectangles (left, top, right, bottom) in level-0 px."""
    outlines = [
        {"name": str(k), "vertices": [[left, top], [right, top], [right, bottom], [left, bottom]]}
        for k, (left, top, right, bottom) in enumerate(boxes)
    ]
    path.write_text(json.dumps({"positive": outlines, "negative": []}))
    return path


@pytest.fixture(scope="session")
def tiny_config(config: Config) -> Config:
    """A model and a training as small as they get, on cells of 8 x 8 overview pixels."""
    return dataclasses.replace(
        config,
        overview=dataclasses.replace(config.overview, mpp=16.0, cell_um=128.0),
        tissue=dataclasses.replace(config.tissue, cell_share=0.25),
        glimpse=dataclasses.replace(config.glimpse, px=16, scales_mpp=(4.0, 32.0), count=2),
        model=dataclasses.replace(config.model, features=8, state=8, context=8),
        train=dataclasses.replace(
            config.train, guide_epochs=2, pretrain_epochs=2, pretrain_patches=8, epochs=2, batch=8, threads=2
        ),
        patient_agent=dataclasses.replace(config.patient_agent, epochs=2, batch=2, copies=2),
        predict=dataclasses.replace(config.predict, batch=2, threads=2),
    )


@pytest.fixture(scope="session")
def tiny_overview(tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., StoredOverview]:
    """The overview of a slide that a test has made, with the tiny settings."""

    def make(source: Any, slide: str) -> StoredOverview:
        out = tmp_path_factory.mktemp("overview") / f"{slide}.h5"
        assert survey(tiny_config, Sample(slide, "p", source.path), out, out.with_suffix(".json"))
        stored = read_overview(out)
        assert stored is not None
        return stored

    return make


@pytest.fixture(scope="session")
def make_cohort(tiny_config: Config, make_slide: Callable[..., Any]) -> Callable[[Path], Cohort]:
    """Write the cohort into a folder. Its slides show the same tissue; they differ by label and annotation."""

    def make(folder: Path) -> Cohort:
        slide = make_slide(folder / "slide.tif", size=SIZE, tissue_um=TISSUE_UM)
        overviews = folder / "overview"
        samples = []
        for name in [*TRAIN, *VAL]:
            boxes = LESIONS.get(name)
            annotation = write_annotation(folder / f"{name}.json", boxes) if boxes else None
            label = LABELS[name.split("_")[0]]
            samples.append(Sample(name, "p", slide.path, label, annotation))
            assert survey(tiny_config, samples[-1], overviews / f"{name}.h5", overviews / f"{name}.json")
        return Cohort(tiny_config, samples, Fold("0", TRAIN, VAL, [], []), overviews)

    return make


@pytest.fixture
def with_unreadable(
    make_cohort: Callable[[Path], Cohort], spoil_tile: Callable[..., None], tmp_path: Path
) -> Callable[..., Cohort]:
    """A cohort of its own and more training slides, whose level of 4 um/px cannot be decoded."""

    def make(label: str, *names: str) -> Cohort:
        cohort = make_cohort(tmp_path)
        for name in names:
            path = tmp_path / f"{name}.tif"
            shutil.copy(tmp_path / "slide.tif", path)
            cohort = cohort.with_slide(name, path, label)
            spoil_tile(path, 0, absent=False, page=1)  # the level has one tile
        return cohort

    return make


@pytest.fixture(scope="session")
def cohort(make_cohort: Callable[[Path], Cohort], tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """Six slides to train on, three of them with annotated lesions, and two to validate. Not to be changed."""
    return make_cohort(tmp_path_factory.mktemp("cohort"))


DARK_UM = {"macro_a": (512, 384), "macro_b": (1024, 640), "macro_v": (896, 256)}  # left, top; 512 x 384 um


def paint_nuclei(seed: int, dark_um: tuple[int, int] | None) -> NDArray[np.uint8]:
    """1536 x 2048 pixels of 1 um. Tissue at 256 to 1792, 128 to 1280; more nuclei where it is dark."""
    often = np.full((192, 256), 0.3)
    if dark_um:
        column, row = (side // 8 for side in dark_um)
        often[row : row + 48, column : column + 64] = 0.9
    nuclei = np.kron(np.random.default_rng(seed).random(often.shape) < often, np.ones((8, 8), bool))
    tissue = np.where(nuclei[..., None], (110, 60, 150), (215, 140, 190)).astype(np.uint8)
    pixels = np.full(tissue.shape, 243, np.uint8)
    pixels[128:1280, 256:1792] = tissue[128:1280, 256:1792]
    return pixels


@pytest.fixture(scope="session")
def labelled(
    tiny_config: Config,
    make_pyramid: Callable[..., None],
    shrunk: Callable[..., NDArray[np.uint8]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Cohort:
    """Four slides to train on and one to validate, without annotations: 108 cells each, 12 of them dark in macro_*."""
    folder = tmp_path_factory.mktemp("labelled")
    samples = []
    for seed, name in enumerate(["neg_a", "neg_b", *DARK_UM]):
        images = [paint_nuclei(seed, DARK_UM.get(name))]
        images += [shrunk(images[0], step) for step in (4, 16)]
        make_pyramid(folder / f"{name}.tif", images)
        samples.append(Sample(name, "p", folder / f"{name}.tif", LABELS[name.split("_")[0]]))
        assert survey(tiny_config, samples[-1], folder / f"{name}.h5", folder / f"{name}.json")
    return Cohort(tiny_config, samples, Fold("0", [s.slide for s in samples[:4]], ["macro_v"], [], []), folder)


@pytest.fixture(scope="module")
def sighted(labelled: Cohort, eager: None, tmp_path_factory: pytest.TempPathFactory) -> list[NDArray[np.float32]]:
    """The weights of a glimpse network that the labels of `labelled` have taught."""
    from foveate.stages.determinism import seeded
    from foveate.stages.train import make_agent
    from foveate.stages.training.glimpses import Glimpses
    from foveate.stages.training.session import Session

    own = labelled.tuned(train={"pretrain_epochs": 12, "pretrain_patches": 48, "pretrain_rate": 0.01})
    session = Session(own.config, own.samples, own.fold, own.overviews, tmp_path_factory.mktemp("sighted"))
    seeded(own.config.train.seed)
    agent = make_agent(own.config, session.prior)
    glimpses = Glimpses(session, agent)
    for number in range(glimpses.epochs):
        glimpses.epoch(number)
    weights: list[NDArray[np.float32]] = agent.glimpse_network.get_weights()
    return weights


@pytest.fixture(scope="session")
def dark_cells() -> Callable[[StoredOverview], NDArray[np.bool_]]:
    """Which cells (R, C) of a slide of `labelled` are dark."""

    def of(overview: StoredOverview) -> NDArray[np.bool_]:
        cells = np.zeros(overview.cell_tissue.shape, bool)
        if overview.slide in DARK_UM:
            column, row = (side // 128 for side in DARK_UM[overview.slide])
            cells[row : row + 3, column : column + 4] = True
        return cells

    return of


@pytest.fixture(scope="session")
def patients(cohort: Cohort) -> Cohort:
    """The cohort as three patients to train on, two slides each, and one to validate."""
    owners = {"a": ["neg_a", "macro_a"], "b": ["neg_b", "itc_a"], "c": ["neg_c", "micro_a"], "v": VAL}
    return cohort.of_patients(**owners)


@pytest.fixture(scope="module")
def eager() -> Iterator[None]:
    """No tracing in this module: it takes longer than the few steps of a test."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="session")
def wide(tiny_overview: Callable[..., StoredOverview], exact_slide: Any) -> StoredOverview:
    """2048 x 1536 um, tissue at 400 to 1200, 200 to 700; 12 x 16 cells."""
    return tiny_overview(exact_slide, slide="wide")


@pytest.fixture(scope="session")
def tall(
    tiny_overview: Callable[..., StoredOverview],
    make_slide: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> StoredOverview:
    """768 x 2200 um, tissue at 300 to 650, 250 to 1000; 18 x 6 cells, so another grid."""
    path = tmp_path_factory.mktemp("tall") / "tall.tif"
    return tiny_overview(make_slide(path, size=(768, 2200), tissue_um=(300, 250, 650, 1000)), slide="tall")


@pytest.fixture
def spoilt(spoil_tile: Callable[..., None], tmp_path: Path) -> Callable[[StoredOverview], StoredOverview]:
    """A slide like a given one, "bad", whose level of 4 um/px cannot be decoded."""

    def make(good: StoredOverview) -> StoredOverview:
        path = tmp_path / "bad.tif"
        shutil.copy(good.path, path)
        for tile in range(4):
            spoil_tile(path, tile, absent=False, page=1)
        return dataclasses.replace(good, slide="bad", path=path)

    return make
