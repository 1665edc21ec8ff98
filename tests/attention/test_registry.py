import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from foveate.attention import registry
from foveate.attention.array_agent import ArrayAgent  # which makes all names known
from foveate.errors import FoveateError

SHAPES: dict[str, tuple[Any, ...]] = {
    "glimpse": ((None, 2, 4, 4, 1), (None, 2)),
    "core": ((None, 3),),
    "location": ((None, 3),),
    "picker": ((None, 3), (None, None, 2)),
    "context": ((None, 16, 20, 1),),
    "stop": ((None, 3),),
    "action": ((None, None, 3),),
    "baseline": ((None, None, 3),),
}
GIVEN = {"action": {"classes": 3}}  # by the agent
EVERY = [(kind, name) for kind in SHAPES for name in registry.names(kind)]
# that are not the defaults
OTHER: dict[str, dict[str, Any]] = {
    "glimpse dense": {"hidden": 3, "features": 5},
    "glimpse convolutional": {"filters": [2, 3], "features": 5},
    "core lstm": {"units": 3},
    "core gru": {"units": 3},
    "core relu": {"units": 3},
    "location gaussian": {"hidden": 3, "std": 0.2, "learned": True},
    "location cells": {"rows": 2, "columns": 3, "hidden": 3},
    "picker categorical": {"hidden": 3},
    "context convolutional": {"units": 3, "px": 10, "filters": [2, 3]},
    "stop bernoulli": {"hidden": 3, "start": 0.25},
    "action dense": {"use_bias": False},
    "baseline dense": {"use_bias": False},
    "baseline constant": {},
}


def test_there_is_a_part_of_every_kind() -> None:
    assert {f"{kind} {name}" for kind, name in EVERY} == set(OTHER)


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_a_part_is_made_from_its_name_or_its_settings(kind: str, name: str) -> None:
    assert registry.make(kind, name, **GIVEN.get(kind, {})).name == f"{kind}_{name}"
    settings = OTHER[f"{kind} {name}"]
    made = registry.make(kind, {"name": name, **settings}, "mine", **GIVEN.get(kind, {}))
    assert made.name == "mine"
    found = json.loads(json.dumps(made.get_config()))
    assert {key: found[key] for key in settings} == settings


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_configuration_and_weights_make_the_same_part_again(kind: str, name: str) -> None:
    made = registry.make(kind, {"name": name, **OTHER[f"{kind} {name}"]}, **GIVEN.get(kind, {}))
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(made)))
    loaded = keras.saving.deserialize_keras_object(config)
    assert type(loaded) is type(made)
    assert loaded.get_config() == made.get_config()
    for layer in (made, loaded):
        layer.build(*SHAPES[kind])
    loaded.set_weights(made.get_weights())
    assert [v.path.split("/", 1)[1] for v in loaded.weights] == [v.path.split("/", 1)[1] for v in made.weights]
    assert made.weights


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_a_part_that_is_saved_in_a_model_comes_back(
    kind: str, name: str, tmp_path: Path, make_array_agent: Callable[..., ArrayAgent]
) -> None:
    settings = {"context": {"path": {"name": "gru", "units": 3}}}.get(kind, {})
    agent = make_array_agent(group=2, **settings, **{kind: {"name": name, **OTHER[f"{kind} {name}"]}})
    agent.save(tmp_path / "agent.keras")
    loaded = keras.saving.load_model(tmp_path / "agent.keras", compile=False)
    assert loaded.settings == agent.settings
    assert [v.path for v in loaded.trainable_variables] == [v.path for v in agent.trainable_variables]
    for before, after in zip(agent.trainable_variables, loaded.trainable_variables, strict=True):
        np.testing.assert_array_equal(np.asarray(after), np.asarray(before))


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    assert {"gru", "lstm", "relu"} <= set(registry.names("core"))
    with pytest.raises(FoveateError, match=f"^core: no 'rnn'; known: {', '.join(registry.names('core'))}$"):
        registry.make("core", "rnn")
    with pytest.raises(FoveateError, match=r"^location: no None; known: cells, gaussian"):
        registry.make("location", {"hidden": 3})


@pytest.mark.parametrize("spec", [5, None, ["lstm"], {"name": ["lstm"]}])
def test_what_is_no_name_at_all_is_answered_in_the_same_way(spec: Any) -> None:
    with pytest.raises(FoveateError, match=r"^core: no .*; known: .*gru, lstm"):
        registry.make("core", spec)


@pytest.mark.parametrize(
    ("kind", "spec", "text"),
    [
        ("core", {"name": "lstm", "unit": 3}, "core 'lstm' cannot be made with {'unit': 3}: .*unit"),
        ("location", {"name": "cells", "row": 2}, "location 'cells' cannot be made with {'row': 2}: .*row"),
        ("action", {"name": "dense"}, "action 'dense' cannot be made with {}: .*classes"),
        ("core", {"name": "gru", "units": -1}, "core 'gru' cannot be made with {'units': -1}: units: -1; expected"),
        ("core", {"name": "lstm", "units": 2.5}, "units: 2.5; expected a whole number, at least 1"),
        ("core", {"name": "relu", "units": "x"}, "units: 'x'; expected a whole number, at least 1"),
        ("glimpse", {"name": "dense", "hidden": 0}, "hidden: 0; expected a whole number, at least 1"),
        ("glimpse", {"name": "convolutional", "filters": 3}, "filters: 3; expected two whole numbers"),
        ("glimpse", {"name": "convolutional", "filters": [3]}, "filters: .3.; expected two whole numbers"),
        ("location", {"name": "gaussian", "std": 0}, "std: 0; expected a number above 0$"),
        ("location", {"name": "gaussian", "std": 0.01, "learned": True}, "std: 0.01; expected a number above 0.02$"),
        ("location", {"name": "cells", "rows": 0}, "rows: 0; expected a whole number"),
        ("picker", {"name": "categorical", "hidden": 0.5}, "hidden: 0.5; expected a whole number"),
        ("context", {"name": "convolutional", "px": 3}, "px: 3; expected a whole number, at least 4"),
        ("stop", {"name": "bernoulli", "start": 0}, "start: 0; expected a number above 0 and below 1$"),
        ("stop", {"name": "bernoulli", "start": 1}, "start: 1; expected a number above 0 and below 1$"),
    ],
)
def test_a_setting_that_does_not_fit_is_named(kind: str, spec: dict[str, Any], text: str) -> None:
    with pytest.raises(FoveateError, match=text):
        registry.make(kind, spec)


def test_a_new_part_is_one_class_and_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, make_array_agent: Callable[..., ArrayAgent]
) -> None:
    monkeypatch.setattr(registry, "_PARTS", {kind: dict(made) for kind, made in registry._PARTS.items()})

    @registry.part("core", "clock")
    class Clock(keras.layers.SimpleRNNCell):
        pass

    assert "clock" in registry.names("core")
    assert keras.saving.get_registered_name(Clock) == "foveate>Clock"
    agent = make_array_agent(core={"name": "clock", "units": 2})
    agent.save(tmp_path / "agent.keras")
    loaded = keras.saving.load_model(tmp_path / "agent.keras", compile=False)
    assert type(loaded.core) is Clock
    assert loaded.core.units == 2
