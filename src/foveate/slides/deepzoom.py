"""A slide as Deep Zoom tiles, for people to look at: level k is half as large as level k + 1, the last is level 0."""

import io

import openslide
from openslide.deepzoom import DeepZoomGenerator

from foveate.errors import SlideError
from foveate.slides.handle import READ_ERRORS, Slide

TILE_PX, OVERLAP_PX = 254, 1
QUALITY = 88
MOST_PX = 4096**2  # that one tile is made of: beyond, a pyramid without coarse levels would fill the memory


class DeepZoom:
    """The tiles of an open slide. Pixels of the finest level are level-0 pixels: unscanned margins are not cut off.

    size_l0: (width, height). first, last: the coarsest and the finest level that there are tiles of.
    """

    def __init__(self, slide: Slide, cache: openslide.OpenSlideCache | None = None) -> None:
        self.slide = slide
        if cache is not None:
            slide.handle.set_cache(cache)
        self._tiles = DeepZoomGenerator(slide.handle, TILE_PX, OVERLAP_PX, limit_bounds=False)
        self.size_l0: tuple[int, int] = slide.geometry.sizes_lv[0]
        self.last = self._tiles.level_count - 1
        self.first = next(level for level in range(self.last + 1) if self._read_px(level) <= MOST_PX)

    def tile(self, level: int, column: int, row: int) -> bytes | None:
        """A tile as JPEG, over the slide's background; None where there is none.

        Raises
        ------
        SlideError
            If it cannot be decoded. The slide is of no use afterwards: every later read fails.
        """
        if not self.first <= level <= self.last:
            return None
        columns, rows = self._tiles.level_tiles[level]
        if not (0 <= column < columns and 0 <= row < rows):
            return None
        try:
            picture = self._tiles.get_tile(level, (column, row))
        except READ_ERRORS as error:
            reason = f"cannot read tile {column}, {row} (column, row) of Deep Zoom level {level}: {error}"
            raise SlideError(self.slide.name, reason, "copy the file again") from error
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=QUALITY, icc_profile=None)
        return stream.getvalue()

    def _read_px(self, level: int) -> int:
        """How many pixels of the slide the first tile of a level is made of."""
        width, height = self._tiles.get_tile_coordinates(level, (0, 0))[2]
        return width * height
