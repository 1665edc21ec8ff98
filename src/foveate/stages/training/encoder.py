"""The image encoder that a configuration names, whole for glimpses and cut for the scout."""

from pathlib import Path

import keras

from foveate.attention.encoder import Encoder
from foveate.attention.scout import Scout, cut, plain_trunk
from foveate.config import Config
from foveate.config import Encoder as Settings
from foveate.errors import FoveateError
from foveate.stages.keras_file import load_keras


def read_encoder(settings: Settings, px: int) -> Encoder | None:
    """The encoder that the configuration names, for squares of `px` pixels; None where it names none.

    A convolutional network that was saved for another size is made anew for this one, with its weights. Raises
    FoveateError for a file that is not there or holds no such encoder.
    """
    if not settings.path:
        return None
    path = Path(settings.path)
    network = load_keras(path, "model.encoder.path")
    try:
        if network.input_shape[1:] != (px, px, 3):
            weights = network.get_weights()
            network = keras.models.clone_model(network, keras.Input((px, px, 3)))
            network.set_weights(weights)
        return Encoder(network, settings.mean, settings.std, settings.frozen, name="encoder")
    except (ValueError, TypeError, AttributeError) as error:
        raise FoveateError(
            f"{path}: is no encoder of squares of {px} x {px} px, RGB, to one vector: {error}"
        ) from error


def make_scout(config: Config) -> Scout | None:
    """The scout as the configuration says, on the encoder that it names, cut where a position is a cell; or None.

    Raises FoveateError where there is no such place, or the pixels of a cell are no power of 2 without an encoder.
    """
    scout, settings = config.scout, config.model.encoder
    if not scout.count:
        return None
    px = round(scout.cells * config.overview.cell_um / scout.mpp)
    encoder = read_encoder(settings, px)
    try:
        if encoder is None:
            return Scout(plain_trunk(px, scout.cells), scout.mpp, scout.count, name="scout")
        trunk = cut(encoder.network, scout.cells)
        return Scout(trunk, scout.mpp, scout.count, settings.mean, settings.std, settings.frozen, name="scout")
    except ValueError as error:
        at = f"{settings.path or 'scout.mpp'}: squares of {scout.cells} cells at {scout.mpp:g} um/px"
        raise FoveateError(f"{at}: {error}") from error
