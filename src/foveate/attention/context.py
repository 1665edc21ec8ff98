"""The context network: the overview, as features of its cells (Ba et al. 2015, section 3)."""

from typing import Any

import keras
from keras import ops

from foveate.attention.registry import PACKAGE

REACH = 3  # cells; what is farther away changes no feature of a cell: two convolutions over cells, and pixels beside it
LEAST_SPREAD = 0.02  # of the cells' colours, in units of full scale: a uniform slide is not blown up


@keras.saving.register_keras_serializable(PACKAGE)
class ContextNetwork(keras.layers.Layer):
    """A small convolution net over the overview, one feature vector and one salience a cell.

    It feeds the location path alone. The class is read from glimpses, so that it cannot be guessed from
    the low resolution.

    Parameters
    ----------
    features : length C of a cell's vector.
    cell_px : side of a cell in overview pixels, a multiple of 4.
    """

    def __init__(self, features: int, cell_px: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.features, self.cell_px = features, cell_px
        conv = keras.layers.Conv2D
        self.net = keras.Sequential(
            [
                conv(16, 3, 2, padding="same", activation="relu"),
                conv(features, 3, 2, padding="same", activation="relu"),
                keras.layers.MaxPooling2D(cell_px // 4) if cell_px > 4 else keras.layers.Identity(),
                conv(features, 3, padding="same", activation="relu"),
                conv(features, 3, padding="same", activation="relu"),
            ],
            name="net",
        )
        self.salience = keras.layers.Dense(1, use_bias=False, name="salience")

    def build(self, overview_shape: tuple[int | None, ...]) -> None:
        self.net.build((None, None, None, 3))
        self.salience.build((None, self.features))

    def call(self, overview: Any, tissue: Any, candidates: Any) -> tuple[Any, Any]:
        """Features (B, N, features) and salience (B, N) of the candidates.

        overview: (B, R * cell_px, C * cell_px, 3) uint8. tissue: (B, R, C) bool, cells with tissue; colours are
        taken relative to theirs, because stains differ more between slides than tissues within one. candidates:
        (B, N) int, cells as indices into R * C, REACH cells away from the grid's edges.
        """
        maps = self._edges(overview, tissue)
        for layer in self.net.layers[1:]:
            maps = layer(maps)
        slides, rows, columns = ops.shape(maps)[:3]
        first = ops.arange(slides, dtype=candidates.dtype)[:, None] * rows * columns  # cell of each slide, among all
        cells = ops.take(ops.reshape(maps, (-1, self.features)), first + candidates, axis=0)
        return cells, self.salience(cells)[..., 0]

    def _edges(self, overview: Any, tissue: Any) -> Any:
        """The first convolution, of colours in units of twice the spread of the tissue cells' own, around their mean.

        Relative colours are a slope and a shift. The shift goes into the biases, and of one slide the slope into the
        weights: copies of a large image take longer than all convolutions. Beyond the right and the bottom edge all is
        black, so tissue cells need REACH cells around them.
        """
        conv, image = self.net.layers[0], ops.cast(overview, self.compute_dtype)
        mean, slope = self._contrast(image, tissue)
        kernel = conv.kernel
        bias = conv.bias - ops.einsum("hwcf,bc->bf", kernel, mean * slope)
        if image.shape[0] == 1:
            kernel = kernel * slope[0][:, None]
        else:
            slides, height, width, colours = ops.shape(image)
            # row by row: TensorFlow repeats numbers along an axis of three colours at a sixth of that speed
            along = ops.tile(slope[:, None], (1, 1, width))
            image = ops.reshape(ops.reshape(image, (slides, height, width * colours)) * along, ops.shape(image))
        return ops.relu(ops.conv(image, kernel, conv.strides, conv.padding) + bias[:, None, None])

    def _contrast(self, image: Any, tissue: Any) -> tuple[Any, Any]:
        """Mean of the tissue cells' colours, and half of one over their spread: (B, 3) each."""
        pooled = ops.average_pool(image, self.cell_px, self.cell_px)
        weight = ops.cast(tissue, self.compute_dtype)[..., None]
        count = ops.sum(weight, axis=(1, 2))
        mean = ops.sum(pooled * weight, axis=(1, 2)) / count
        variance = ops.sum((pooled - mean[:, None, None]) ** 2 * weight, axis=(1, 2)) / count
        return mean, 0.5 / (ops.sqrt(variance) + 255.0 * LEAST_SPREAD)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "features": self.features, "cell_px": self.cell_px}
