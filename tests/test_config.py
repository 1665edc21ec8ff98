import copy
import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from foveate.config import Config, parse_config, read_config
from foveate.errors import FoveateError, SheetError

DEFAULT = Path(__file__).parents[1] / "config" / "config.yaml"

Changed = Callable[[str, Any], dict[str, Any]]


@pytest.fixture
def changed() -> Changed:
    """The default configuration's values with one changed: its key with dots, and the value."""

    def change(key: str, value: Any) -> dict[str, Any]:
        values = copy.deepcopy(yaml.safe_load(DEFAULT.read_text()))
        *sections, last = key.split(".")
        within = values
        for section in sections:
            within = within[section]
        within[last] = value
        return dict(values)

    return change


def faults(values: dict[str, Any]) -> list[str]:
    with pytest.raises(SheetError) as caught:
        parse_config(values, "my.yaml")
    return caught.value.faults


def test_the_default_configuration_is_good_and_typed() -> None:
    config = read_config(DEFAULT)
    assert isinstance(config, Config)
    assert config.overview.mpp == 16.0
    assert isinstance(config.overview.mpp, float)
    assert config.overview.cell_px == 4
    assert config.glimpse.scales_mpp == (1.0, 4.0, 32.0)
    assert isinstance(config.train.seed, int)
    assert config.compare.glimpses == (1, 2, 4, 8, 16, 32, 64)
    assert all(isinstance(count, int) for count in config.compare.glimpses)


def test_a_later_file_goes_over_an_earlier_one_key_by_key(tmp_path: Path) -> None:
    over = tmp_path / "over.yaml"
    over.write_text("train: {epochs: 3}\nglimpse: {scales_mpp: [2, 8]}\n")
    base, config = read_config(DEFAULT), read_config(DEFAULT, over)
    assert config.train.epochs == 3
    assert config.train.batch == base.train.batch
    assert config.glimpse.scales_mpp == (2.0, 8.0)
    assert config.glimpse.px == base.glimpse.px


@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [
        ("train.epoch", 3, "train.epoch: no such key; did you mean 'epochs'?"),
        ("overview.zoom", 3, "overview.zoom: no such key; known: mpp, coarse_mpp, cell_um"),
        ("modle", {}, "modle: no such key; did you mean 'model'?"),
        ("train.epochs", "many", 'train.epochs: "many" is not of type "integer"'),
        ("train.epochs", 2.5, 'train.epochs: 2.5 is not of type "integer"'),
        ("train.seed", True, 'train.seed: true is not of type "integer"'),
        ("train.epochs", 0, "train.epochs: 0 is less than the minimum of 1"),
        ("overview.mpp", float("nan"), 'overview.mpp: null is not of type "number"'),
        ("glimpse.scales_mpp", [1, "four"], 'glimpse.scales_mpp.1: "four" is not of type "number"'),
        ("folds", "centre", 'folds: "centre" does not match "^(sheet|center)$"'),
        ("folds", 1, "folds: 1 is less than the minimum of 2"),
        ("folds", 2.5, 'folds: 2.5 is not of types "integer", "string"'),
        ("folds", True, 'folds: true is not of types "integer", "string"'),
        ("glimpse.scales_mpp", [4, 1], "glimpse.scales_mpp: [4.0, 1.0] must grow from the finest to the coarsest"),
        ("glimpse.scales_mpp", [1, 1], "glimpse.scales_mpp: [1.0, 1.0] must grow from the finest to the coarsest"),
        ("overview.cell_um", 100, "overview.cell_um: 100 is not a multiple of 4 x overview.mpp (16)"),
        (
            "predict.patient_weights",
            "patient.keras",
            "predict.patient_weights: is given without predict.weights, the model of the slides beside it",
        ),
        ("patient_agent.copies", 1, "patient_agent.copies: 1 is less than the minimum of 2"),
        ("scout.cells", 4, "scout.cells: 4 is even; one cell must lie in the middle of the square"),
        ("scout.mpp", 7, "scout.mpp: 5 cells of 64 um are 45.7143 px of 7 um/px, not a whole number"),
        ("overview.cell_um", 96, "overview.cell_um: 96 is not a multiple of 4 x overview.mpp (16)"),
    ],
)
def test_each_fault_names_the_file_the_key_and_what_was_expected(
    changed: Changed, key: str, value: object, fault: str
) -> None:
    assert faults(changed(key, value)) == [f"my.yaml: {fault}"]


def test_a_missing_key_and_a_missing_section(changed: Changed) -> None:
    values = changed("model", None)
    del values["model"], values["train"]["seed"]
    assert faults(values) == ["my.yaml: model is missing", "my.yaml: train: seed is missing"]


def test_all_faults_come_at_once(changed: Changed) -> None:
    values = changed("train.batch", 0)
    values["glimpse"]["px"] = 1
    values["oops"] = 1
    assert len(faults(values)) == 3


def test_whole_numbers_may_be_written_with_a_point(changed: Changed) -> None:
    config = parse_config(changed("train.seed", 3.0), "my.yaml")
    assert config.train.seed == 3
    assert isinstance(config.train.seed, int)
    folds = parse_config(changed("folds", 5.0), "my.yaml").folds
    assert folds == 5
    assert isinstance(folds, int)


@pytest.mark.parametrize(("key", "value"), [("predict.weights", datetime.date(2020, 1, 1)), ("train", {5: 1})])
def test_values_that_only_yaml_knows_are_faults(changed: Changed, key: str, value: object) -> None:
    (fault,) = faults(changed(key, value))
    assert fault.startswith("my.yaml: only numbers, text and lists")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected keys and values, got NoneType"),
        (b"- 1\n", "expected keys and values, got list"),
        (b"a: [1\n", "is not YAML"),
        (b"a: \xff\n", "is not YAML"),
        (b"a: !!python/object/apply:os.getcwd []\n", "is not YAML"),
    ],
)
def test_files_that_hold_no_configuration(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "my.yaml"
    path.write_bytes(content)
    with pytest.raises(FoveateError, match=rf"my\.yaml: {message}"):
        read_config(path)


def test_an_absent_file(tmp_path: Path) -> None:
    with pytest.raises(FoveateError, match=r"my\.yaml: cannot be read: No such file"):
        read_config(tmp_path / "my.yaml")
