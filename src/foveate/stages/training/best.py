"""The epoch that is kept: the one with the lowest validation loss."""

import logging
from collections.abc import Callable, Mapping

import keras

from foveate.stages.training.checkpoint import save_weights
from foveate.stages.training.session import Session

log = logging.getLogger(__name__)


class Best:
    """The weights of a phase's best epoch so far, in the checkpoint's folder; the loss is in the session's state.

    Without validation slides it is the last epoch.

    Parameters
    ----------
    name : of the weights file.
    untrained : what has learned nothing yet is a candidate; see `first`.
    """

    def __init__(self, session: Session, model: keras.Model, name: str, *, untrained: bool = False) -> None:
        self._state, self._model, self._path = session.state, model, session.out / "checkpoint" / name
        if untrained and session.state.epoch == 0:
            self._keep()

    def first(self, phase: str, validate: Callable[[], Mapping[str, float]]) -> None:
        """Before the first epoch: find the loss of what has learned nothing yet."""
        if self._state.best is None and (found := validate()):
            self._state.best = found["val_loss"]
            log.info("%s, untrained: validation loss %.4f", phase, self._state.best)

    def offer(self, val: Mapping[str, float]) -> None:
        """Keep the weights as they are if their val_loss is the lowest, or if there is none."""
        loss, best = val.get("val_loss"), self._state.best
        if loss is None or best is None or loss < best:
            self._state.best = loss
            self._keep()

    def _keep(self) -> None:
        save_weights(self._model, self._path)
