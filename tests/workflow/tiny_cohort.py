"""A cohort of slides that are made in a moment: an ellipse of pink tissue, with coarse dark blocks for lesions."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
import tifffile
from numpy.typing import NDArray

WIDTH, HEIGHT = 1280, 1152  # px of level 0
MPP = 2.0  # um per level-0 pixel; level 1 has four times that
TILE = 256
GLASS, TISSUE, LESION = (243, 241, 244), (214, 150, 190), (110, 60, 140)
# (x, y, width, height) in level-0 px: largest diameters 0.18 mm, 0.7 mm, 2.2 mm
BLOCKS = {"itc": (600, 500, 64, 64), "micro": (420, 380, 256, 256), "macro": (160, 400, 960, 512)}


@dataclass(frozen=True)
class TinySlide:
    """A row of the sheet."""

    slide: str
    patient: str
    label: str = ""
    patient_label: str = ""
    split: str = ""


COHORT = (
    TinySlide("p0_a", "p0", "negative", "pN1", "train"),
    TinySlide("p0_b", "p0", "macro", "pN1", "train"),
    TinySlide("p1_a", "p1", "micro", "pN1mi", "train"),
    TinySlide("p1_b", "p1", "itc", "pN1mi", "train"),
    TinySlide("p2_a", "p2", "macro", "pN1", "val"),
    TinySlide("p3_a", "p3", "macro", "pN1", "test"),
    TinySlide("p3_b", "p3", "negative", "pN1", "test"),
    TinySlide("p4_a", "p4", "negative", "pN0", "test"),
    TinySlide("p5_a", "p5"),
)


def make_cohort(folder: Path) -> None:
    """Write images/ and annotations/ of COHORT below `folder`."""
    for row in COHORT:
        lesion = BLOCKS.get(row.label)
        write_slide(folder / "images" / f"{row.slide}.tif", paint(row.slide, lesion))
        if lesion:
            write_annotation(folder / "annotations" / f"{row.slide}.xml", lesion)


def sheet_rows(folder: str, cohort: Iterable[TinySlide] = COHORT) -> list[dict[str, str]]:
    """Rows of samples.tsv; paths start with `folder`."""
    return [
        {
            "slide": row.slide,
            "patient": row.patient,
            "path": f"{folder}/images/{row.slide}.tif",
            "label": row.label,
            "annotation": f"{folder}/annotations/{row.slide}.xml" if row.label in BLOCKS else "",
            "patient_label": row.patient_label,
            "split": row.split,
        }
        for row in cohort
    ]


def write_sheet(path: Path, rows: list[dict[str, str]]) -> None:
    """Write samples.tsv; columns that a row lacks are empty."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [columns, *([row.get(column, "") for column in columns] for row in rows)]
    path.write_text("".join("\t".join(line) + "\n" for line in lines), encoding="utf-8")


def paint(name: str, lesion: tuple[int, int, int, int] | None = None) -> NDArray[np.uint8]:
    """(HEIGHT, WIDTH, 3) of a slide; its noise is seeded by `name`."""
    rng = np.random.default_rng(list(name.encode()))
    y, x = np.ogrid[:HEIGHT, :WIDTH]
    inside = ((x - WIDTH / 2) / (0.46 * WIDTH)) ** 2 + ((y - HEIGHT / 2) / (0.42 * HEIGHT)) ** 2 < 1
    pixels = np.full((HEIGHT, WIDTH, 3), GLASS, np.int16)
    pixels[inside] = TISSUE
    pixels += _noise(rng, 2, 14)
    if lesion:
        left, top, width, height = lesion
        pixels[top : top + height, left : left + width] = LESION + _noise(rng, 8, 45)[:height, :width]
    return pixels.clip(0, 255).astype(np.uint8)


def _noise(rng: np.random.Generator, grain: int, strength: int) -> NDArray[np.int16]:
    coarse = rng.integers(-strength, strength + 1, (HEIGHT // grain, WIDTH // grain, 1), np.int16)
    return coarse.repeat(grain, 0).repeat(grain, 1)


def write_slide(path: Path, pixels: NDArray[np.uint8], mpp: float | None = MPP) -> None:
    """Write a tiled JPEG TIFF of two levels; without resolution tags if `mpp` is None."""
    path.parent.mkdir(parents=True, exist_ok=True)
    small = pixels.reshape(HEIGHT // 4, 4, WIDTH // 4, 4, 3).mean((1, 3)).astype(np.uint8)
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for level, image in enumerate((pixels, small)):
            per_cm = 10_000 / (mpp * 4**level) if mpp else 1
            file.write(
                image,
                tile=(TILE, TILE),
                photometric="rgb",
                compression="jpeg",
                subfiletype=1 if level else 0,
                resolution=(per_cm, per_cm),
                resolutionunit="CENTIMETER" if mpp else "NONE",
                metadata=None,
                software=False,
            )


def write_annotation(path: Path, lesion: tuple[int, int, int, int]) -> None:
    """Write ASAP XML with one rectangle (x, y, width, height in level-0 px)."""
    left, top, width, height = lesion
    corners = [(left, top), (left + width, top), (left + width, top + height), (left, top + height)]
    points = "".join(f'<Coordinate Order="{k}" X="{x}" Y="{y}" />' for k, (x, y) in enumerate(corners))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"<ASAP_Annotations><Annotations><Annotation Name={quoteattr(path.stem)} Type='Polygon' "
        f"PartOfGroup='metastases'><Coordinates>{points}</Coordinates></Annotation></Annotations></ASAP_Annotations>",
        encoding="utf-8",
    )


def cut(source: Path, target: Path, share: float) -> None:
    """Copy the first `share` of a file, as a broken copy does."""
    data = source.read_bytes()
    target.write_bytes(data[: int(len(data) * share)])


def spoil_level_0(path: Path) -> None:
    """Overwrite every tile of level 0; the file keeps its length and its other level."""
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        assert isinstance(page, tifffile.TiffPage)
        places = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    with path.open("r+b") as file:
        for offset, count in places:
            file.seek(offset)
            file.write(bytes(count))
