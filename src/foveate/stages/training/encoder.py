"""The image encoder that a configuration names."""

from pathlib import Path

import keras

from foveate.attention.encoder import Encoder
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
