"""The lazy glimpse sensor: reads what the model asks for, where it asks, in threads.

A glimpse is S concentric squares of g x g px, one a scale (Mnih et al. 2014, section 3.1), read from the
slide's levels through OpenSlide, or from the stored overview where the scale is as coarse as that.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import openslide
from numpy.typing import NDArray
from PIL import Image

from foveate.errors import SlideError
from foveate.slides.geometry import EQUAL, Window, window
from foveate.slides.handle import Slide, composite, open_slide
from foveate.slides.overview_file import StoredOverview

MAX_HANDLES = 64  # an open handle takes about 33 MB
TILE_CACHE_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Glimpses:
    """pixels: (B, S, g, g, 3) uint8, finest scale first. errors: row -> why it could not be read."""

    pixels: NDArray[np.uint8]
    errors: dict[int, SlideError]


class HandleCache:
    """At most `size` open slides, the least recently used closed first, one tile cache for all."""

    def __init__(self, size: int = MAX_HANDLES) -> None:
        self._size = size
        self._open: OrderedDict[str, Slide] = OrderedDict()
        self._lock = threading.Lock()
        self._tiles = openslide.OpenSlideCache(TILE_CACHE_BYTES)

    def get(self, overview: StoredOverview) -> Slide:
        """The open slide of an overview. A closed handle lives on until the last reader lets go of it."""
        with self._lock:
            if overview.slide in self._open:
                self._open.move_to_end(overview.slide)
                return self._open[overview.slide]
            slide = _open(overview)
            slide.handle.set_cache(self._tiles)
            self._open[overview.slide] = slide
            while len(self._open) > self._size:
                self._open.popitem(last=False)
            return slide

    def drop(self, slide: Slide) -> None:
        """Forget a handle. OpenSlide fails every read of a handle after one bad tile, so it must be reopened."""
        with self._lock:
            if self._open.get(slide.name) is slide:
                del self._open[slide.name]


class GlimpseSensor:
    """Reads glimpses of many slides.

    Parameters
    ----------
    scales_mpp : um per pixel of each scale, finest first.
    px : side g of every square.
    threads : readers; OpenSlide releases the interpreter lock.
    """

    def __init__(self, scales_mpp: Sequence[float], px: int, threads: int) -> None:
        self.scales_mpp, self.px = tuple(scales_mpp), px
        self._handles = HandleCache()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="glimpse")

    def check(self, overview: StoredOverview) -> list[str]:
        """Warnings about the scales of a slide. Raises SlideError if it is too coarse for one of them."""
        warnings = []
        for scale in self.scales_mpp:
            level = overview.geometry.level_for(scale, overview.slide)
            found = overview.geometry.level_mpp(level)
            if found > scale * EQUAL:
                warnings.append(f"the glimpse scale of {scale:g} um/px is upsampled from {found:.4g} um/px")
        return warnings

    def read(self, overviews: Sequence[StoredOverview], locations_um: NDArray[np.floating]) -> Glimpses:
        """Read one glimpse a row.

        Parameters
        ----------
        overviews : B slides, repeats allowed.
        locations_um : (B, 2) glimpse centres (x, y), um from the level-0 corner. Outside the slide is glass.
        """
        pixels = np.empty((len(overviews), len(self.scales_mpp), self.px, self.px, 3), np.uint8)
        errors: dict[int, SlideError] = {}

        def fill(row: int) -> None:
            try:
                self._fill(pixels[row], overviews[row], locations_um[row])
            except SlideError as error:
                pixels[row] = 0
                errors[row] = error

        list(self._pool.map(fill, range(len(overviews))))
        return Glimpses(pixels, dict(sorted(errors.items())))

    def close(self) -> None:
        """Stop the threads."""
        self._pool.shutdown()

    def __enter__(self) -> "GlimpseSensor":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _fill(self, out: NDArray[np.uint8], overview: StoredOverview, location_um: NDArray[np.floating]) -> None:
        x, y = map(float, location_um)
        for k, scale in enumerate(self.scales_mpp):
            if scale * EQUAL >= overview.mpp:
                out[k] = self._from_overview(overview, (x, y), scale)
            else:
                out[k] = self._from_slide(overview, (x, y), scale)

    def _from_slide(self, overview: StoredOverview, centre: tuple[float, float], scale: float) -> NDArray[np.uint8]:
        geometry = overview.geometry
        level = geometry.level_for(scale, overview.slide)
        pixel_um = (
            geometry.mpp[0] * geometry.downsamples[level],
            geometry.mpp[1] * geometry.downsamples[level],
        )
        view = window(centre, scale * self.px, self.px, pixel_um)
        return composite(self._resize(self._region(overview, view, level), view), overview.background_rgb)

    def _region(self, overview: StoredOverview, view: Window, level: int) -> Image.Image:
        """Read a window. A bad tile spoils the handle for all its readers, so one that fails tries again by itself:
        which rows have an error depends on where they look, and not on what was read at the same time.
        """
        place = (view.x_lv, view.y_lv, level, int(np.ceil(view.width_lv)), int(np.ceil(view.height_lv)))
        slide = self._handles.get(overview)
        try:
            return slide.read(*place)
        except SlideError:
            self._handles.drop(slide)
        slide = _open(overview)
        try:
            return slide.read(*place)
        finally:
            slide.handle.close()

    def _from_overview(self, overview: StoredOverview, centre: tuple[float, float], scale: float) -> NDArray[np.uint8]:
        view = window(centre, scale * self.px, self.px, (overview.mpp, overview.mpp), overview.origin_um)
        wide, tall = int(np.ceil(view.width_lv)), int(np.ceil(view.height_lv))
        crop = np.empty((tall, wide, 3), np.uint8)
        crop[:] = overview.background_rgb
        rows, columns = overview.thumbnail.shape[:2]
        top, bottom = np.clip((view.y_lv, view.y_lv + tall), 0, rows)
        left, right = np.clip((view.x_lv, view.x_lv + wide), 0, columns)
        crop[top - view.y_lv : bottom - view.y_lv, left - view.x_lv : right - view.x_lv] = overview.thumbnail[
            top:bottom, left:right
        ]
        return np.asarray(self._resize(Image.fromarray(crop), view))

    def _resize(self, image: Image.Image, view: Window) -> Image.Image:
        """The mean of the area that each output pixel covers."""
        if image.size == (self.px, self.px) == (view.width_lv, view.height_lv):
            return image
        box = (0, 0, view.width_lv, view.height_lv)
        return image.resize((self.px, self.px), Image.Resampling.BOX, box)


def _open(overview: StoredOverview) -> Slide:
    return open_slide(overview.slide, overview.path, overview.geometry.mpp[0], check=False)
