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
        (B, N) int, cells as indices into R * C.
        """
        maps = self.net(self._relative(overview, tissue))
        slides, rows, columns = ops.shape(maps)[:3]
        first = ops.arange(slides, dtype=candidates.dtype)[:, None] * rows * columns  # cell of each slide, among all
        cells = ops.take(ops.reshape(maps, (-1, self.features)), first + candidates, axis=0)
        return cells, self.salience(cells)[..., 0]

    def _relative(self, overview: Any, tissue: Any) -> Any:
        """Colours in units of twice the spread of the tissue cells' own, around their mean."""
        image = ops.cast(overview, self.compute_dtype)
        pooled = ops.average_pool(image, self.cell_px, self.cell_px)
        weight = ops.cast(tissue, self.compute_dtype)[..., None]
        count = ops.sum(weight, axis=(1, 2), keepdims=True)
        mean = ops.sum(pooled * weight, axis=(1, 2), keepdims=True) / count
        variance = ops.sum((pooled - mean) ** 2 * weight, axis=(1, 2), keepdims=True) / count
        slope = 0.5 / (ops.sqrt(variance) + 255.0 * LEAST_SPREAD)
        slides, height, width, colours = ops.shape(image)

        def along(each: Any) -> Any:
            return ops.tile(ops.reshape(each, (slides, 1, colours)), (1, 1, width))

        # row by row: TensorFlow repeats numbers along an axis of three colours at a sixth of that speed
        rows = ops.reshape(image, (slides, height, width * colours))
        return ops.reshape(rows * along(slope) - along(mean * slope), (slides, height, width, colours))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "features": self.features, "cell_px": self.cell_px}
