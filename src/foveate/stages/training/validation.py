"""What the agent concludes on the validation slides: it picks the epoch, and then the temperature."""

import logging

import numpy as np
from numpy.typing import NDArray

from foveate.attention.agent import Agent
from foveate.patients.temperature import fit_temperature, posterior_log
from foveate.stages.batch import make_batch
from foveate.stages.rollout import Roller, side_by_side
from foveate.stages.training.session import Session

log = logging.getLogger(__name__)


def answers(session: Session, roller: Roller) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """The class logits (n, K) after the last fixation, the labels (n,), the fixations (n,). The roller is greedy.

    A validation slide that cannot be read is dropped from the session and is not among them.
    """
    slides, size = session.val, session.config.train.batch
    parts = [slides[first : first + size] for first in range(0, len(slides), size)]
    share, steps = session.config.tissue.cell_share, session.config.glimpse.count
    work = (roller.turns(make_batch(part, session.shape, share), steps) for part in parts)
    logits, labels, looked = [], [], []
    for part, seen in zip(parts, side_by_side(work), strict=True):
        failed = session.drop_failed([(len(part), seen.errors)])
        for row, overview in enumerate(part):
            if row not in failed:
                logits.append(seen.logits[row, -1])
                labels.append(session.label[overview.slide])
                looked.append(seen.looked[row])
    classes = len(session.prior)
    return (
        np.array(logits, np.float64).reshape(-1, classes),
        np.array(labels, np.int64),
        np.array(looked, np.int64),
    )


def validate(session: Session, agent: Agent, roller: Roller, price: float = 0.0) -> dict[str, float]:
    """Cross entropy and accuracy on the validation slides, with the agent's prior and temperature; empty without any.

    price: of a glimpse, in nats; the loss is that of looking as well, and how many glimpses were made is among them.
    """
    logits, labels, looked = answers(session, roller)
    if not len(labels):
        return {}
    # classes are drawn evenly in training only
    log_p = posterior_log(logits, session.prior, agent.settings["temperature"])
    loss = -float(np.mean(log_p[np.arange(len(labels)), labels]))
    found = {"val_loss": loss, "val_accuracy": float(np.mean(log_p.argmax(1) == labels))}
    if price:
        glimpses = float(np.mean(looked))
        found |= {"val_loss": loss + price * glimpses, "val_glimpses": glimpses}
    return found


def calibrate(session: Session, agent: Agent) -> None:
    """Fit the agent's temperature on the validation slides, once in a training."""
    if session.state.temperature is not None:
        agent.settings["temperature"] = session.state.temperature
        return
    logits, labels, _ = answers(session, Roller(agent, session.sensor, "greedy"))
    fit = fit_temperature(logits, labels, session.prior)
    agent.settings["temperature"] = session.state.temperature = fit.temperature
    if fit.slides:
        log.info(
            "temperature %.3f from %d validation slides: negative log-likelihood %.4f, without it %.4f",
            fit.temperature,
            fit.slides,
            fit.after,
            fit.before,
        )
    else:
        log.info("temperature 1: there is no validation slide to fit it on")
