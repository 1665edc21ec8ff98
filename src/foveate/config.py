"""The configuration: read, checked against the schema, and turned into typed values."""

import dataclasses
import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

import jsonschema_rs
import yaml

from foveate.errors import FoveateError, SheetError

SCHEMA = Path(__file__).parent / "schemas" / "config.schema.yaml"


@dataclasses.dataclass(frozen=True)
class Demo:
    folder: str
    patients: int
    seed: int


@dataclasses.dataclass(frozen=True)
class Overview:
    mpp: float
    coarse_mpp: float
    cell_um: float

    @property
    def cell_px(self) -> int:
        """Side of a cell in overview pixels."""
        return round(self.cell_um / self.mpp)


@dataclasses.dataclass(frozen=True)
class Tissue:
    min_area_um2: float
    hole_area_um2: float
    cell_share: float


@dataclasses.dataclass(frozen=True)
class Glimpse:
    px: int
    scales_mpp: tuple[float, ...]
    stain_od: tuple[float, ...]
    count: int


@dataclasses.dataclass(frozen=True)
class Scout:
    count: int
    mpp: float
    cells: int


@dataclasses.dataclass(frozen=True)
class Encoder:
    path: str
    mean: float
    std: float
    frozen: bool
    scales: int


@dataclasses.dataclass(frozen=True)
class Model:
    features: int
    state: int
    context: int
    encoder: Encoder


@dataclasses.dataclass(frozen=True)
class Train:
    seed: int
    guide_epochs: int
    pretrain_epochs: int
    pretrain_patches: int
    pretrain_rate: float
    scout_epochs: int
    epochs: int
    batch: int
    copies: int
    learning_rate: float
    patience: int
    threads: int
    reinforce: float
    guidance: float
    entropy: float
    baseline: float
    discount: float
    price: float


@dataclasses.dataclass(frozen=True)
class PatientAgent:
    epochs: int
    budget: float
    batch: int
    copies: int
    learning_rate: float

    @property
    def on(self) -> bool:
        """Whether there is a patient agent at all."""
        return self.epochs > 0


@dataclasses.dataclass(frozen=True)
class Predict:
    weights: str
    patient_weights: str
    batch: int
    threads: int


@dataclasses.dataclass(frozen=True)
class Patients:
    bootstrap: int


@dataclasses.dataclass(frozen=True)
class Compare:
    glimpses: tuple[int, ...]
    repeats: int
    fit: bool


@dataclasses.dataclass(frozen=True)
class Batches:
    overview: int
    predict: int
    export: int


@dataclasses.dataclass(frozen=True)
class Config:
    samples: str
    folds: str | int
    demo: Demo
    overview: Overview
    tissue: Tissue
    glimpse: Glimpse
    scout: Scout
    model: Model
    train: Train
    patient_agent: PatientAgent
    predict: Predict
    patients: Patients
    compare: Compare
    batches: Batches


def read_config(*paths: str | Path) -> Config:
    """Read YAML files, later ones over earlier ones, key by key. Errors name the file."""
    merged: dict[str, Any] = {}
    for path in map(Path, paths):
        try:
            value = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise FoveateError(f"{path}: cannot be read: {error.strerror}") from error
        except (UnicodeDecodeError, yaml.YAMLError) as error:
            raise FoveateError(f"{path}: is not YAML: {error}") from error
        if not isinstance(value, dict):
            raise FoveateError(f"{path}: expected keys and values, got {type(value).__name__}")
        merged = _merge(merged, value)
    return parse_config(merged, ", ".join(map(str, paths)))


def parse_config(values: Mapping[str, Any], origin: str) -> Config:
    """Check `values` against the schema and make a Config of it.

    Raises
    ------
    SheetError
        With every fault, each as `origin: section.key: what was expected`.
    """
    schema = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    validator = jsonschema_rs.Draft202012Validator(schema)
    try:
        errors = list(validator.iter_errors(dict(values)))
    except ValueError as error:  # YAML knows dates, and keys that are numbers; the schema's language does not
        raise SheetError([f"{origin}: only numbers, text and lists can be values, and text keys: {error}"]) from error
    faults = sorted(f"{origin}: {text}" for e in errors for text in _faults(e, schema))
    if faults:
        raise SheetError(faults)
    config = _build(Config, values)
    faults = [f"{origin}: {text}" for text in _contradictions(config)]
    if faults:
        raise SheetError(faults)
    return config


def _merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    both = dict(under)
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(both.get(key), dict):
            both[key] = _merge(both[key], value)
        else:
            both[key] = value
    return both


def _faults(error: jsonschema_rs.ValidationError, schema: dict[str, Any]) -> list[str]:
    where = [str(part) for part in error.instance_path]
    unexpected = getattr(error.kind, "unexpected", None)
    if unexpected is None:
        message = re.sub(r'"([^"]*)" is a required property', r"\1 is missing", error.message)
        return [": ".join([".".join(where), message]) if where else message]
    known = schema
    for part in where:
        known = known["properties"][part]
    texts = []
    for key in unexpected:
        near = difflib.get_close_matches(key, known["properties"], 1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known['properties'])}"
        texts.append(f"{'.'.join([*where, key])}: no such key; {hint}")
    return texts


def _contradictions(config: Config) -> list[str]:
    """What the schema cannot say."""
    faults = []
    cells = config.overview.cell_um / config.overview.mpp
    if abs(cells - round(cells)) > 1e-6 or round(cells) % 4:
        faults.append(
            f"overview.cell_um: {config.overview.cell_um:g} is not a multiple of 4 x overview.mpp "
            f"({config.overview.mpp:g})"
        )
    if config.overview.coarse_mpp > config.overview.mpp:
        faults.append(
            f"overview.coarse_mpp: {config.overview.coarse_mpp:g} is coarser than overview.mpp "
            f"({config.overview.mpp:g})"
        )
    if config.scout.cells % 2 == 0:
        faults.append(f"scout.cells: {config.scout.cells} is even; one cell must lie in the middle of the square")
    side = config.scout.cells * config.overview.cell_um / config.scout.mpp
    if abs(side - round(side)) > 1e-6:
        faults.append(
            f"scout.mpp: {config.scout.cells} cells of {config.overview.cell_um:g} um are {side:g} px of "
            f"{config.scout.mpp:g} um/px, not a whole number"
        )
    if config.predict.patient_weights and not config.predict.weights:
        faults.append("predict.patient_weights: is given without predict.weights, the model of the slides beside it")
    scales = config.glimpse.scales_mpp
    if list(scales) != sorted(set(scales)):
        faults.append(f"glimpse.scales_mpp: {list(scales)} must grow from the finest to the coarsest")
    return faults


def _build(kind: Any, values: Mapping[str, Any]) -> Any:
    hints = get_type_hints(kind)
    made = {}
    for name, hint in hints.items():
        value = values[name]
        if dataclasses.is_dataclass(hint):
            made[name] = _build(hint, value)
        elif hint in (int, float):  # the schema lets 3.0 pass for a whole number, and 3 for any number
            made[name] = hint(value)
        elif hint == str | int:
            made[name] = value if isinstance(value, str) else int(value)
        elif isinstance(value, list):
            made[name] = tuple(map(get_args(hint)[0], value))
        else:
            made[name] = value
    return kind(**made)
