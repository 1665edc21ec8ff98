import logging
import shutil
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
from foveate.stages.training.validation import answers, calibrate

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


def test_a_slide_that_cannot_be_read_is_dropped(
    make_cohort: Callable[[Path], Any], spoil_tile: Callable[..., None], tmp_path: Path
) -> None:
    cohort = make_cohort(tmp_path)
    path = tmp_path / "bad.tif"
    shutil.copy(tmp_path / "slide.tif", path)
    cohort = cohort.with_slide("bad_v", path, "micro").split(["neg_a", "macro_a"], ["bad_v", "neg_v"])
    spoil_tile(path, 0, absent=False, page=1)  # the level of 4 um/px has one tile
    session, agent = start(cohort, tmp_path / "out")
    calibrate(session, agent)
    assert set(session.state.dropped) == {"bad_v"}
    assert agent.settings["temperature"] == fit_temperature([LOGITS], [0], session.prior).temperature
