import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foveate.attention.agent import Agent
from foveate.patients.temperature import fit_temperature
from foveate.stages.determinism import seeded
from foveate.stages.rollout import Roller
from foveate.stages.train import make_agent
from foveate.stages.training.session import Session
from foveate.stages.training.validation import answers, calibrate, validate

pytestmark = pytest.mark.usefixtures("eager")
LOGITS = [3.0, 1.0, 0.0, 0.0]  # negative is right for neg_v, wrong for micro_v


def start(cohort: Any, out: Path) -> tuple[Session, Agent]:
    """An agent that always answers LOGITS."""
    session = Session(cohort.config, cohort.samples, cohort.fold, cohort.overviews, out)
    seeded(cohort.config.train.seed)
    agent = make_agent(cohort.config, session.prior)
    agent.action_network.set_weights([np.zeros((11, 4)), np.array(LOGITS)])
    return session, agent


def test_answers_are_those_after_the_last_fixation(cohort: Any, tmp_path: Path) -> None:
    session, agent = start(cohort.tuned(train={"batch": 1}), tmp_path)
    logits, labels, looked = answers(session, Roller(agent, session.sensor, "greedy"))
    np.testing.assert_allclose(logits, [LOGITS, LOGITS], rtol=1e-6)
    assert labels.tolist() == [0, 2]  # neg_v, micro_v
    assert looked.tolist() == [2, 2]


def said(agent: Agent, odds: list[float]) -> None:
    """Let the agent always answer with these odds of the classes."""
    agent.action_network.set_weights([np.zeros((11, 4)), np.log(odds)])


def test_the_loss_is_the_cross_entropy_of_the_last_answer(cohort: Any, tmp_path: Path) -> None:
    session, agent = start(cohort, tmp_path)
    roller = Roller(agent, session.sensor, "greedy")
    said(agent, [1, 2, 3, 4])
    # 3 negative slides and one of each other class, one added to each; classes are drawn evenly in training only
    assert session.prior == [0.4, 0.2, 0.2, 0.2]
    # neg_v and micro_v: 0.4 * 1 and 0.2 * 3, of 0.4 + 0.4 + 0.6 + 0.8; macro would be the answer
    found = validate(session, agent, roller)
    assert found == {"val_loss": pytest.approx(-np.log(4 / 22 * 6 / 22) / 2, rel=1e-5), "val_accuracy": 0.0}
    said(agent, [4, 2, 3, 1])
    assert validate(session, agent, roller)["val_accuracy"] == 0.5
    agent.settings["temperature"] = 0.5  # the odds are squared: 0.4 * 16 and 0.2 * 9, of 6.4 + 0.8 + 1.8 + 0.2
    assert validate(session, agent, roller)["val_loss"] == pytest.approx(-np.log(64 / 92 * 18 / 92) / 2, rel=1e-5)


def test_glimpses_have_their_price(cohort: Any, tmp_path: Path) -> None:
    session, agent = start(cohort.tuned(train={"price": 0.5}), tmp_path)
    roller = Roller(agent, session.sensor, "greedy", stop=True)
    said(agent, [1, 1, 1, 1])  # the prior decides
    untaught = -np.log(0.4 * 0.2) / 2
    found = validate(session, agent, roller, 0.5)
    assert found == {"val_loss": pytest.approx(untaught + 1, rel=1e-5), "val_accuracy": 0.5, "val_glimpses": 2}
    agent.stop_network.logit.bias.assign([50.0])
    found = validate(session, agent, roller, 0.5)
    assert found == {"val_loss": pytest.approx(untaught + 0.5, rel=1e-5), "val_accuracy": 0.5, "val_glimpses": 1}


def test_without_validation_slides_there_is_no_loss(cohort: Any, tmp_path: Path) -> None:
    session, agent = start(cohort.split(["neg_a", "macro_a"], []), tmp_path)
    assert validate(session, agent, Roller(agent, session.sensor, "greedy")) == {}


def test_the_temperature_is_fitted_on_the_validation_slides(
    cohort: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    session, agent = start(cohort, tmp_path)
    fit = fit_temperature([LOGITS, LOGITS], [0, 2], session.prior)
    with caplog.at_level(logging.INFO):
        calibrate(session, agent)
    assert agent.settings["temperature"] == fit.temperature
    assert fit.temperature > 1.05  # one of two is wrong
    assert caplog.messages[-1] == (
        f"temperature {fit.temperature:.3f} from 2 validation slides: "
        f"negative log-likelihood {fit.after:.4f}, without it {fit.before:.4f}"
    )


def test_without_validation_slides_it_is_one(cohort: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    session, agent = start(cohort.split(["neg_a", "macro_a"], []), tmp_path)
    with caplog.at_level(logging.INFO):
        calibrate(session, agent)
    assert agent.settings["temperature"] == 1.0
    assert caplog.messages[-1] == "temperature 1: there is no validation slide to fit it on"


def test_a_slide_that_cannot_be_read_is_dropped(with_unreadable: Callable[..., Any], tmp_path: Path) -> None:
    cohort = with_unreadable("micro", "bad_v").split(["neg_a", "macro_a"], ["bad_v", "neg_v"])
    session, agent = start(cohort, tmp_path / "out")
    calibrate(session, agent)
    assert set(session.state.dropped) == {"bad_v"}
    assert agent.settings["temperature"] == fit_temperature([LOGITS], [0], session.prior).temperature
