"""Keras files: a trained agent, or a model from elsewhere."""

import zipfile
from pathlib import Path
from typing import Any

import keras

from foveate.attention.agent import Agent
from foveate.attention.patient_agent import PatientAgent
from foveate.errors import FoveateError
from foveate.patients.stages import PN_STAGES, SLIDE_CLASSES


def load_keras(path: Path, key: str) -> Any:
    """The model of the Keras file that a key of the configuration names. Keras' safe mode refuses code in it.

    Raises FoveateError for a file that is not there or is no such file.
    """
    if not path.exists():
        raise FoveateError(f"{path} does not exist; train a model first, or correct {key}")
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, TypeError, OSError, KeyError, zipfile.BadZipFile) as error:
        raise FoveateError(f"{path}: is no model that this version can read: {error}") from error


def load_agent(path: Path) -> Agent:
    """Read a model file. Keras' safe mode refuses code in it.

    Raises
    ------
    FoveateError
        If it is absent, no agent, or was made for other slide classes.
    """
    agent = load_keras(path, "predict.weights")
    if not isinstance(agent, Agent) or tuple(agent.settings["classes"]) != SLIDE_CLASSES:
        raise FoveateError(f"{path}: holds no attention model for the classes {', '.join(SLIDE_CLASSES)}")
    return agent


def load_patient_agent(path: Path) -> PatientAgent:
    """Read the model file of a patient agent; see `load_agent`."""
    agent = load_keras(path, "predict.patient_weights")
    if (
        not isinstance(agent, PatientAgent)
        or tuple(agent.slides.settings["classes"]) != SLIDE_CLASSES
        or agent.rule.outcomes != len(PN_STAGES)
    ):
        raise FoveateError(f"{path}: holds no agent over a patient's slides for the stages {', '.join(PN_STAGES)}")
    return agent
