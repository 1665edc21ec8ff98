"""The lazy glimpse sensor: reads what the model asks for, where it asks, in threads.

A glimpse is S concentric squares of g x g px, one a scale (Mnih et al. 2014, section 3.1), read from the
slide's levels, or from the stored overview where the scale is as coarse as that.
"""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np
import openslide
from numpy.typing import NDArray

from foveate.errors import SlideError
from foveate.slides.overview_file import StoredOverview
from foveate.slides.readers import Caches, open_reader
from foveate.slides.stain import restain, to_density
from foveate.slides.tiles import TileCache
from foveate.slides.view import View, raster_view, slide_view

MAX_OPEN = 64  # slides; an OpenSlide handle takes about 33 MB
TILE_BYTES = 128 * 2**20  # of decoded tiles held, for each of the two readers
Squares = tuple[tuple[float, ...], int]  # um per pixel of each, finest first, and their side in pixels


@dataclass(frozen=True)
class Glimpses:
    """pixels: (B, S, g, g, 3) uint8, finest scale first. errors: row -> why it could not be read."""

    pixels: NDArray[np.uint8]
    errors: dict[int, SlideError]


class GlimpseSensor:
    """Reads glimpses of many slides. Of these a bounded number is open at a time.

    Parameters
    ----------
    scales_mpp : um per pixel of each scale, finest first. For slides of 10x: 1, 4, 16.
    px : side g of every square.
    threads : readers; decoding releases the interpreter lock.
    stain_od : mean optical density (3,) that the tissue of every slide is given; none leaves the colours alone.
    """

    def __init__(
        self,
        scales_mpp: Sequence[float] = (0.5, 2.0, 8.0),
        px: int = 96,
        threads: int = 8,
        stain_od: Sequence[float] = (),
    ) -> None:
        self.scales_mpp, self.px, self._stain_od = tuple(scales_mpp), px, tuple(stain_od)
        self._glimpse: Squares = self.scales_mpp, px
        self._caches = _caches()
        self._open: OrderedDict[tuple[str, Path, Squares], _Views] = OrderedDict()
        self._lock = threading.Lock()
        self._threads = threads
        self._at_work, self._since = 0, 0.0
        self.busy_s = 0.0  # wall time in which at least one thread was reading
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="glimpse")

    @property
    def decoded_px(self) -> int:
        """Pixels that were decoded of slides so far, see the readers' `tally`. Stored overviews need no decoding."""
        return self._caches.tally.decoded_px

    def forget(self) -> None:
        """Give up open slides, decoded tiles and the count, so that the next read costs what a first one does.

        Not while something is being read.
        """
        with self._lock:
            self._open.clear()
            self._caches = _caches()

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of a glimpse: (S, g, g, 3)."""
        return len(self.scales_mpp), self.px, self.px, 3

    def check(self, overview: StoredOverview) -> list[str]:
        """Warnings about the scales of a slide. Raises SlideError if it is too coarse for one of them."""
        return overview.geometry.upsampled(self.scales_mpp, overview.slide)

    def read(
        self,
        overviews: Sequence[StoredOverview],
        locations_um: NDArray[np.floating],
        out: NDArray[np.uint8] | None = None,
        squares: Squares | None = None,
    ) -> Glimpses:
        """Read one glimpse a row, and wait for it; see `start`."""
        return self.start(overviews, locations_um, out, squares)()

    def read_ahead(
        self,
        requests: Iterable[tuple[Sequence[StoredOverview], NDArray[np.floating]]],
        squares: Squares | None = None,
    ) -> Generator[Glimpses, None, None]:
        """The glimpses of each request in turn; while they are used, the next request is being read.

        requests: overviews and locations_um as `start` takes them; squares: see there. Close it if it is left early:
        that waits for what is being read.
        """
        left = iter(requests)
        due = self._start_next(left, squares)
        try:
            while due is not None:
                glimpses = due()
                due = self._start_next(left, squares)
                yield glimpses
        finally:
            if due is not None:
                due()

    def _start_next(
        self, left: Iterator[tuple[Sequence[StoredOverview], NDArray[np.floating]]], squares: Squares | None
    ) -> Callable[[], Glimpses] | None:
        request = next(left, None)
        return None if request is None else self.start(*request, squares=squares)

    def start(
        self,
        overviews: Sequence[StoredOverview],
        locations_um: NDArray[np.floating],
        out: NDArray[np.uint8] | None = None,
        squares: Squares | None = None,
    ) -> Callable[[], Glimpses]:
        """Have one glimpse a row read while something else is done; what is returned waits for them.

        What is read does not depend on order, threads or what was read before.

        Parameters
        ----------
        overviews : B slides, repeats allowed.
        locations_um : (B, 2) glimpse centres (x, y), um from the level-0 corner. Outside the slide is glass.
        out : (B, S, g, g, 3) uint8 to fill; a new array where none is given.
        squares : to read in place of those of a glimpse.

        Raises
        ------
        ValueError
            If a location is not finite. What cannot be read is in `errors`.
        """
        squares = squares or self._glimpse
        pixels = out
        if pixels is None:
            pixels = np.empty((len(overviews), len(squares[0]), squares[1], squares[1], 3), np.uint8)
        errors: dict[int, SlideError] = {}
        places = np.asarray(locations_um, np.float64).tolist()
        for overview, place in zip(overviews, places, strict=True):
            if not all(map(math.isfinite, place)):
                raise ValueError(f"{overview.slide}: a location must be two finite numbers in um, got {place}")

        def fill(rows: Sequence[int]) -> None:
            for _, group in groupby(rows, key=lambda row: _key(overviews[row])):
                same = list(group)
                found = self._read_slide(
                    overviews[same[0]], squares, [places[row] for row in same], [pixels[row] for row in same]
                )
                for number, error in found.items():
                    pixels[same[number]] = 0
                    errors[same[number]] = error

        # rows of one slide side by side, from its top to its bottom: they share its handle and its tiles
        order = sorted(range(len(overviews)), key=lambda row: (_key(overviews[row]), places[row][1]))
        size = -(-len(order) // self._threads) or 1
        parts = [partial(fill, order[k : k + size]) for k in range(0, len(order), size)]
        work = [self._pool.submit(self._timed, part) for part in parts]

        def finish() -> Glimpses:
            for part in work:
                part.result()
            return Glimpses(pixels, dict(sorted(errors.items())))

        return finish

    def open_ahead(self, overviews: Iterable[StoredOverview]) -> None:
        """Have slides opened while something else is done, for glimpses that come soon.

        One that cannot be opened is among the errors of those glimpses.
        """

        def made(views: _Views) -> None:
            with suppress(SlideError):
                views.made()

        for overview in overviews:
            self._pool.submit(self._timed, partial(made, self._views(overview, self._glimpse)))

    def _timed(self, work: Callable[[], None]) -> None:
        with self._lock:
            self._at_work += 1
            if self._at_work == 1:
                self._since = time.perf_counter()
        try:
            work()
        finally:
            with self._lock:
                self._at_work -= 1
                if not self._at_work:
                    self.busy_s += time.perf_counter() - self._since

    def close(self) -> None:
        """Stop the threads."""
        self._pool.shutdown()

    def __enter__(self) -> "GlimpseSensor":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read_slide(
        self,
        overview: StoredOverview,
        squares: Squares,
        places_um: Sequence[tuple[float, float]],
        outs: Sequence[NDArray[np.uint8]],
    ) -> dict[int, SlideError]:
        """Fill `outs` (S, g, g, 3) with the glimpses of one slide; number of a place -> why it could not be read."""
        views = self._views(overview, squares)
        try:
            scales = views.made()
        except SlideError as error:
            return dict.fromkeys(range(len(outs)), error)
        errors: dict[int, SlideError] = {}
        for k, view in enumerate(scales):
            errors = view.fill(places_um, [out[k] for out in outs]) | errors
        if views.tables is not None:
            for out in outs:
                restain(out, views.tables, out)
        return errors

    def _views(self, overview: StoredOverview, squares: Squares) -> "_Views":
        """The open slide of an overview; the least recently used one is given up, and lives until its last reader."""
        key = (*_key(overview), squares)
        with self._lock:
            views = self._open.get(key)
            if views is None:
                views = self._open[key] = _Views(overview, *squares, self._stain_od, self._caches)
                if len(self._open) > MAX_OPEN:
                    self._open.popitem(last=False)
            else:
                self._open.move_to_end(key)
            return views


def _caches() -> Caches:
    return Caches(TileCache(TILE_BYTES), openslide.OpenSlideCache(TILE_BYTES))


def _key(overview: StoredOverview) -> tuple[str, Path]:
    return overview.slide, overview.path


class _Views:
    """The scales on one slide. Its file is opened at the first glimpse that needs it."""

    def __init__(
        self,
        overview: StoredOverview,
        scales_mpp: Sequence[float],
        px: int,
        stain_od: tuple[float, ...],
        caches: Caches,
    ) -> None:
        self._overview, self._scales, self._px, self._caches = overview, scales_mpp, px, caches
        self._stain_od = stain_od
        self.tables: NDArray[np.uint8] | None = None  # of the stain, see `to_density`
        self._made: list[View] | None = None
        self._lock = threading.Lock()

    def made(self) -> list[View]:
        """One view a scale. Raises SlideError if the slide cannot be opened."""
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made

    def _make(self) -> list[View]:
        overview, reader, views = self._overview, None, []
        try:
            rasters = overview.rasters()
        except OSError as error:
            reason = f"{overview.thumbnail_at.path} cannot be read: {error.strerror}"
            raise SlideError(overview.slide, reason, "run the workflow again") from error
        overview.geometry.upsampled(self._scales, overview.slide)  # or the slide is too coarse
        for scale in self._scales:
            view = raster_view(rasters, overview.background_rgb, scale, self._px)
            if view is None:
                reader = reader or open_reader(overview, self._caches)
                view = slide_view(reader, overview.geometry, overview.slide, scale, self._px)
            views.append(view)
        if self._stain_od:
            self.tables = to_density(overview, self._stain_od)
        return views
