"""The overview on disk: one HDF5 file a slide, that the sensor and the model read instead of the slide.

Attributes: format, version, slide, path, state ("ok" or "failed"), reason; and, where ok: file_bytes, mpp (x, y),
mpp_source, vendor, reader ("tiles" or "openslide"), images (for "tiles",
where the tiles of each level lie, as JSON), sizes_lv (L, 2), downsamples (L,), bounds_l0 (x, y, width,
height), overview_mpp, coarse_um (um per pixel of `coarse`, x, y), origin_um (x, y), background_rgb (3,), cell_um.
Datasets: thumbnail (H, W, 3) uint8; tissue (H, W) bool; cell_tissue (rows, columns) float32; coarse (H', W', 3)
uint8, the level that serves coarse glimpse scales, contiguous so that it can be memory-mapped, with the same
corner as the thumbnail; lesions (H, W) uint16 and lesion_diameter_um (K,) float32 where the slide is annotated.
A failed slide has the first six attributes, and the thumbnail if it could be read.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
from numpy.typing import NDArray

from foveate.errors import FoveateError
from foveate.files import atomic
from foveate.slides.geometry import EQUAL, Geometry, Grid
from foveate.slides.raster import Raster
from foveate.slides.reader import Reader
from foveate.slides.tiff import TiffImage, pack, unpack

if TYPE_CHECKING:  # readers of overviews need neither OpenSlide nor scikit-image, which are slow to import
    from foveate.slides.handle import Slide
    from foveate.slides.overview import Overview

FORMAT, VERSION = "foveate.overview", 2


@dataclass(frozen=True)
class Lesions:
    """Annotated lesions. index: (H, W), 0 for none, k for the k-th; diameter_um: (K,) longest distance in each."""

    index: NDArray[np.uint16]
    diameter_um: NDArray[np.float32]


@dataclass(frozen=True)
class Mapped:
    """An array of bytes within a file."""

    path: Path
    offset: int
    shape: tuple[int, ...]

    def open(self) -> NDArray[np.uint8]:
        """Map it into memory; what is looked at stays there as long as the array is kept."""
        return np.memmap(self.path, np.uint8, "r", self.offset, self.shape)


@dataclass(frozen=True)
class StoredOverview:
    """What a stage needs of a slide that could be read. See the module for shapes and frames.

    It is small: the images are opened when they are asked for, so that a cohort may have thousands of slides.
    """

    slide: str
    path: Path
    file_bytes: int
    geometry: Geometry
    reader: str
    images: tuple[TiffImage, ...]
    mpp: float
    origin_um: tuple[float, float]
    background_rgb: tuple[int, int, int]
    cell_um: float
    thumbnail_at: Mapped
    coarse_at: Mapped
    coarse_um: tuple[float, float]
    tissue: NDArray[np.bool_]
    cell_tissue: NDArray[np.float32]
    lesions: Lesions | None

    @property
    def cell_px(self) -> int:
        """Side of a cell in thumbnail pixels."""
        return round(self.cell_um / self.mpp)

    @cached_property
    def grid(self) -> Grid:
        """The cells, in which the model chooses where to look."""
        return Grid(self.cell_um, self.origin_um)

    @property
    def thumbnail(self) -> NDArray[np.uint8]:
        """(H, W, 3), memory-mapped."""
        return self.thumbnail_at.open()

    def rasters(self) -> tuple[Raster, ...]:
        """What serves coarse scales without a look at the slide, coarsest first, memory-mapped.

        A thumbnail that was enlarged is not among them.
        """
        coarse = Raster(self.coarse_at.open(), self.coarse_um, self.origin_um)
        if coarse.mpp > self.mpp * EQUAL:
            return (coarse,)
        return Raster(self.thumbnail, (self.mpp, self.mpp), self.origin_um), coarse


def write_overview(
    path: Path, slide: "Slide", reader: Reader, overview: "Overview", cell_um: float, lesions: Lesions | None
) -> None:
    """Write the overview of a slide, and what it is read with, atomically."""
    geometry, scan = slide.geometry, overview.scan
    with atomic(path) as partial, h5py.File(partial, "w") as file:
        file.attrs.update(
            format=FORMAT,
            version=VERSION,
            slide=slide.name,
            path=str(slide.path),
            file_bytes=slide.path.stat().st_size,
            state="ok",
            reason="",
            mpp=geometry.mpp,
            mpp_source=slide.mpp_source,
            vendor=slide.vendor,
            reader=reader.kind,
            images=pack(reader.images),
            sizes_lv=geometry.sizes_lv,
            downsamples=geometry.downsamples,
            bounds_l0=geometry.bounds_l0,
            overview_mpp=scan.mpp,
            coarse_um=scan.pixel_um,
            origin_um=scan.origin_um,
            background_rgb=np.asarray(scan.background_rgb, np.uint8),
            cell_um=cell_um,
        )
        file["thumbnail"] = scan.thumbnail
        file["coarse"] = scan.coarse.pixels
        file.create_dataset("tissue", data=overview.tissue.mask, compression="gzip")
        file["cell_tissue"] = overview.cell_tissue
        if lesions is not None:
            file.create_dataset("lesions", data=lesions.index, compression="gzip")
            file["lesion_diameter_um"] = lesions.diameter_um


def write_failed_overview(
    path: Path, slide: str, source: Path, reason: str, thumbnail: NDArray[np.uint8] | None = None
) -> None:
    """Write that a slide could not be used, so that later stages know without opening it."""
    with atomic(path) as partial, h5py.File(partial, "w") as file:
        file.attrs.update(format=FORMAT, version=VERSION, slide=slide, path=str(source), state="failed", reason=reason)
        if thumbnail is not None:
            file["thumbnail"] = thumbnail


def read_failed_thumbnail(path: Path) -> NDArray[np.uint8] | None:
    """What could be read of a slide that failed, (H, W, 3); None where it was nothing."""
    try:
        with h5py.File(path, "r") as file:
            return file["thumbnail"][:] if "thumbnail" in file else None
    except OSError as error:
        raise FoveateError(f"{path}: cannot be read as HDF5: {error}; delete it and run again") from error


def read_overview(path: Path) -> StoredOverview | None:
    """Read an overview; None where the slide had failed.

    Raises FoveateError if the file is no overview of this version.
    """
    try:
        with h5py.File(path, "r") as file:
            attrs = dict(file.attrs)
            if (attrs.get("format"), attrs.get("version")) != (FORMAT, VERSION):
                raise FoveateError(f"{path}: expected {FORMAT} version {VERSION}; delete it and run again")
            if attrs["state"] != "ok":
                return None
            lesions = None
            if "lesions" in file:
                lesions = Lesions(file["lesions"][:], file["lesion_diameter_um"][:])
            return StoredOverview(
                slide=attrs["slide"],
                path=Path(attrs["path"]),
                file_bytes=int(attrs["file_bytes"]),
                geometry=Geometry(
                    tuple(attrs["mpp"].tolist()),
                    tuple(map(tuple, attrs["sizes_lv"].tolist())),
                    tuple(attrs["downsamples"].tolist()),
                    tuple(attrs["bounds_l0"].tolist()),
                ),
                reader=attrs["reader"],
                images=unpack(Path(attrs["path"]), attrs["images"]),
                mpp=float(attrs["overview_mpp"]),
                origin_um=tuple(attrs["origin_um"].tolist()),
                background_rgb=tuple(attrs["background_rgb"].tolist()),
                cell_um=float(attrs["cell_um"]),
                thumbnail_at=_mapped(path, file["thumbnail"]),
                coarse_at=_mapped(path, file["coarse"]),
                coarse_um=tuple(attrs["coarse_um"].tolist()),
                tissue=file["tissue"][:],
                cell_tissue=file["cell_tissue"][:],
                lesions=lesions,
            )
    except KeyError as error:
        raise FoveateError(f"{path}: is no overview: {error.args[0]}; delete it and run again") from error
    except OSError as error:
        raise FoveateError(f"{path}: cannot be read as HDF5: {error}; delete it and run again") from error


def _mapped(path: Path, stored: h5py.Dataset) -> Mapped:
    return Mapped(path, stored.id.get_offset(), stored.shape)
