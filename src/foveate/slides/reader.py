"""What reads regions of a slide: the interface of both readers."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from foveate.errors import SlideError
from foveate.slides.tiff import TiffImage

Region = tuple[int, int, NDArray[np.uint8]]  # x, y in px of a level, and the array (h, w, 3) to fill from there on


class Tally:
    """Pixels that readers decoded; any number of threads may add."""

    def __init__(self) -> None:
        self.decoded_px = 0
        self._lock = threading.Lock()

    def add(self, decoded_px: int) -> None:
        """Count some more."""
        with self._lock:
            self.decoded_px += decoded_px


class Reader(ABC):
    """Fills regions of a level. Outside the slide and in absent tiles they have the background's colour.

    Any number of threads may share a reader.
    """

    kind: str
    images: Sequence[TiffImage] = ()  # where the tiles of each level lie, for a reader that needs to know

    @abstractmethod
    def read_many(self, level: int, regions: Sequence[Region]) -> dict[int, SlideError]:
        """Fill regions of one level; number of a region -> why it could not be read, naming level and tile.

        Whether a region can be read does not depend on the others.
        """

    def read(self, x_lv: int, y_lv: int, level: int, out: NDArray[np.uint8]) -> None:
        """Fill `out` (h, w, 3) from (x, y) of a level on. Raises SlideError, naming level and tile, if it cannot."""
        for error in self.read_many(level, [(x_lv, y_lv, out)]).values():
            raise error
