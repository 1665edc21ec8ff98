"""The scout: what low power says of the cells around a place, before the first fixation.

An overview is too coarse for small metastases, and a glimpse too small to search with. A pathologist goes over what the
naked eye picked out with a low-power objective first; so does the scout, over a fixed number of squares.
"""

from typing import Any

import keras
from keras import ops

from foveate.attention.registry import PACKAGE
from foveate.attention.towers import block

FILTERS = (24, 32, 48, 64, 64)  # of a trunk that learns from nothing: half the side at each step
HIDDEN = 64


@keras.saving.register_keras_serializable(PACKAGE)
class Scout(keras.layers.Layer):
    """A square of C x C cells to how much likelier each of them holds tumor than not, in nats.

    Parameters
    ----------
    trunk : a Keras model from (n, px, px, 3) numbers to a map (n, C, C, F), one position a cell; C is odd, so that the
        middle of the square is that of a cell.
    mpp : um per pixel of the square.
    count : squares of a slide.
    mean, std : the trunk gets (pixels - mean) / std.
    frozen : the trunk's weights do not learn.

    Raises
    ------
    ValueError
        For a trunk that takes or gives something else.
    """

    def __init__(
        self,
        trunk: keras.Model,
        mpp: float,
        count: int,
        mean: float = 127.5,
        std: float = 127.5,
        frozen: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        takes, gives = trunk.input_shape, trunk.output_shape
        if not (len(takes) == len(gives) == 4 and takes[3] == 3 and gives[1] == gives[2] and gives[1] % 2 == 1):
            raise ValueError(f"trunk: expected (n, px, px, 3) to (n, C, C, F), C odd. Received: {takes} to {gives}")
        self.trunk, self.mpp, self.count, self.mean, self.std, self.frozen = trunk, mpp, count, mean, std, frozen
        self.px, self.cells = int(takes[1]), int(gives[1])
        self.trunk.trainable = not frozen
        self.hidden = keras.layers.Conv2D(HIDDEN, 1, activation="relu", name="hidden")
        self.tumor = keras.layers.Conv2D(1, 1, kernel_initializer="zeros", name="tumor")  # untaught, it says nothing

    def build(self, pixels_shape: tuple[int | None, ...]) -> None:
        self.hidden.build(self.trunk.output_shape)
        self.tumor.build((*self.trunk.output_shape[:3], HIDDEN))
        self.built = True

    @property
    def reach(self) -> int:
        """Cells that a square reaches on each side of the one in its middle."""
        return self.cells // 2

    @property
    def parts(self) -> list[keras.layers.Layer]:
        """What learns."""
        return [*([] if self.frozen else [self.trunk]), self.hidden, self.tumor]

    def call(self, pixels: Any) -> Any:
        """(n, px, px, 3) uint8 to (n, C, C)."""
        scaled = (ops.cast(pixels, self.compute_dtype) - self.mean) / self.std
        return self.tumor(self.hidden(self.trunk(scaled, training=False)))[..., 0]

    def get_config(self) -> dict[str, Any]:
        own = {"mpp": self.mpp, "count": self.count, "mean": self.mean, "std": self.std, "frozen": self.frozen}
        return {**super().get_config(), "trunk": keras.saving.serialize_keras_object(self.trunk), **own}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Scout":
        return cls(**{**config, "trunk": keras.saving.deserialize_keras_object(config["trunk"])})


def plain_trunk(px: int, cells: int) -> keras.Model:
    """A trunk with random weights, from px x px pixels to cells x cells; px is cells times a power of 2, at most 32.

    Raises ValueError for other sides.
    """
    halvings = (px // cells).bit_length() - 1
    if px != cells << halvings or not 0 < halvings <= len(FILTERS):
        raise ValueError(f"px must be cells times 2, 4, ... {1 << len(FILTERS)}. Received: {px} for {cells} cells")
    pixels = keras.Input((px, px, 3))
    seen = pixels
    for filters in FILTERS[:halvings]:
        for layer in block(filters, 3, 2):
            seen = layer(seen)
    return keras.Model(pixels, seen, name="trunk")


def cut(network: keras.Model, cells: int) -> keras.Model:
    """The part of a convolutional network up to its last map of cells x cells positions.

    Raises ValueError where it has none.
    """
    while len(network.layers) > 1 and isinstance(network.layers[1], keras.Model):
        network = network.layers[1]  # a network in a wrapper
    maps = [
        layer.output
        for layer in network.layers
        if isinstance(layer.output, keras.KerasTensor) and layer.output.shape[1:-1] == (cells, cells)
    ]
    if not maps:
        raise ValueError(f"has no map of {cells} x {cells} positions of squares of {network.input_shape[1]} px")
    return keras.Model(network.inputs[0], maps[-1], name="trunk")
