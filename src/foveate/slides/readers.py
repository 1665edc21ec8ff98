"""Two ways to read a region of a slide, behind one interface.

OpenSlide is the reference and reads every format. The region-of-interest reader reads TIFF and SVS with JPEG
tiles several times as fast, where it has proven on this very slide that it gives the same pixels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import openslide
from numpy.typing import NDArray

from foveate.errors import SlideError
from foveate.slides.geometry import Geometry
from foveate.slides.handle import Slide, composite, open_slide
from foveate.slides.jpeg import library
from foveate.slides.overview_file import StoredOverview
from foveate.slides.reader import Reader, Region, Tally
from foveate.slides.tiff import TiffImage
from foveate.slides.tiles import TileCache, TileReader

ROUNDING = 2  # grey levels
CROP_PX = 64  # side of the crops on which both readers are compared
ALIGNED = 0.004  # level pixels; OpenSlide blurs what lies between two


@dataclass(frozen=True)
class Caches:
    """Decoded tiles that all slides of a sensor share, those of each reader for itself, and what was decoded."""

    tiles: TileCache
    openslide: openslide.OpenSlideCache
    tally: Tally = field(default_factory=Tally)


class OpenSlideReader(Reader):
    """The reference. Any number of threads may share it; a bad tile harms only those who read it.

    tally: counts the pixels that OpenSlide gives; it does not say how many it decoded for them.
    """

    kind = "openslide"

    def __init__(
        self,
        slide: Slide,
        background_rgb: tuple[int, int, int],
        cache: openslide.OpenSlideCache | None = None,
        tally: Tally | None = None,
    ) -> None:
        self._slide, self._background, self._cache, self._tally = slide, background_rgb, cache, tally or Tally()
        if cache is not None:
            slide.handle.set_cache(cache)

    def read_many(self, level: int, regions: Sequence[Region]) -> dict[int, SlideError]:
        """See Reader."""
        errors = {}
        for number, region in enumerate(regions):
            try:
                self._fill(level, *region)
            except SlideError as error:
                errors[number] = error
        return errors

    def _fill(self, level: int, x_lv: int, y_lv: int, out: NDArray[np.uint8]) -> None:
        """OpenSlide fails every read of a handle after one bad tile, so a failed read gets a new one."""
        slide = self._slide
        height, width = out.shape[:2]
        try:
            found = slide.read(x_lv, y_lv, level, width, height)
        except SlideError:
            self._slide = self._fresh(slide)
            found = self._fresh(slide).read(x_lv, y_lv, level, width, height)
        self._tally.add(width * height)
        out[:] = composite(found, self._background)

    def _fresh(self, slide: Slide) -> Slide:
        fresh = slide.reopen()
        if self._cache is not None:
            fresh.handle.set_cache(self._cache)
        return fresh


def pyramid(geometry: Geometry, images: Sequence[TiffImage] | None) -> list[TiffImage] | str:
    """The image of a TIFF that holds each level; or why there is none.

    A level may be smaller than its image: Philips pads images to whole tiles, and OpenSlide cuts that off.
    """
    if images is None:
        return "it is no TIFF"
    tiled = [image for image in images if image.jpeg]
    found = []
    for level, size in enumerate(geometry.sizes_lv):
        fits = [
            image
            for image in tiled
            if all(side <= has < side + tile for side, has, tile in zip(size, image.size, image.tile, strict=True))
        ]
        if not fits:
            return f"level {level} has no JPEG tiles"
        found.append(min(fits, key=lambda image: image.size))
        tiled.remove(found[-1])  # padded, the smallest levels may be of one size
    return found


def choose_reader(slide: Slide, images: Sequence[TiffImage] | None) -> tuple[Reader, str]:
    """The region-of-interest reader if it gives the pixels that OpenSlide gives, else OpenSlide; and why.

    Compared on crops at corners, edges, where tiles meet, and in an absent tile, of every level.
    """
    reference = OpenSlideReader(slide.reopen(), slide.background_rgb)  # a bad tile would spoil the caller's handle
    levels = pyramid(slide.geometry, images)
    if isinstance(levels, str):
        return reference, levels
    if library() is None:
        return reference, "TurboJPEG 3 is not installed"
    if slide.vendor == "aperio" and any(len(image.absent) for image in levels):
        return reference, "OpenSlide draws around absent tiles of an Aperio slide from its finer levels"
    reader = TileReader(slide.name, slide.path, slide.geometry, levels, slide.background_rgb, TileCache(0))
    mine, expected = (np.empty((CROP_PX, CROP_PX, 3), np.uint8) for _ in range(2))
    for level, image in enumerate(levels):
        for x, y in _crops(slide.geometry, level, image):
            try:
                reference.read(x, y, level, expected)
            except SlideError:
                continue  # a bad tile is the same for both
            try:
                reader.read(x, y, level, mine)
            except SlideError as error:
                return reference, error.reason
            difference = int(np.abs(mine.astype(np.int16) - expected).max())
            if difference > ROUNDING:
                return reference, f"at ({x}, {y}) of level {level} its tiles differ from OpenSlide by {difference}"
    return reader, "its JPEG tiles give the pixels that OpenSlide gives"


def open_reader(overview: StoredOverview, caches: Caches) -> Reader:
    """Open the reader that was chosen for a slide when its overview was made.

    Raises
    ------
    SlideError
        If the file is absent, no longer a slide, or not the one that it was.
    """
    try:
        size = overview.path.stat().st_size
    except OSError as error:
        reason = f"{overview.path} cannot be read: {error.strerror}"
        raise SlideError(overview.slide, reason, "correct the path column") from error
    if size != overview.file_bytes:
        raise SlideError(
            overview.slide,
            f"{overview.path} has {size:,} bytes; it had {overview.file_bytes:,} when its overview was made",
            "run the workflow again, or copy the file again",
        )
    background = overview.background_rgb
    if overview.reader == TileReader.kind and library() is not None:
        geometry, images = overview.geometry, overview.images
        try:
            return TileReader(overview.slide, overview.path, geometry, images, background, caches.tiles, caches.tally)
        except OSError as error:
            reason = f"{overview.path} cannot be opened: {error.strerror}"
            raise SlideError(overview.slide, reason, "correct the file's rights") from error
    slide = open_slide(overview.slide, overview.path, overview.geometry.mpp[0])
    return OpenSlideReader(slide, background, caches.openslide, caches.tally)


def _crops(geometry: Geometry, level: int, image: TiffImage) -> Iterator[tuple[int, int]]:
    """Corners (x, y) of crops, px of a level, at which OpenSlide reads whole pixels."""
    width, height = geometry.sizes_lv[level]
    columns, rows = image.grid
    half = CROP_PX // 2
    wanted = [
        (0, 0),
        (width - half, height - half),  # half of it outside
        (width // 2, height - CROP_PX),
        (columns // 2 * image.tile[0] - half, rows // 2 * image.tile[1] - half),  # where four tiles meet
        (width // 3, height // 3),
    ]
    if len(image.absent):
        row, column = divmod(int(image.absent[len(image.absent) // 2]), columns)
        wanted.append((column * image.tile[0] - half, row * image.tile[1] - half))
    for x, y in wanted:
        yield _aligned(max(x, 0), geometry.downsamples[level]), _aligned(max(y, 0), geometry.downsamples[level])


def _aligned(at_lv: int, downsample: float) -> int:
    """The nearest pixel at or before `at_lv` that begins at a whole level-0 pixel."""
    for at in range(at_lv, -1, -1):
        if abs(round(at * downsample) / downsample - at) < ALIGNED:
            return at
    return 0
