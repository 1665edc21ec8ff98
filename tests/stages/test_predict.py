import dataclasses
import hashlib
import shutil
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from foveate.attention.agent import Agent
from foveate.cohort.samples import Sample
from foveate.config import Config
from foveate.errors import FoveateError
from foveate.patients.stages import SLIDE_CLASSES
from foveate.slides.overview_file import StoredOverview
from foveate.slides.sensor import GlimpseSensor
from foveate.stages import predict
from foveate.stages.cohort import open_cohort
from foveate.stages.determinism import seeded
from foveate.stages.keras_file import load_agent
from foveate.stages.overview import survey
from foveate.stages.predict import Predictor
from foveate.stages.train import make_agent

pytestmark = pytest.mark.usefixtures("eager")
T, PX = 3, 16
PRIOR, TEMPERATURE = [0.55, 0.15, 0.15, 0.15], 1.5


@dataclasses.dataclass(frozen=True)
class Setup:
    """Slides with overviews, and a model. Sizes and resolutions differ: oblong has 1 x 0.5 um pixels."""

    config: Config
    samples: list[Sample]
    overviews: Path
    weights: Path

    def run(self, out: Path) -> dict[str, Any]:
        """Predict, and read what was written: attributes, failed, and the datasets as learned/slide and so on."""
        predict.run(self.config, self.samples, self.overviews, self.weights, out, fold="2")
        return contents(out)

    def cohort(self) -> list[StoredOverview]:
        return open_cohort(self.samples, self.overviews)

    def with_slide(self, slide: str, path: Path, folder: Path) -> "Setup":
        """One more slide; all overviews are copied to `folder`."""
        shutil.copytree(self.overviews, folder, dirs_exist_ok=True)
        sample = Sample(slide, "p", path)
        assert survey(self.config, sample, folder / f"{slide}.h5", folder / f"{slide}.json")
        return dataclasses.replace(self, samples=[*self.samples, sample], overviews=folder)


def contents(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with h5py.File(path) as file:
        found["attrs"] = dict(file.attrs)
        found["failed"] = dict(file["failed"].attrs)
        for group in ("learned", "random"):
            for name, values in file[group].items():
                found[f"{group}/{name}"] = values.asstr()[:].tolist() if name == "slide" else values[:]
    return found


def assert_same(a: dict[str, Any], b: dict[str, Any]) -> None:
    assert set(a) == set(b)
    for name in a:
        if isinstance(a[name], dict):
            assert_same(a[name], b[name])
        else:
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@pytest.fixture(scope="module")
def setup(tiny_config: Config, make_slide: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Setup:
    folder = tmp_path_factory.mktemp("predict")
    config = dataclasses.replace(tiny_config, glimpse=dataclasses.replace(tiny_config.glimpse, count=T, px=PX))
    plain = {"size": (1024, 768), "tissue_um": (200, 100, 900, 600)}
    kinds: dict[str, dict[str, Any]] = {
        "plain": plain,
        "oblong": {"size": (1024, 1536), "tissue_um": (200, 100, 900, 600), "mpp": (1.0, 0.5)},
        "tall": {"size": (768, 2200), "tissue_um": (300, 250, 650, 1000)},
    }
    samples = []
    for name, paint in kinds.items():
        samples.append(Sample(name, "p", make_slide(folder / f"{name}.tif", **paint).path))
        assert survey(config, samples[-1], folder / "overview" / f"{name}.h5", folder / "overview" / f"{name}.json")
    seeded(0)
    agent = make_agent(config, PRIOR)
    rng = np.random.default_rng(0)
    for variable in agent.weights:
        variable.assign_add(0.3 * rng.normal(size=variable.shape))
    agent.settings["temperature"] = TEMPERATURE
    agent.save(folder / "model.keras")
    return Setup(config, samples, folder / "overview", folder / "model.keras")


@pytest.fixture(scope="module")
def predicted(setup: Setup, eager: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return setup.run(tmp_path_factory.mktemp("predicted") / "2.h5")


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FoveateError, match=r"model\.keras does not exist; train a model first"):
        load_agent(tmp_path / "model.keras")


def test_files_that_are_no_model(setup: Setup, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    whole = setup.weights.read_bytes()
    for junk in (b"", b"junk", whole[: len(whole) // 2]):
        path.write_bytes(junk)
        with pytest.raises(FoveateError, match=r"model\.keras: is no model that this version can read"):
            load_agent(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("readme.txt", "nothing else")
    with pytest.raises(FoveateError, match="is no model that this version can read"):
        load_agent(path)


def test_a_model_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "other.keras"
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(path)
    with pytest.raises(FoveateError, match=r"other\.keras: holds no attention model for the classes negative, itc"):
        load_agent(path)


def test_a_model_for_other_classes(setup: Setup, tmp_path: Path) -> None:
    settings = make_agent(setup.config, PRIOR).settings
    agent = Agent(**{**settings, "classes": ["negative", "tumor"], "prior": [0.5, 0.5]})
    agent.build()
    agent.save(tmp_path / "two.keras")
    with pytest.raises(FoveateError, match=r"two\.keras: holds no attention model"):
        load_agent(tmp_path / "two.keras")


def test_code_in_a_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "code.keras"
    keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x * 2)]).save(path)
    with pytest.raises(FoveateError, match=r"is no model that this version can read: .*Lambda"):
        load_agent(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mpp": 8.0}, "trained with overview_mpp 16, the overviews have 8"),
        ({"cell_um": 64.0}, "trained with cell_um 128, the overviews have 64"),
    ],
)
def test_overviews_of_another_kind_than_in_training(
    setup: Setup, tmp_path: Path, change: dict[str, float], message: str
) -> None:
    overviews = [dataclasses.replace(o, **change) for o in setup.cohort()]  # type: ignore[arg-type]
    with pytest.raises(FoveateError, match=message):
        Predictor(setup.config, setup.weights, overviews, tmp_path, "2")


def test_what_the_file_says_about_itself(setup: Setup, predicted: dict[str, Any]) -> None:
    attrs = predicted["attrs"]
    assert (attrs["format"], attrs["version"], attrs["fold"]) == ("foveate.predictions", 1, "2")
    assert (list(attrs["scales_mpp"]), attrs["glimpse_px"], attrs["n_glimpses"]) == ([4, 32], PX, T)
    assert list(attrs["classes"]) == list(SLIDE_CLASSES)
    assert attrs["weights_sha256"] == hashlib.sha256(setup.weights.read_bytes()).hexdigest()
    assert attrs["temperature"] == TEMPERATURE
    assert predicted["failed"] == {}


def test_every_slide_is_predicted_by_both_policies(predicted: dict[str, Any]) -> None:
    shapes = {k: v.shape for k, v in predicted.items() if isinstance(v, np.ndarray)}
    each = {
        "probabilities": (3, 4), "uncalibrated": (3, 4), "running": (3, T, 4), "looked": (3,),
        "location_um": (3, T, 2), "location_l0": (3, T, 2), "policy_probability": (3, T),
    }  # fmt: skip
    expected = {f"{policy}/{name}": shape for policy in ("learned", "random") for name, shape in each.items()}
    cells = int(predicted["learned/cells"].sum())
    of_cells = {"learned/cells": (3,), "learned/cell": (cells, 2), "learned/attention": (cells,)}
    assert shapes == expected | of_cells | {"learned/glimpses": (3, T, 2, PX, PX, 3)}
    assert predicted["learned/slide"] == predicted["random/slide"]
    assert sorted(predicted["learned/slide"]) == ["oblong", "plain", "tall"]
    for policy in ("learned", "random"):
        running = predicted[f"{policy}/running"]
        np.testing.assert_allclose(running.sum(-1), 1, rtol=1e-5)
        assert predicted[f"{policy}/looked"].tolist() == [T] * 3
        np.testing.assert_array_equal(predicted[f"{policy}/probabilities"], running[:, -1])
        assert (predicted[f"{policy}/policy_probability"] > 0).all()
        assert (predicted[f"{policy}/policy_probability"] <= 1).all()
    assert not np.array_equal(predicted["learned/location_um"], predicted["random/location_um"])


def test_a_scout_s_squares_are_told(setup: Setup, tmp_path: Path) -> None:
    config = dataclasses.replace(setup.config, scout=dataclasses.replace(setup.config.scout, count=4, mpp=16, cells=3))
    seeded(0)
    make_agent(config, PRIOR, scout=True).save(tmp_path / "scout.keras")
    found = dataclasses.replace(setup, weights=tmp_path / "scout.keras").run(tmp_path / "2.h5")
    assert found["attrs"]["scouted_side_um"] == 3 * 128
    assert "random/scouted_um" not in found
    squares = found["learned/scouted_um"]
    assert squares.shape == (3, 4, 2)
    for overview in setup.cohort():
        own = squares[found["learned/slide"].index(overview.slide)]
        own = own[np.isfinite(own).all(1)]
        assert len(own) > 1
        for x, y in own:  # in the middle of a cell with tissue, outside the squares before
            assert (x % 128, y % 128) == (64, 64)
            assert overview.cell_tissue[int(y // 128), int(x // 128)] >= 0.25
        apart = np.abs(own[:, None] - own).max(-1)
        assert apart[~np.eye(len(own), dtype=bool)].min() > 128


def test_locations_lie_in_tissue_in_both_frames(setup: Setup, predicted: dict[str, Any]) -> None:
    pixel_um = {"plain": (1, 1), "oblong": (1, 0.5), "tall": (1, 1)}
    overviews = {o.slide: o for o in setup.cohort()}
    for policy in ("learned", "random"):
        for row, slide in enumerate(predicted[f"{policy}/slide"]):
            um = predicted[f"{policy}/location_um"][row]
            np.testing.assert_allclose(predicted[f"{policy}/location_l0"][row] * pixel_um[slide], um, rtol=1e-6)
            for x, y in um:
                assert overviews[slide].cell_tissue[int(y // 128), int(x // 128)] >= 0.25


def attention_of(predicted: dict[str, Any], slide: str) -> dict[tuple[int, int], float]:
    """Cell (row, column) to the attention that it got."""
    row = predicted["learned/slide"].index(slide)
    ends = np.cumsum(predicted["learned/cells"])
    own = slice(ends[row] - predicted["learned/cells"][row], ends[row])
    cells = [(int(r), int(c)) for r, c in predicted["learned/cell"][own]]
    return dict(zip(cells, predicted["learned/attention"][own].tolist(), strict=True))


def test_attention_is_the_most_that_the_policy_gave_a_cell(setup: Setup, predicted: dict[str, Any]) -> None:
    for overview in setup.cohort():
        attention = attention_of(predicted, overview.slide)
        assert list(attention) == [(int(r), int(c)) for r, c in np.argwhere(overview.cell_tissue >= 0.25)]
        row = predicted["learned/slide"].index(overview.slide)
        # a greedy policy looks where it puts most
        places = [(int(y // 128), int(x // 128)) for x, y in predicted["learned/location_um"][row]]
        probability = predicted["learned/policy_probability"][row]
        assert attention[places[0]] == pytest.approx(probability[0], rel=1e-4)
        assert max(attention.values()) == pytest.approx(max(probability), rel=1e-4)
        for place, p in zip(places, probability, strict=True):
            assert attention[place] >= p * (1 - 1e-4)


def test_glimpses_are_what_lies_at_their_locations(setup: Setup, predicted: dict[str, Any]) -> None:
    overviews = {o.slide: o for o in setup.cohort()}
    with GlimpseSensor((4.0, 32.0), PX, 1, setup.config.glimpse.stain_od) as sensor:
        for row, slide in enumerate(predicted["learned/slide"]):
            seen = sensor.read([overviews[slide]] * T, predicted["learned/location_um"][row])
            np.testing.assert_array_equal(predicted["learned/glimpses"][row], seen.pixels)


def test_probabilities_are_the_model_s_with_prior_and_temperature(setup: Setup, predicted: dict[str, Any]) -> None:
    agent, overviews = load_agent(setup.weights), {o.slide: o for o in setup.cohort()}
    assert agent.settings["prior"] == PRIOR
    row = predicted["learned/slide"].index("plain")
    image = np.zeros((1, 16 * 8, 16 * 8, 3), np.uint8)  # the overview has no say in the class
    middle = np.array([1024, 768]) / 2
    um = predicted["learned/location_um"][row]
    replay = agent(
        {
            "overview": image,
            "tissue": np.ones((1, 16, 16), bool),
            "pixels": predicted["learned/glimpses"][row][None],
            "where": ((um - middle) / 10_000).astype(np.float32)[None],
            "candidates": np.arange(256, dtype=np.int32)[None],
            "choice": (um // 128 @ [1, 16]).astype(np.int32)[None],
        }
    )
    logits = replay["logits"].numpy()[0]
    odds = np.exp(logits / TEMPERATURE) * PRIOR
    np.testing.assert_allclose(predicted["learned/running"][row], odds / odds.sum(1, keepdims=True), rtol=1e-3)
    raw = np.exp(logits[-1]) * PRIOR
    np.testing.assert_allclose(predicted["learned/uncalibrated"][row], raw / raw.sum(), rtol=1e-3)
    assert overviews["plain"].thumbnail.shape == (48, 64, 3)


def test_a_model_with_a_stop_network_looks_until_it_has_seen_enough(
    setup: Setup, predicted: dict[str, Any], tmp_path: Path
) -> None:
    agent = load_agent(setup.weights)
    config = agent.get_config() | {"stop": True}
    stopping = Agent.from_config(config)
    stopping.build()
    stopping.set_weights([*agent.get_weights(), *stopping.stop_network.get_weights()])
    stopping.stop_network.logit.bias.assign([50.0])
    stopping.save(tmp_path / "model.keras")
    made = dataclasses.replace(setup, weights=tmp_path / "model.keras").run(tmp_path / "2.h5")
    assert made["attrs"]["n_glimpses"] == T
    for policy in ("learned", "random"):
        assert made[f"{policy}/looked"].tolist() == [1] * 3
        for name in ("running", "location_um", "location_l0", "policy_probability"):
            ours, theirs = made[f"{policy}/{name}"], predicted[f"{policy}/{name}"]
            assert ours.shape == theirs.shape
            np.testing.assert_array_equal(ours[:, 0], theirs[:, 0])
        np.testing.assert_array_equal(made[f"{policy}/probabilities"], predicted[f"{policy}/running"][:, 0])
        assert np.isnan(made[f"{policy}/location_l0"][:, 1:]).all()
    for slide in made["learned/slide"]:  # of one fixation: the policy before it
        assert sum(attention_of(made, slide).values()) == pytest.approx(1, abs=1e-5)
    assert not made["learned/glimpses"][:, 1:].any()


def test_predictions_are_the_same_every_time(setup: Setup, predicted: dict[str, Any], tmp_path: Path) -> None:
    assert_same(setup.run(tmp_path / "2.h5"), predicted)
    assert [p.name for p in tmp_path.iterdir()] == ["2.h5"]  # no parts are left


def parts_of(setup: Setup, out: Path) -> Sequence[Path]:
    """Predict the batches of `out`, as if the process was killed before it joined them."""
    cohort = setup.cohort()
    predictor = Predictor(setup.config, setup.weights, cohort, out.with_suffix(".parts"), "2")
    with predictor.sensor:
        files, failed = predictor.run(cohort)
    assert failed == {}
    return files


def test_finished_batches_are_not_made_again(setup: Setup, predicted: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "2.h5"
    first, second = parts_of(setup, out)  # two slides of 16 x 16 cells, and one of 32 x 16
    with h5py.File(first, "r+") as file:
        file["learned/probabilities"][0] = [0, 0, 0, 1]  # so that it is seen whether it is taken
        assert file["learned/slide"].asstr()[:].tolist() == predicted["learned/slide"][:2]
    second.unlink()
    made = setup.run(out)
    assert made["learned/probabilities"][0].tolist() == [0, 0, 0, 1]
    made["learned/probabilities"][0] = predicted["learned/probabilities"][0]
    assert_same(made, predicted)


def test_batches_of_another_prediction_are_not_used(setup: Setup, tmp_path: Path) -> None:
    def folder(config: Config, weights: Path, overviews: Sequence[StoredOverview]) -> Path:
        predictor = Predictor(config, weights, overviews, tmp_path, "2")
        predictor.sensor.close()
        return predictor.parts

    config, cohort = setup.config, setup.cohort()
    agent = load_agent(setup.weights)
    agent.action_network.bias.assign_add([1.0, 0, 0, 0])
    agent.save(tmp_path / "other.keras")
    fewer = dataclasses.replace(config, glimpse=dataclasses.replace(config.glimpse, count=2))
    one = folder(config, setup.weights, cohort)
    assert one == folder(config, setup.weights, cohort)
    assert one.parent == tmp_path
    others = [
        folder(config, tmp_path / "other.keras", cohort),
        folder(fewer, setup.weights, cohort),
        folder(config, setup.weights, cohort[1:]),
    ]
    assert len({one, *others}) == 4


def test_a_slide_that_is_too_coarse_is_refused_by_both_numbers(
    setup: Setup, predicted: dict[str, Any], make_slide: Callable[..., Any], tmp_path: Path
) -> None:
    coarse = make_slide(
        tmp_path / "coarse.tif", size=(512, 384), mpp=(28.0, 28.0), levels=1, tissue_um=(2800, 2800, 8400, 8400)
    )
    made = setup.with_slide("coarse", coarse.path, tmp_path / "overview").run(tmp_path / "2.h5")
    assert list(made["failed"]) == ["coarse"]
    assert "28 um/px, coarser than twice the glimpse scale of 4 um/px" in made["failed"]["coarse"]
    assert made["learned/slide"] == predicted["learned/slide"]
    np.testing.assert_array_equal(made["learned/running"], predicted["learned/running"])


def test_a_slide_that_cannot_be_read_spoils_no_other(
    setup: Setup, predicted: dict[str, Any], spoil_tile: Callable[..., None], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.tif"
    shutil.copy(setup.samples[0].path, bad)
    more = setup.with_slide("bad", bad, tmp_path / "overview")
    spoil_tile(bad, 0, absent=False, page=1)  # the level of 4 um/px has one tile
    made = more.run(tmp_path / "2.h5")
    assert list(made["failed"]) == ["bad"]
    assert "of level 1" in made["failed"]["bad"]
    for policy in ("learned", "random"):
        assert made[f"{policy}/slide"] == ["oblong", "plain", "tall"]
    np.testing.assert_allclose(made["learned/running"], predicted["learned/running"], atol=1e-5)


def test_where_every_slide_fails_a_batch_the_file_is_still_whole(
    setup: Setup, spoil_tile: Callable[..., None], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.tif"
    shutil.copy(setup.samples[0].path, bad)
    more = setup.with_slide("bad", bad, tmp_path / "overview")
    spoil_tile(bad, 0, absent=False, page=1)
    made = dataclasses.replace(more, samples=more.samples[-1:]).run(tmp_path / "2.h5")
    assert list(made["failed"]) == ["bad"]
    for policy in ("learned", "random"):
        assert made[f"{policy}/slide"] == []
        assert made[f"{policy}/probabilities"].shape == (0, 4)
