"""The training stage: one fold, from overviews and labels to a model file."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import keras

from foveate.attention.agent import Agent
from foveate.attention.patient_agent import PatientAgent
from foveate.cohort.folds import Fold
from foveate.cohort.samples import Sample
from foveate.config import Config
from foveate.files import atomic, write_json
from foveate.patients.posterior import FOLLOWING, STAGE_OF
from foveate.patients.stages import SLIDE_CLASSES
from foveate.stages.determinism import seeded
from foveate.stages.training import attend, patients, stop
from foveate.stages.training.encoder import make_scout, read_encoder
from foveate.stages.training.glimpses import Glimpses
from foveate.stages.training.guide import Guide
from foveate.stages.training.history import write_history
from foveate.stages.training.scouts import Scouts
from foveate.stages.training.session import Phase, Session
from foveate.stages.training.validation import calibrate

log = logging.getLogger(__name__)


def make_agent(config: Config, prior: list[float], *, scout: bool = False) -> Agent:
    """A new agent with random weights, as the configuration says.

    prior: share of each slide class. scout: with the scout that the configuration describes, if it does.
    """
    agent = Agent(
        scales_mpp=list(config.glimpse.scales_mpp),
        glimpse_px=config.glimpse.px,
        stain_od=config.glimpse.stain_od,
        overview_mpp=config.overview.mpp,
        cell_um=config.overview.cell_um,
        classes=list(SLIDE_CLASSES),
        features=config.model.features,
        state=config.model.state,
        context=config.model.context,
        prior=prior,
        encoder=read_encoder(config.model.encoder, config.glimpse.px),
        encoder_scales=config.model.encoder.scales,
        stop=config.train.price > 0,
        scout=make_scout(config) if scout else None,
    )
    agent.build()
    return agent


def make_patient_agent(agent: Agent, factors: list[float]) -> PatientAgent:
    """A new agent over the slides of a patient, which begins with what `agent` knows of slides. factors: of stages."""
    return PatientAgent.over(agent, [list(row) for row in FOLLOWING], list(STAGE_OF), factors)


def run(config: Config, samples: Sequence[Sample], fold: Fold, overviews: Path, out: Path) -> None:
    """Train the model of one fold, from the last checkpoint if there is one.

    Reads `overviews/{slide}.h5` and the slides; writes into `out`: model.keras, patient.keras unless
    patient_agent.epochs is 0, history.csv, dropped.json (slides that could not be read, and why), tensorboard/,
    checkpoint/. The phases are `guide` (where to look), `scouts` (what low power shows, where there is a scout),
    `glimpses` (what is seen) and `attend` (the whole agent).
    Without annotated lesions `glimpses` comes first, with the labels of slides, and `guide` learns from what sight
    holds for lesions. Then the temperature of the best epoch's answers is fitted on the validation slides. Where
    glimpses have a price, `stop` teaches when enough was seen; the last phase, `patients`, teaches the agent over all
    slides of a patient.
    """
    session = Session(config, samples, fold, overviews, out)
    seeded(config.train.seed)
    pretrained = config.train.pretrain_epochs > 0 and (session.annotated or session.contrasted)
    guided = config.train.guide_epochs > 0 and (session.annotated or pretrained)
    scouts = config.scout.count > 0 and config.train.scout_epochs > 0 and guided and session.annotated
    agent = make_agent(config, session.prior, scout=scouts)
    with session.sensor:
        if config.scout.count > 0 and not scouts:
            log.info("there is no scout: it needs train.guide_epochs, train.scout_epochs and annotated lesions")
        if not session.annotated:
            log.info("no training slide has annotated lesions: the labels of slides have to do")
        for part, before in (("context network", guided), ("glimpse network", pretrained)):
            if not before:
                log.info("the %s is not pretrained, it learns with the agent", part)
        taught: list[Callable[[], Phase]] = [lambda: Guide(session, agent), lambda: Glimpses(session, agent)]
        if not session.annotated:
            taught.reverse()  # sight finds the lesions
        if scouts:
            taught.insert(1, lambda: Scouts(session, agent))
        session.run([*taught, lambda: attend.Attend(session, agent, context=not guided, sight=not pretrained)])
        agent.load_weights(out / "checkpoint" / attend.BEST)
        calibrate(session, agent)
        if agent.stop_network is not None:
            session.run([lambda: stop.Stop(session, agent)])
            agent.load_weights(out / "checkpoint" / stop.BEST)
        if config.patient_agent.on:
            keras.utils.set_random_seed(config.train.seed)  # whatever was drawn before, or before a kill
            learned_from = set(fold.train)
            over_slides = make_patient_agent(
                agent, patients.stage_factors([s for s in samples if s.slide in learned_from])
            )
            session.run([lambda: patients.Patients(session, over_slides)])
            over_slides.load_weights(out / "checkpoint" / patients.BEST)
            with atomic(out / "patient.keras") as partial:
                over_slides.save(partial)
    with atomic(out / "model.keras") as partial:
        agent.save(partial)
    write_history(session.state.history, out / "history.csv")
    write_json(out / "dropped.json", session.state.dropped)
    session.checkpoint.clear()  # a later training must not take this one's end for its own beginning
