"""Where an agent looked in some examples, what it saw there, and what it concluded."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class GlimpsePaths:
    """B examples, each one image or a group of N, and T fixations of each.

    images: (B, N, H, W) uint8, grey. where: (B, T, 2), places (x, y); -1 is the left and upper edge, 1 the right and
    lower one. picked: (B, T), the image of each fixation. probabilities: (B, T, K), of the classes after it.
    taken: (B,), after how many of the fixations the agent stopped, 1 to T. labels: (B,). names: K names of classes.
    px, scales: of the sensor, whose square k is px * 2^k image pixels wide. Raises ValueError when the shapes do not
    belong together.
    """

    images: NDArray[np.uint8]
    where: NDArray[np.floating]
    picked: NDArray[np.integer]
    probabilities: NDArray[np.floating]
    taken: NDArray[np.integer]
    labels: NDArray[np.integer]
    names: tuple[str, ...]
    px: int
    scales: int

    def __post_init__(self) -> None:
        count, steps = self.picked.shape
        if self.images.ndim != 4 or len(self.images) != count:
            raise ValueError(f"images: expected the shape ({count}, N, H, W). Received: {self.images.shape}")
        for name, shape in (
            ("where", (count, steps, 2)),
            ("probabilities", (count, steps, len(self.names))),
            ("taken", (count,)),
            ("labels", (count,)),
        ):
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name}: expected the shape {shape}. Received: {getattr(self, name).shape}")

    @property
    def steps(self) -> int:
        return self.picked.shape[1]

    def answer(self, example: int, step: int) -> tuple[int, float]:
        """The most probable class after a fixation, and its probability."""
        probabilities = self.probabilities[example, step]
        return int(probabilities.argmax()), float(probabilities.max())

    def square(self, example: int, step: int, scale: int) -> tuple[int, int, int]:
        """Left, top and width, in image pixels, of a square of the sensor; it may reach beyond the image."""
        width = self.px * 2**scale
        x, y = self.where[example, step]
        high, wide = self.images.shape[2:]
        return _first(x, wide, width), _first(y, high, width), width

    def seen(self, example: int, step: int) -> NDArray[np.uint8]:
        """The glimpse (S, g, g), finest scale first: means over 2^k x 2^k px, black beyond the image."""
        image = self.images[example, self.picked[example, step]]
        squares = []
        for scale in range(self.scales):
            left, top, width = self.square(example, step, scale)
            cut = np.pad(image, width)[top + width : top + 2 * width, left + width : left + 2 * width]
            squares.append(cut.reshape(self.px, 2**scale, self.px, 2**scale).mean((1, 3)))
        return np.rint(squares).astype(np.uint8)


def _first(at: np.floating, side: int, width: int) -> int:
    """The first pixel of a square, rounded as in `foveate.attention.array_sensor.ArraySensor`, in its precision."""
    return int(np.rint((np.float32(at) + 1) / 2 * side - width / 2))
