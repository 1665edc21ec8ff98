"""How well a trained agent does: greedy, one sample, the mean of M samples, and uniformly random places."""

import logging
from typing import Any

import numpy as np
from keras import ops

from foveate.attention.array_agent import ArrayAgent
from foveate.attention.array_learner import Rollouts
from foveate.attention.losses import average_copies, last_looked
from foveate.digits.feed import Batch

log = logging.getLogger(__name__)
COPIES = 10
BATCH = 500


def ways(agent: ArrayAgent) -> dict[str, Rollouts]:
    """The ways to look, each of which is compiled once."""
    return {
        "greedy": Rollouts(agent, "greedy"),
        "sampled": Rollouts(agent, "sampled", COPIES),
        "random": Rollouts(agent, "random"),
    }


def error_rates(looks: dict[str, Rollouts], batch: Batch) -> dict[str, dict[str, float]]:
    """Of each way to look: `error`, share of wrong answers; `glimpses`, mean number of an image or a group.

    sampled is the mean over `COPIES` single samples; m10 the answer of their mean probability; random uses as many
    glimpses as the agent may, at uniformly random places of uniformly random images, but for the first one, which lies
    where a sampled one does if no network chooses it.
    """
    images, labels = batch
    found: dict[str, dict[str, float]] = {}
    for way, look in looks.items():
        log.info("%d test images, %s", len(labels), way)
        answer, glimpses = answers(look, images)
        wrong = answer.argmax(-1) != np.repeat(labels, look.copies)
        found[way] = {"error": float(wrong.mean()), "glimpses": glimpses}
        if look.copies > 1:
            mean = ops.convert_to_numpy(average_copies(answer[:, None], look.copies))[:, 0]
            error = float((mean.argmax(-1) != labels).mean())
            found[f"m{look.copies}"] = {"error": error, "glimpses": glimpses * look.copies}
    return found


def answers(look: Rollouts, images: dict[str, Any]) -> tuple[Any, float]:
    """Logits (R, K) of the last answers, and the mean number of glimpses."""
    out = rolled(look, images)
    return ops.convert_to_numpy(last_looked(out["logits"], out["looked"])), float(out["looked"].sum(axis=1).mean())


def rolled(look: Rollouts, images: dict[str, Any]) -> dict[str, Any]:
    """The outputs of `ArrayAgent.call` as arrays, in batches of one size, because each size is compiled anew."""
    count = len(images["images"])
    parts = []
    for first in range(0, count, BATCH):
        rows = np.minimum(np.arange(first, first + BATCH), count - 1)
        parts.append(look.predict_on_batch({name: value[rows] for name, value in images.items()}))
    return {name: np.concatenate([part[name] for part in parts])[: count * look.copies] for name in parts[0]}
