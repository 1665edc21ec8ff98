import logging
from pathlib import Path
from types import SimpleNamespace

import keras
import pytest

from foveate.stages.training.best import Best
from foveate.stages.training.session import State

NAME = "some.weights.h5"


def model(value: float) -> keras.Model:
    """One weight."""
    made = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    made.layers[0].kernel.assign([[value]])
    return made


def start(out: Path, state: State, *, untrained: bool = False) -> tuple[keras.Model, Best]:
    one = model(0.0)
    return one, Best(SimpleNamespace(state=state, out=out), one, NAME, untrained=untrained)


def kept(out: Path) -> float:
    other = model(-1.0)
    other.load_weights(out / "checkpoint" / NAME)
    return float(other.layers[0].kernel[0, 0])


def offer(best: Best, one: keras.Model, value: float, **val: float) -> None:
    one.layers[0].kernel.assign([[value]])
    best.offer(val)


def test_the_lowest_loss_is_kept(tmp_path: Path) -> None:
    one, best = start(tmp_path, state := State())
    found = []
    for value, loss in ((1, 0.7), (2, 0.9), (3, 0.6), (4, 0.6)):
        offer(best, one, value, val_loss=loss)
        found.append((kept(tmp_path), state.best))
    assert found == [(1, 0.7), (1, 0.7), (3, 0.6), (3, 0.6)]


def test_without_a_loss_it_is_the_last(tmp_path: Path) -> None:
    one, best = start(tmp_path, state := State())
    for value in (1, 2):
        offer(best, one, value)
        assert (kept(tmp_path), state.best) == (value, None)


def test_what_learned_nothing_is_a_candidate(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one, best = start(tmp_path, state := State(), untrained=True)
    with caplog.at_level(logging.INFO):
        best.first("stop", lambda: {"val_loss": 0.5})
    assert caplog.messages == ["stop, untrained: validation loss 0.5000"]
    offer(best, one, 1, val_loss=0.6)
    assert (kept(tmp_path), state.best) == (0, 0.5)
    best.first("stop", lambda: pytest.fail("it is known"))
    offer(best, one, 2, val_loss=0.4)
    assert (kept(tmp_path), state.best) == (2, 0.4)


def test_a_resumed_phase_keeps_what_was_kept(tmp_path: Path) -> None:
    one, best = start(tmp_path, state := State(), untrained=True)
    offer(best, one, 1, val_loss=0.5)
    state.epoch = 1
    start(tmp_path, state, untrained=True)
    assert kept(tmp_path) == 1


def test_without_validation_slides_what_learned_nothing_has_no_loss(tmp_path: Path) -> None:
    one, best = start(tmp_path, state := State(), untrained=True)
    best.first("stop", dict)
    assert (kept(tmp_path), state.best) == (0, None)
    offer(best, one, 1)
    assert kept(tmp_path) == 1
