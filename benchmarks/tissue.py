"""CPU time of the overview of a slide of CAMELYON size, and of its tissue mask beside the plain scikit-image recipe.

    python benchmarks/tissue.py                (about a minute on two cores)

The slide stands for 97,792 x 221,184 px at 0.243 um/px. Of its pyramid only what an overview reads is made: the
file begins at what would be level 5 (3,056 x 6,912 px, 7.776 um/px) and goes on to level 8, tiled TIFF, 512 px, JPEG
4:2:0 of quality 80, read through OpenSlide. Finer levels would change nothing: OpenSlide finds tiles by offset.
Painted are three sections of the stains' optical densities (Ruifrok and Johnston, 2001) with sinuses, nuclear noise,
pale fat around them, crumbs, dust, uneven light and the noise of a scanner.

Compared on the same thumbnail of 16 um/px, interleaved, CPU seconds of all threads: `find_tissue`, and rgb2hsv, Otsu on
the saturation, closing with disk(2), opening with disk(1), and removal of small pieces and holes by the same areas.
The last line is one JSON object: cpu_seconds (thumbnail and mask), ratio_to_scikit_image (mask alone), iou, and more.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from skimage.color import rgb2hsv
from skimage.filters import threshold_otsu
from skimage.morphology import closing, disk, opening, remove_small_holes, remove_small_objects

from foveate.cohort.demo_pyramid import coded_tiles
from foveate.slides.handle import open_slide
from foveate.slides.overview import make_overview, read_scan
from foveate.slides.tissue import TissueSettings, find_tissue

SIZE, MPP, LEVELS, TILE = (3056, 6912), 0.243 * 32, 4, 512  # of level 5: (width, height) px, um/px
OVERVIEW_MPP, COARSE_MPP, CELL_PX = 16.0, 8.0, 4
AREAS = TissueSettings(min_area_um2=50_000, hole_area_um2=50_000)
HAEMATOXYLIN, EOSIN = (0.65, 0.70, 0.29), (0.07, 0.99, 0.11)
GLASS = (236, 233, 238)


def smooth_noise(rng: np.random.Generator, step: int) -> NDArray[np.float32]:
    """(height, width) of level 5, bicubic between standard normal values `step` px apart."""
    nodes = rng.normal(size=(SIZE[1] // step + 2, SIZE[0] // step + 2)).astype(np.float32)
    return np.asarray(Image.fromarray(nodes).resize(SIZE, Image.Resampling.BICUBIC))


def paint(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Level 5, (height, width, 3)."""
    width, height = SIZE
    y, x = np.ogrid[: np.float32(height), : np.float32(width)]
    depth = np.full((height, width), -1, np.float32)  # 0 at a section's edge, positive in it
    for centre in (0.2, 0.5, 0.8):
        across, along = (x - rng.uniform(0.4, 0.6) * width) / (0.33 * width), (y - centre * height) / (0.12 * height)
        np.maximum(depth, 1 - np.hypot(across, along), out=depth)
    depth += 0.08 * smooth_noise(rng, 300) + 0.02 * smooth_noise(rng, 40)
    inside = np.clip(depth * 60, 0, 1)
    inside *= 1 - np.clip(20 * (smooth_noise(rng, 60) - 2.2), 0, 1)  # sinuses
    fat = np.clip((depth + 0.12) * 60, 0, 1) * (1 - inside) * (np.abs(smooth_noise(rng, 8)) < 0.1) * 0.15
    for centre_x, centre_y, radius in rng.uniform((0, 0, 4), (width, height, 40), (60, 3)):  # crumbs
        at = np.s_[max(0, int(centre_y - 40)) : int(centre_y + 40), max(0, int(centre_x - 40)) : int(centre_x + 40)]
        near = np.hypot(y[at[0]] - centre_y, x[:, at[1]] - centre_x) < radius
        inside[at] = np.maximum(inside[at], 0.6 * near)
    dust = 0.5 * np.clip(20 * (smooth_noise(rng, 25) - 3.6), 0, 1) * (1 - inside)
    stain = inside * (1 + 0.3 * rng.standard_normal(inside.shape, np.float32)) + fat
    blue = stain * (0.27 + 0.06 * smooth_noise(rng, 100))
    pink = stain * (0.22 + 0.06 * smooth_noise(rng, 70))
    light = 1 - 0.03 * y / height
    image = np.empty((height, width, 3), np.uint8)
    for k in range(3):
        density = np.clip(HAEMATOXYLIN[k] * blue + EOSIN[k] * pink, 0, None) + dust
        value = GLASS[k] * light * 10**-density + 1.5 * rng.standard_normal(inside.shape, np.float32)
        image[..., k] = value.round().clip(0, 255)
    return image


def write_slide(path: Path, level_5: NDArray[np.uint8]) -> None:
    """Levels 5 to 8, each half the one before."""
    image = Image.fromarray(level_5)
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for k in range(LEVELS):
            small = np.asarray(image.reduce(2**k) if k else image)
            file.write(
                coded_tiles(small, TILE),
                shape=small.shape,
                dtype=np.uint8,
                tile=(TILE, TILE),
                photometric="ycbcr",
                subsampling=(2, 2),
                compression="jpeg",
                subfiletype=1 if k else 0,
                resolution=(1e4 / MPP / 2**k,) * 2,
                resolutionunit="CENTIMETER",
                metadata=None,
            )


def recipe(image: NDArray[np.uint8], mpp: float, areas: TissueSettings) -> NDArray[np.bool_]:
    """What scikit-image's documentation leads to."""
    saturation = rgb2hsv(image)[..., 1]
    mask = saturation > threshold_otsu(saturation)
    mask = opening(closing(mask, disk(2)), disk(1))
    mask = remove_small_objects(mask, max_size=int(areas.min_area_um2 / mpp**2))
    return remove_small_holes(mask, max_size=int(areas.hole_area_um2 / mpp**2))


def timed(spent: list[float], work: Callable[..., Any], *values: Any) -> Any:
    """The result of a call; its CPU seconds, of all threads, go onto `spent`."""
    begun = time.process_time()
    result = work(*values)
    spent.append(time.process_time() - begun)
    return result


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--picture", type=Path, help="write the thumbnail and both masks side by side")
    arguments = options.parse_args()
    seconds: dict[str, list[float]] = {"read": [], "mask": [], "recipe": [], "overview": []}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "slide.tif"
        write_slide(path, paint(np.random.default_rng(1)))
        slide = open_slide("camelyon", path)
        print(f"{slide.geometry.sizes_lv} px, {slide.geometry.mpp[0]:.4g} um/px, {path.stat().st_size / 1e6:.0f} MB")
        for _ in range(arguments.rounds):
            scan = timed(seconds["read"], read_scan, slide, OVERVIEW_MPP, COARSE_MPP)
            image = scan.thumbnail
            ours = timed(seconds["mask"], find_tissue, image, scan.scanned, OVERVIEW_MPP, AREAS)
            theirs = timed(seconds["recipe"], recipe, image, OVERVIEW_MPP, AREAS)
            timed(seconds["overview"], make_overview, slide, scan, CELL_PX, AREAS)
        slide.handle.close()
    iou = (ours.mask & theirs).sum() / (ours.mask | theirs).sum()
    if arguments.picture:
        masks = [np.repeat(m[..., None] * np.uint8(255), 3, axis=2) for m in (ours.mask, theirs)]
        Image.fromarray(np.concatenate([image, *masks], axis=1)).save(arguments.picture)
    median = {key: statistics.median(values) for key, values in seconds.items()}
    height, width = image.shape[:2]
    print(f"thumbnail {width} x {height} px, {ours.mask.mean():.1%} tissue, {ours.pen.mean():.1%} pen; CPU seconds:")
    for key, values in seconds.items():
        print(f"  {key:9} {median[key]:.3f}  ({min(values):.3f} to {max(values):.3f})")
    read, mask, plain = (np.array(seconds[key]) for key in ("read", "mask", "recipe"))
    print(
        json.dumps(
            {
                "cpu_seconds": round(float(np.median(read + mask)), 3),
                "ratio_to_scikit_image": round(float(np.median(plain / mask)), 2),
                "iou": round(float(iou), 4),
                "ratio_with_thumbnail": round(float(np.median((read + plain) / (read + mask))), 2),
                "read_cpu_seconds": round(median["read"], 3),
                "mask_cpu_seconds": round(median["mask"], 3),
                "make_overview_cpu_seconds": round(median["overview"], 3),
            }
        )
    )


if __name__ == "__main__":
    main()
