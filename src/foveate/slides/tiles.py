"""The region-of-interest reader: of a JPEG tile, only the rows and columns that a glimpse shows are decoded."""

import dataclasses
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foveate.errors import SlideError
from foveate.slides.geometry import Geometry
from foveate.slides.jpeg import JpegError, shared_decoder
from foveate.slides.reader import Reader, Region, Tally
from foveate.slides.tiff import TiffImage

Key = tuple[str, int, int]  # path, level, index of the tile
Box = tuple[int, int, int, int]  # x, y, width, height in px of a tile
Part = tuple[int, Box, NDArray[np.uint8]]  # number of a region, what it shows of a tile, and where that goes
REMEMBERED = 16_384  # tiles whose touches are counted
RECENT, OFTEN = 24, 4 / 9  # touches that make the running share; E[touches of a tile] = 1 / (1 - share) = 1.8


class TileCache:
    """Whole decoded tiles, the least recently used given up first, and advice on what to decode whole.

    A tile costs about 1.75 times as much whole as one square of it, on average. So a tile is decoded whole at its
    third touch, or at once where lately more than four in nine touches of that level were of tiles touched before.
    """

    def __init__(self, size_bytes: int) -> None:
        self._size, self._used = size_bytes, 0
        self._tiles: OrderedDict[Key, NDArray[np.uint8]] = OrderedDict()
        self._touches: OrderedDict[Key, int] = OrderedDict()
        self._again: dict[int, float] = {}  # level to the running share of touches that were not the first
        self._lock = threading.Lock()

    def get(self, key: Key, size_bytes: int) -> tuple[NDArray[np.uint8] | None, bool]:
        """The tile if it is held, and whether it should be decoded whole if it is not; `size_bytes` is its size."""
        with self._lock:
            before = self._touches.pop(key, 0)
            self._touches[key] = before + 1
            if len(self._touches) > REMEMBERED:
                self._touches.popitem(last=False)
            again = self._again.get(key[1], 0.0)
            self._again[key[1]] = again = again + ((before > 0) - again) / RECENT
            tile = self._tiles.get(key)
            if tile is not None:
                self._tiles.move_to_end(key)
            return tile, size_bytes <= self._size and (before > 1 or again > OFTEN)

    def put(self, key: Key, tile: NDArray[np.uint8]) -> None:
        """Hold a tile."""
        with self._lock:
            if key not in self._tiles and tile.nbytes <= self._size:
                self._tiles[key] = tile
                self._used += tile.nbytes
            while self._used > self._size:
                self._used -= self._tiles.popitem(last=False)[1].nbytes


class TileReader(Reader):
    """Reads regions of a slide from the JPEG tiles of its TIFF. Any number of threads may share it.

    Parameters
    ----------
    images : the image of the TIFF that holds each level, finest first.
    background_rgb : the colour of what lies outside the slide and of absent tiles.
    tally : counts what is decoded: the pixels of a region, or of the whole tile where that is decoded.
    """

    kind = "tiles"

    def __init__(
        self,
        slide: str,
        path: Path,
        geometry: Geometry,
        images: Sequence[TiffImage],
        background_rgb: tuple[int, int, int],
        cache: TileCache,
        tally: Tally | None = None,
    ) -> None:
        self._slide, self._path, self._sizes = slide, str(path), geometry.sizes_lv
        # copies, so that the tables of tiles that they read go when the reader goes
        self.images = tuple(dataclasses.replace(image) for image in images)
        self._background, self._cache, self._tally = background_rgb, cache, tally or Tally()
        self._decoder = shared_decoder()
        self._file = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            os.close(self._file)

    def read_many(self, level: int, regions: Sequence[Region]) -> dict[int, SlideError]:
        """See Reader. A tile that several regions touch is decoded once."""
        touched: dict[tuple[int, int], list[Part]] = {}
        for number, region in enumerate(regions):
            self._split(level, number, region, touched)
        errors: dict[int, SlideError] = {}
        for (row, column), parts in sorted(touched.items()):
            for number, fault in self._fill(level, column, row, parts).items():
                error = SlideError(
                    self._slide,
                    f"tile {column}, {row} (column, row) of level {level} cannot be decoded: {fault}",
                    "copy the file again, or set the exclude column",
                )
                errors.setdefault(number, error)  # of several bad tiles, the same one whatever else is read
        return errors

    def _split(self, level: int, number: int, region: Region, touched: dict[tuple[int, int], list[Part]]) -> None:
        """Add the parts of a region to the tiles that they lie in."""
        x, y, out = region
        (width, height), (tile_width, tile_height) = self._sizes[level], self.images[level].tile
        bottom, right = y + out.shape[0], x + out.shape[1]
        if x < 0 or y < 0 or right > width or bottom > height:
            out[:] = self._background
        bottom, right = min(bottom, height), min(right, width)
        top = max(y, 0)
        while top < bottom:
            row = top // tile_height
            low = min(bottom, (row + 1) * tile_height)
            left = max(x, 0)
            while left < right:
                column = left // tile_width
                far = min(right, (column + 1) * tile_width)
                box = (left - column * tile_width, top - row * tile_height, far - left, low - top)
                part = (number, box, out[top - y : low - y, left - x : far - x])
                touched.setdefault((row, column), []).append(part)
                left = far
            top = low

    def _fill(self, level: int, column: int, row: int, parts: Sequence[Part]) -> dict[int, Exception]:
        """Fill the parts that lie in one tile; number of a region -> why it could not be."""
        image = self.images[level]
        index = row * image.grid[0] + column
        key = (self._path, level, index)
        tile, worth = self._cache.get(key, 3 * image.tile[0] * image.tile[1])
        x = y = 0
        if tile is None:
            try:
                data = self._data(image, index)
            except (OSError, IndexError) as error:
                return {number: error for number, _, _ in parts}
            if data is None:
                for _, _, out in parts:
                    out[:] = self._background
                return {}
            tile = self._whole(image, key, data) if worth else None
            if tile is None:
                x, y, width, height = _around([box for _, box, _ in parts])
                try:
                    tile = self._decoder.decode(data, x, y, width, height, image.tile[0])
                except JpegError as error:
                    if len(parts) == 1:
                        return {parts[0][0]: error}
                    # damage between or beside them harms only those who look there
                    return {n: e for part in parts for n, e in self._fill(level, column, row, [part]).items()}
                self._tally.add(width * height)
        for _, (left, top, width, height), out in parts:
            out[:] = tile[top - y : top - y + height, left - x : left - x + width]
        return {}

    def _whole(self, image: TiffImage, key: Key, data: bytes) -> NDArray[np.uint8] | None:
        """The whole tile, held from now on; None if it is damaged somewhere, perhaps not where it is needed."""
        try:
            tile = self._decoder.decode_whole(data, *image.tile)
        except JpegError:
            return None
        self._cache.put(key, tile)
        self._tally.add(image.tile[0] * image.tile[1])
        return tile

    def _data(self, image: TiffImage, index: int) -> bytes | None:
        count, offset = int(image.counts[index]), int(image.offsets[index])
        if not count or not offset:
            return None
        data = os.pread(self._file, count, offset)
        if len(data) < count:
            raise OSError("the file ends before it")
        return image.tables[:-2] + data[2:] if image.tables else data


def _around(boxes: Sequence[Box]) -> Box:
    """The smallest box that holds all."""
    if len(boxes) == 1:
        return boxes[0]
    left, top = min(box[0] for box in boxes), min(box[1] for box in boxes)
    right, bottom = max(box[0] + box[2] for box in boxes), max(box[1] + box[3] for box in boxes)
    return left, top, right - left, bottom - top
