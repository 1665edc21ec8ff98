"""What training knows of where the policy would look first."""

import numpy as np

from foveate.attention.agent import Agent
from foveate.patients.stages import SLIDE_CLASSES
from foveate.stages.batch import make_batch
from foveate.stages.rollout import Roller
from foveate.stages.training.patches import PatchSampler
from foveate.stages.training.session import Session


def patch_sampler(session: Session, agent: Agent, *, scout: bool = True) -> PatchSampler:
    """A sampler of the enrolled slides, whose normal cells are mostly those at which the policy would look first.

    scout: with what the agent's scout, if it has one, says of them.
    """
    slides, size, share = session.enrolled, session.config.train.batch, session.config.tissue.cell_share
    roller, salience = Roller(agent, session.sensor, "greedy", scout=scout), []
    for first in range(0, len(slides), size):
        batch = make_batch(slides[first : first + size], session.shape, share)
        log_p, errors = roller.first(batch)
        session.drop_failed([(len(log_p), errors)])
        salience += batch.on_grids(np.exp(log_p))
    return PatchSampler(slides, [SLIDE_CLASSES[session.label[o.slide]] for o in slides], salience, share)
