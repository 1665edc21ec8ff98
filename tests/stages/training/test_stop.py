from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foveate.stages.determinism import seeded
from foveate.stages.train import make_agent
from foveate.stages.training import stop as stop_module
from foveate.stages.training.session import Session
from foveate.stages.training.stop import BEST, Stop

pytestmark = pytest.mark.usefixtures("eager")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop_module, "UPDATES", 20)
    monkeypatch.setattr(stop_module, "RATE", 0.05)


def start(cohort: Any, out: Path, price: float = 0.5) -> tuple[Session, Stop]:
    priced = cohort.tuned(train={"price": price, "batch": 4})
    session = Session(priced.config, priced.samples, priced.fold, priced.overviews, out)
    seeded(priced.config.train.seed)
    return session, Stop(session, make_agent(priced.config, session.prior))


def test_an_epoch(cohort: Any, tmp_path: Path) -> None:
    session, stop = start(cohort, tmp_path)
    before = {v.path: v.numpy() for v in stop._agent.weights}
    figures = stop.epoch(0)
    assert set(figures) == {
        *("loss", "mean_glimpses", "val_loss", "val_accuracy", "val_glimpses", "glimpses", "waited_s"),
    }
    # two glimpses of an agent that knows nothing are not worth 0.5 nats: it looks once
    assert figures["val_glimpses"] == 1
    assert 1 < figures["mean_glimpses"] < 1.5
    assert figures["glimpses"] == 6 * 2 + 2
    assert session.state.best == figures["val_loss"]
    changed = {v.path for v in stop._agent.weights if not np.array_equal(v.numpy(), before[v.path])}
    assert changed == {v.path for v in stop._agent.stop_network.weights}


def test_what_is_learned_from_is_what_a_prediction_says(cohort: Any, tmp_path: Path) -> None:
    _, stop = start(cohort, tmp_path)
    stop._agent.settings["temperature"] = 0.5
    stop._agent.action_network.set_weights([np.zeros((11, 4)), np.log([1, 2, 3, 4])])
    x = stop._rollouts(np.random.default_rng(0), "rollouts")
    assert sorted(x["label"].tolist()) == [0, 0, 0, 1, 2, 3]  # every slide once
    assert x["strongest"].shape == (6, 2, 3)
    assert (np.diff(x["strongest"], axis=1) >= 0).all()
    odds = np.array([0.4, 0.2, 0.2, 0.2]) * np.array([1, 4, 9, 16])
    np.testing.assert_allclose(np.exp(x["logits"]), np.broadcast_to(odds / odds.sum(), (6, 2, 4)), rtol=1e-5)


def test_what_stops_too_soon_is_not_kept(cohort: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session, stop = start(cohort, tmp_path)
    kept, losses = tmp_path / "checkpoint" / BEST, iter([0.7, 0.9, 0.6])
    untrained = kept.read_bytes()
    monkeypatch.setattr(stop, "_validate", lambda: {"val_loss": next(losses)})
    found = []
    for number in range(2):
        stop.epoch(number)
        found.append((session.state.best, kept.read_bytes() == untrained))
    assert found == [(0.7, True), (0.6, False)]


def test_a_slide_that_cannot_be_read_is_dropped(with_unreadable: Callable[..., Any], tmp_path: Path) -> None:
    session, stop = start(with_unreadable("negative", "bad").split(["neg_a", "macro_a", "bad"], []), tmp_path / "out")
    x = stop._rollouts(np.random.default_rng(0), "rollouts")
    assert sorted(x["label"].tolist()) == [0, 3]
    assert list(session.state.dropped) == ["bad"]
