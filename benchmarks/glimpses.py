"""Glimpses per CPU second: our batch call, plain OpenSlide, and decoding just the touched tiles whole.

    python benchmarks/glimpses.py                  (about 4 minutes on two cores, 0.7 GB of temporary files)

Makes a 256 px-tile SVS and a 512 px-tile BigTIFF of 25,600 x 25,600 px at 0.5 um/px, and reads glimpses of three
squares of 96 px at 0.5, 2 and 8 um/px: uniformly over the slide, and local, sixteen to a place with a standard
deviation of 250 um. Rounds of the three ways take turns, each with fresh handles and caches, opening included:

ours        GlimpseSensor.read, in batches of 16 as a rollout asks
openslide   three read_region calls a glimpse around the same level-0 pixel, nothing else; one handle, OpenSlide's cache
aligned     the same calls at whole pixels of the level, as our sensor asks: OpenSlide at its best
whole       every tile that our reader touches for a glimpse, decoded whole by libjpeg-turbo, from memory; and, where
            it says once, every tile of a batch only once

Then the cost against size: SVS of 5,120, 20,480 and 61,440 px a side, rollouts of 16 fixations, each a call, with a
fresh sensor for each rollout, opening included; the largest slide's time a glimpse over the smallest one's. Without a
tile cache, because that would serve the small slide better; with it as well.

The last line is one JSON object; worst_ratio_* are on one thread, over both slides and both kinds of places.
"""

import argparse
import itertools
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import openslide
import periodic_slide
from numpy.typing import NDArray

from foveate.cohort.samples import Sample
from foveate.config import read_config
from foveate.slides import sensor as sensor_module
from foveate.slides.geometry import sides_px, window
from foveate.slides.jpeg import RegionDecoder
from foveate.slides.overview_file import StoredOverview, read_overview
from foveate.slides.sensor import GlimpseSensor
from foveate.slides.tiff import TiffImage, read_tiff
from foveate.stages.overview import survey

SCALES_MPP, PX, MPP, SIDE = (0.5, 2.0, 8.0), 96, 0.5, 25_600
BATCH, LOCAL_UM, EDGE_UM = 16, 250.0, 400.0
SIDES, ROLLOUTS = (5_120, 20_480, 61_440), 24
CONFIG = Path(__file__).parents[1] / "config" / "config.yaml"
Places = NDArray[np.float64]


def make_slide(folder: Path, name: str, side: int = SIDE) -> StoredOverview:
    """Write a slide and run the overview stage on it."""
    aperio = name.endswith("svs")
    path = folder / name
    tile, step, levels = (256, 4, 3) if aperio else (512, 2, 6)
    periodic_slide.write(path, side, tile=tile, step=step, levels=levels, mpp=MPP, aperio=aperio)
    overview = folder / f"{name}.h5"
    config = read_config(CONFIG)
    config = replace(config, glimpse=replace(config.glimpse, px=PX, scales_mpp=SCALES_MPP))
    if not survey(config, Sample(path.stem, "patient", path), overview, folder / f"{name}.json"):
        raise SystemExit((folder / f"{name}.json").read_text())
    stored = read_overview(overview)
    if stored is None or stored.reader != "tiles":
        raise SystemExit(f"{name} is not read by the region-of-interest reader")
    return stored


def places(count: int, kind: str, seed: int, side: int = SIDE) -> Places:
    """(count, 2) um, x and y, in batches of BATCH."""
    rng = np.random.default_rng(seed)
    reach = side * MPP - EDGE_UM
    if kind == "uniform":
        return rng.uniform(EDGE_UM, reach, (count, 2))
    middles = rng.uniform(EDGE_UM, reach, (count // BATCH, 1, 2))
    return np.clip(middles + rng.normal(0, LOCAL_UM, (count // BATCH, BATCH, 2)), EDGE_UM, reach).reshape(-1, 2)


def ours(overview: StoredOverview, where: Places, threads: int, batch_size: int = BATCH) -> None:
    """The batch call, with a new sensor."""
    with GlimpseSensor(SCALES_MPP, PX, threads) as sensor:
        for first in range(0, len(where), batch_size):
            batch = where[first : first + batch_size]
            seen = sensor.read([overview] * len(batch), batch)
            if seen.errors:
                raise SystemExit(str(next(iter(seen.errors.values()))))


def plain(overview: StoredOverview, where: Places, threads: int, aligned: bool) -> None:
    """Three read_region calls a glimpse."""
    geometry = overview.geometry
    levels = [geometry.level_for(scale, overview.slide) for scale in SCALES_MPP]
    with openslide.OpenSlide(overview.path) as slide, ThreadPoolExecutor(threads) as pool:

        def read(rows: Places) -> None:
            for x, y in rows.tolist():
                for level in levels:
                    pixel_um = geometry.pixel_um(level)
                    downsample = int(geometry.downsamples[level])
                    if aligned:
                        left, top = (side * downsample for side in window((x, y), (PX, PX), pixel_um))
                    else:
                        left, top = (round(at / MPP - PX / 2 * downsample) for at in (x, y))
                    slide.read_region((left, top), level, (PX, PX))

        list(pool.map(read, np.array_split(where, threads)))


class WholeTiles:
    """The tiles that our reader touches, in memory beforehand, and their decoding."""

    def __init__(self, overview: StoredOverview, where: Places) -> None:
        self._overview = overview
        self._images = {image.size: image for image in read_tiff(overview.path) or ()}
        self._decoder = RegionDecoder()
        self.each = [self._touched(x, y) for x, y in where.tolist()]
        self.once = [set().union(*self.each[k : k + BATCH]) for k in range(0, len(self.each), BATCH)]
        with overview.path.open("rb") as file:
            self._data = {key: self._read(file, *key) for key in set().union(*self.once)}

    def _image(self, level: int) -> TiffImage:
        return self._images[self._overview.geometry.sizes_lv[level]]

    def _touched(self, x_um: float, y_um: float) -> set[tuple[int, int]]:
        found = set()
        for scale in SCALES_MPP:
            if scale >= self._overview.rasters()[1].mpp:
                continue
            level = self._overview.geometry.level_for(scale, self._overview.slide)
            pixel_um, image = self._overview.geometry.pixel_um(level), self._image(level)
            x, y = window((x_um, y_um), sides_px(scale * PX, PX, pixel_um), pixel_um)
            for row in range(y // image.tile[1], (y + PX - 1) // image.tile[1] + 1):
                for column in range(x // image.tile[0], (x + PX - 1) // image.tile[0] + 1):
                    found.add((level, row * image.grid[0] + column))
        return found

    def _read(self, file, level: int, index: int) -> bytes:  # type: ignore[no-untyped-def]
        file.seek(self._image(level).offsets[index])
        return file.read(int(self._image(level).counts[index]))

    def decode(self, sets: Sequence[set[tuple[int, int]]], threads: int) -> None:
        """Decode each tile of each set."""

        def work(part: Sequence[set[tuple[int, int]]]) -> None:
            for keys in part:
                for key in keys:
                    tile = self._image(key[0]).tile
                    self._decoder.decode(self._data[key], 0, 0, *tile, tile[0])  # into a buffer that is used again

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, [sets[k::threads] for k in range(threads)]))


def cpu(work: Callable[[], None]) -> float:
    """CPU seconds of a call, over all threads."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def compare(overview: StoredOverview, kind: str, count: int, rounds: int, threads: int) -> dict[str, float]:
    """Median over rounds of each way's CPU time over ours."""
    ratios: dict[str, list[float]] = {"openslide": [], "aligned": [], "whole": [], "whole_once": []}
    rates = []
    for number in range(rounds + 1):
        where = places(count, kind, number)
        tiles = WholeTiles(overview, where)
        mine = cpu(lambda w=where: ours(overview, w, threads))
        other = cpu(lambda w=where: plain(overview, w, threads, aligned=False))
        best = cpu(lambda w=where: plain(overview, w, threads, aligned=True))
        whole = cpu(lambda t=tiles: t.decode(t.each, threads))
        once = cpu(lambda t=tiles: t.decode(t.once, threads))
        if number == 0:
            continue  # the first warms the page cache up
        rates.append(count / mine)
        for name, value in zip(ratios, (other, best, whole, once), strict=True):
            ratios[name].append(value / mine)
    return {"glimpses_per_cpu_second": statistics.median(rates)} | {k: statistics.median(v) for k, v in ratios.items()}


def against_size(overviews: dict[int, StoredOverview], rounds: int, cache_bytes: int) -> dict[int, float]:
    """Microseconds of CPU a glimpse, by side of the slide in px; sides take turns."""
    kept, sensor_module.TILE_BYTES = sensor_module.TILE_BYTES, cache_bytes
    times: dict[int, list[float]] = {side: [] for side in overviews}
    for number in range(rounds + 1):
        for side, overview in overviews.items():
            where = places(BATCH * ROLLOUTS, "uniform", number, side)
            spent = sum(
                cpu(lambda o=overview, w=where[k : k + BATCH]: ours(o, w, 1, batch_size=1))
                for k in range(0, len(where), BATCH)
            )
            if number:
                times[side].append(spent / len(where) * 1e6)
    sensor_module.TILE_BYTES = kept
    return {side: statistics.median(spent) for side, spent in times.items()}


def main() -> None:
    """Make the slides, take turns, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=960, help="glimpses a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where to make the slides; a temporary folder by default")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        found, found_size = {}, {}
        print("slide      places   threads  ours/CPU s     over: OpenSlide  aligned  whole tiles  each once")
        for name in ("slide.svs", "slide.tif"):
            overview = make_slide(Path(folder), name)
            for kind, threads in itertools.product(("uniform", "local"), (1, os.cpu_count() or 2)):
                row = found[f"{name} {kind} {threads}"] = compare(overview, kind, args.count, args.rounds, threads)
                print(
                    f"{name:10} {kind:8} {threads:7}  {row['glimpses_per_cpu_second']:10.0f}  {row['openslide']:18.2f}"
                    f"  {row['aligned']:7.2f}  {row['whole']:11.2f}  {row['whole_once']:9.2f}"
                )
        sized = {side: make_slide(Path(folder), f"{side}.svs", side) for side in SIDES}
        for cache_bytes in (0, sensor_module.TILE_BYTES):
            spent = against_size(sized, args.rounds, cache_bytes)
            found_size[cache_bytes > 0] = spent[SIDES[-1]] / spent[SIDES[0]]
            each = ", ".join(f"{side:,} px: {time:.0f}" for side, time in spent.items())
            print(f"CPU us a glimpse, {'with' if cache_bytes else 'without'} a tile cache: {each}")
    single = [row for name, row in found.items() if name.endswith(" 1")]
    worst = {
        "worst_ratio_to_openslide": min(row["openslide"] for row in single),
        "worst_ratio_to_openslide_aligned": min(row["aligned"] for row in single),
        "worst_ratio_to_whole_tiles": min(row["whole"] for row in single),
        "worst_ratio_to_whole_tiles_once": min(row["whole_once"] for row in single),
        "largest_to_smallest_slide": found_size[False],
        "largest_to_smallest_slide_cached": found_size[True],
    }
    print(json.dumps({name: round(value, 3) for name, value in worst.items()}))


if __name__ == "__main__":
    main()
