"""How the tiles of a TIFF lie in its file. Nothing is decoded here."""

import json
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

NUMBERS: dict[int, str] = {tifffile.DATATYPE.SHORT: "u2", tifffile.DATATYPE.LONG: "u4", tifffile.DATATYPE.LONG8: "u8"}
# what tifffile raises for a directory that makes no sense
UNREADABLE = (tifffile.TiffFileError, struct.error, ValueError, TypeError, LookupError, OSError)
# Adobe's marker with transform 0: the samples are red, green and blue. A JPEG alone would be taken for luma and chroma.
UNTRANSFORMED = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
JPEG_RGB = (7, 3, 8, 1)  # compression, samples, bits, samples of a pixel side by side


@dataclass(frozen=True)
class Tag:
    """Where the numbers of a tag lie: they are read when they are needed, for a slide may have a million tiles."""

    path: Path
    offset: int
    count: int
    dtype: np.dtype[np.unsignedinteger]

    def read(self) -> NDArray[np.int64]:
        """(count,) the numbers. Raises OSError if the file ends before."""
        with self.path.open("rb", buffering=0) as file:
            data = os.pread(file.fileno(), self.count * self.dtype.itemsize, self.offset)
        if len(data) < self.count * self.dtype.itemsize:
            raise OSError("the file ends within its directory")
        return np.frombuffer(data, self.dtype).astype(np.int64)


@dataclass(frozen=True)
class TiffImage:
    """One image of a TIFF: size and tile size in px, (width, height), and where its tiles or strips lie.

    jpeg: whether its tiles are 8-bit RGB JPEGs. tables: what every one of these needs in front, itself a JPEG's frame.
    """

    size: tuple[int, int]
    tile: tuple[int, int]
    jpeg: bool
    tables: bytes
    offset_tag: Tag
    count_tag: Tag

    @property
    def grid(self) -> tuple[int, int]:
        """(columns, rows) of tiles."""
        return -(-self.size[0] // self.tile[0]), -(-self.size[1] // self.tile[1])

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """Byte at which each tile begins."""
        return self.offset_tag.read()

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Bytes of each tile; 0 where it is absent."""
        return self.count_tag.read()

    @property
    def absent(self) -> NDArray[np.intp]:
        """Indices of the tiles that were not written, as scanners leave out bare glass."""
        return np.flatnonzero((self.counts == 0) | (self.offsets == 0))

    @property
    def end(self) -> int:
        """The byte after its last tile."""
        return int((self.offsets + self.counts).max(initial=0))


def read_tiff(path: Path) -> tuple[TiffImage, ...] | None:
    """The images of a TIFF in the order of the file; None if it is no TIFF or one that cannot be understood."""
    try:
        with tifffile.TiffFile(path) as tiff:
            pages = [page for page in tiff.pages if isinstance(page, tifffile.TiffPage)]
            return tuple(image for page in pages if (image := _image(path, tiff, page)) is not None)
    except UNREADABLE:
        return None


def pack(images: Sequence[TiffImage]) -> str:
    """Where tiles lie, as text for `unpack`: a slide with a million tiles takes longest to open by its directory."""
    return json.dumps(
        [
            [image.size, image.tile, image.jpeg, image.tables.hex()]
            + [[tag.offset, tag.count, tag.dtype.str] for tag in (image.offset_tag, image.count_tag)]
            for image in images
        ]
    )


def unpack(path: Path, text: str) -> tuple[TiffImage, ...]:
    """The images that `pack` wrote, in the TIFF at `path`."""
    return tuple(
        TiffImage(
            (size[0], size[1]),
            (tile[0], tile[1]),
            jpeg,
            bytes.fromhex(tables),
            *(Tag(path, offset, count, np.dtype(number)) for offset, count, number in tags),
        )
        for size, tile, jpeg, tables, *tags in json.loads(text)
    )


def _image(path: Path, tiff: tifffile.TiffFile, page: tifffile.TiffPage) -> TiffImage | None:
    kind = "Tile" if page.is_tiled else "Strip"
    places = [_place(path, tiff, page, f"{kind}{name}") for name in ("Offsets", "ByteCounts")]
    if places[0] is None or places[1] is None or places[0].count != places[1].count:
        return None
    tables = page.jpegtables or b""
    if page.photometric == tifffile.PHOTOMETRIC.RGB:
        tables = b"\xff\xd8" + UNTRANSFORMED + (tables[2:] or b"\xff\xd9")
    form = (page.compression, page.samplesperpixel, page.bitspersample, page.planarconfig)
    return TiffImage(
        size=(page.imagewidth, page.imagelength),
        tile=(page.tilewidth, page.tilelength) if page.is_tiled else (page.imagewidth, page.rowsperstrip),
        jpeg=page.is_tiled and form == JPEG_RGB,
        tables=tables,
        offset_tag=places[0],
        count_tag=places[1],
    )


def _place(path: Path, tiff: tifffile.TiffFile, page: tifffile.TiffPage, name: str) -> Tag | None:
    tag = page.tags.get(name)
    number = None if tag is None else NUMBERS.get(tag.dtype)
    if tag is None or number is None:
        return None
    return Tag(path, tag.valueoffset, tag.count, np.dtype(tiff.byteorder + number))
