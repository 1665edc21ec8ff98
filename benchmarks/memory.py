"""Resident memory over a cohort of 1,000 slides, touched in random order, twenty glimpses each.

    python benchmarks/memory.py                  (about a minute on two cores, 1.7 GB of temporary files)

Every slide and overview is a file of its own, by hard links to two of 51,200 px that are made here: handles, maps,
tables of tiles and cached tiles are kept a path, so each costs what a real one costs. Half of the slides are read
through OpenSlide, half by the region-of-interest reader. The last line is one JSON object; growth is the largest
resident size after the first 100 slides over the size there.
"""

import argparse
import json
import os
import resource
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from glimpses import PX, SCALES_MPP, make_slide, places

from foveate.slides.overview_file import Mapped, StoredOverview
from foveate.slides.sensor import GlimpseSensor
from foveate.slides.tiff import pack, unpack

SIDE, SLIDES, GLIMPSES, EVERY = 51_200, 1_000, 20, 100


def resident_mb() -> tuple[float, float]:
    """Resident memory of this process; and how much of it is mapped files, which the system takes back at will."""
    _, resident, shared, *_ = map(int, Path("/proc/self/statm").read_text().split())
    return resident * resource.getpagesize() / 2**20, shared * resource.getpagesize() / 2**20


def link(overview: StoredOverview, folder: Path, number: int) -> StoredOverview:
    """The same slide under a name and paths of its own."""
    slide, stored = folder / f"{number}{overview.path.suffix}", folder / f"{number}.h5"
    os.link(overview.path, slide)
    os.link(overview.thumbnail_at.path, stored)
    return replace(
        overview,
        slide=f"slide_{number}",
        path=slide,
        reader="tiles" if number % 2 else "openslide",
        images=unpack(slide, pack(overview.images)),
        thumbnail_at=Mapped(stored, overview.thumbnail_at.offset, overview.thumbnail_at.shape),
        coarse_at=Mapped(stored, overview.coarse_at.offset, overview.coarse_at.shape),
    )


def main() -> None:
    """Make the cohort, touch its slides, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where to make the slides; a temporary folder by default")
    args = parser.parse_args()
    sizes = []
    with tempfile.TemporaryDirectory(dir=args.folder) as name, GlimpseSensor(SCALES_MPP, PX, threads=8) as sensor:
        folder = Path(name)
        made = [make_slide(folder, kind, SIDE) for kind in ("made.svs", "made.tif")]
        cohort = [link(made[k // 2 % 2], folder, k) for k in range(SLIDES)]
        for count, k in enumerate(np.random.default_rng(0).permutation(SLIDES).tolist(), 1):
            seen = sensor.read([cohort[k]] * GLIMPSES, places(GLIMPSES, "uniform", k, SIDE))
            if seen.errors:
                raise SystemExit(str(next(iter(seen.errors.values()))))
            if count % EVERY == 0:
                size, mapped = resident_mb()
                sizes.append(size)
                print(f"{count:5} slides  {size:7.1f} MB resident, {mapped:7.1f} MB of it mapped files")
    print(json.dumps({"mb_after_100": round(sizes[0], 1), "growth": round(max(sizes) / sizes[0], 3)}))


if __name__ == "__main__":
    main()
