"""The overview stage: one slide, from its file to its overview and status. Imports no model."""

import importlib.metadata
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openslide

from foveate.cohort.samples import Sample
from foveate.config import Config
from foveate.errors import FoveateError, SlideError
from foveate.files import write_json
from foveate.slides.annotations import lesion_diameters_um, rasterize, read_annotation
from foveate.slides.geometry import EQUAL
from foveate.slides.handle import Slide, open_slide
from foveate.slides.overview import Thumbnail, make_overview, read_thumbnail
from foveate.slides.overview_file import Lesions, write_failed_overview, write_overview
from foveate.slides.tissue import TissueSettings
from foveate.stages import pictures

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outputs:
    """Where the four files of a slide go."""

    overview: Path
    thumbnail: Path
    tissue: Path
    status: Path

    @classmethod
    def of(cls, slide: str, results: Path) -> "Outputs":
        """The places under a results folder, as the workflow names them."""
        return cls(
            results / "overview" / f"{slide}.h5",
            results / "thumbnails" / f"{slide}.jpg",
            results / "tissue" / f"{slide}.png",
            results / "status" / f"{slide}.json",
        )


def run(config: Config, sample: Sample, out: Outputs) -> bool:
    """Make the overview of one slide, and its pictures. Returns whether the slide can be used."""
    good = survey(config, sample, out.overview, out.status)
    pictures.run(out.overview, out.status, out.thumbnail, out.tissue)
    return good


def survey(config: Config, sample: Sample, out: Path, out_status: Path) -> bool:
    """Make the overview of one slide and say how it went.

    A slide that cannot be used is a fact about it, not a crash: both files are written, and the status says
    why. Returns whether the slide can be used.
    """
    begun = time.perf_counter()
    status: dict[str, Any] = {
        "slide": sample.slide, "state": "ok", "reason": "", "remedy": "", "warnings": [], "path": str(sample.path),
        "mpp": None, "mpp_source": "", "vendor": "", "reader": "openslide", "levels": 0, "size_l0": None,
        "tissue_share": None,
    }  # fmt: skip
    slide = thumbnail = None
    try:
        slide = open_slide(sample.slide, sample.path, sample.mpp)
        status |= _facts(slide, config)
        thumbnail = read_thumbnail(slide, config.overview.mpp)
        tissue = TissueSettings(config.tissue.min_area_um2, config.tissue.hole_area_um2)
        overview = make_overview(slide, thumbnail, config.overview.cell_px, tissue)
        lesions = read_lesions(sample, slide, thumbnail)
        status["tissue_share"] = round(float(overview.tissue.mean()), 4)
        write_overview(out, slide, overview, config.overview.cell_um, lesions)
    except SlideError as error:
        log.error("%s", error)
        status |= {"state": "failed", "reason": error.reason, "remedy": error.remedy}
        seen = None if thumbnail is None else thumbnail.image
        write_failed_overview(out, sample.slide, sample.path, error.reason, seen)
    finally:
        if slide is not None:
            slide.handle.close()
    versions = {"foveate": importlib.metadata.version("foveate"), "openslide": openslide.__library_version__}
    write_json(out_status, {**status, "seconds": round(time.perf_counter() - begun, 3), "versions": versions})
    return status["state"] == "ok"


def read_lesions(sample: Sample, slide: Slide, thumbnail: Thumbnail) -> Lesions | None:
    """The sample's annotation on the overview's grid; None where it has none.

    Raises
    ------
    SlideError
        If the annotation cannot be read or drawn: a slide whose truth is unknown must not train a model.
    """
    if sample.annotation is None:
        return None
    mpp = slide.geometry.mpp
    origin_l0 = (slide.geometry.bounds_l0[0], slide.geometry.bounds_l0[1])
    l0_per_px = (thumbnail.mpp / mpp[0], thumbnail.mpp / mpp[1])
    try:
        annotation = read_annotation(sample.annotation)
        index = rasterize(annotation, thumbnail.image.shape[:2], origin_l0, l0_per_px)
    except FoveateError as error:
        raise SlideError(sample.slide, str(error), "correct the annotation column") from error
    return Lesions(index, lesion_diameters_um(annotation, mpp))


def _facts(slide: Slide, config: Config) -> dict[str, Any]:
    geometry = slide.geometry
    warnings = []
    if geometry.level_mpp(0) > config.overview.mpp * EQUAL:
        warnings.append(
            f"level 0 has {geometry.level_mpp(0):.4g} um/px; the overview of {config.overview.mpp:g} um/px is upsampled"
        )
    return {
        "mpp": list(geometry.mpp),
        "mpp_source": slide.mpp_source,
        "vendor": slide.vendor,
        "levels": len(geometry.sizes_lv),
        "size_l0": list(geometry.sizes_lv[0]),
        "warnings": warnings,
    }
