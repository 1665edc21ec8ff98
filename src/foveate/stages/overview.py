"""The overview stage: from a slide's file to its overview and status, slide by slide. Imports no model."""

import importlib.metadata
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openslide

from foveate.cohort.samples import Sample
from foveate.config import Config
from foveate.errors import FoveateError, SlideError
from foveate.files import sha256, write_json
from foveate.report.sources import read_status
from foveate.slides.annotations import lesion_diameters_um, rasterize, read_annotation
from foveate.slides.focus import blurred_share
from foveate.slides.geometry import EQUAL, Grid
from foveate.slides.handle import Slide, check_length, open_slide
from foveate.slides.jpeg import library
from foveate.slides.overview import Overview, Scan, make_overview, read_scan
from foveate.slides.overview_file import Lesions, write_failed_overview, write_overview
from foveate.slides.reader import Reader
from foveate.slides.readers import choose_reader
from foveate.slides.tiff import read_tiff
from foveate.slides.tissue import TissueSettings
from foveate.slides.view import slide_view
from foveate.stages import pictures
from foveate.stages.batches import write_list
from foveate.stages.outputs import Outputs
from foveate.stages.plan import digest

log = logging.getLogger(__name__)

# Focus is judged on this many fields of the tissue, evenly over the slide.
FOCUS_FIELDS, FOCUS_PX, FOCUS_MPP = 24, 96, 1.0
FULL_CELL = 0.9  # share of tissue of the cells that are looked at


def run(config: Config, sample: Sample, out: Outputs) -> bool:
    """Make the overview of one slide, and its pictures. Returns whether the slide can be used."""
    good = survey(config, sample, out.overview, out.status)
    pictures.run(out.overview, out.status, out.thumbnail, out.tissue)
    return good


def run_batch(config: Config, samples: Sequence[Sample], results: Path, out: Path, code: str) -> None:
    """Make the overviews and statuses of some slides, and list them in `out`.

    code: a digest of the sources. What was made by the same code of the same slide, annotation and settings stays as it
    is, so that nothing is lost by a kill, nor by a cohort that is cut into other batches; a slide that failed is tried
    again.
    """
    digests = {}
    for sample in samples:
        place = Outputs.of(sample.slide, results)
        made_of = _origin(config, sample, code)
        if _is_made(place, made_of):
            log.info("%s: stands as it was made", sample.slide)
        else:
            good = survey(config, sample, place.overview, place.status, made_of)
            log.info("%s: %s", sample.slide, "made" if good else "failed")
        digests[sample.slide] = sha256(place.overview)
    write_list(out, digests)


def _origin(config: Config, sample: Sample, code: str) -> str:
    """A digest of everything that the overview of a slide is made of."""
    found = sample.path.stat()
    annotation = "" if sample.annotation is None else sha256(sample.annotation)
    settings = (config.overview, config.tissue, config.glimpse.scales_mpp)
    return digest((sample.path, found.st_size, found.st_mtime_ns, annotation, sample.mpp, *settings, code))


def _is_made(place: Outputs, made_of: str) -> bool:
    try:
        status = read_status(place.status.parent, place.status.stem)
    except FoveateError:
        return False  # damaged
    return (
        status.get("state") == "ok"
        and status.get("made_of") == made_of
        and place.overview.exists()
        and status.get("overview_sha256") == sha256(place.overview)
    )


def survey(config: Config, sample: Sample, out: Path, out_status: Path, made_of: str = "") -> bool:
    """Make the overview of one slide and say how it went.

    A slide that cannot be used is a fact about it, not a crash: both files are written, and the status says
    why. Returns whether the slide can be used. made_of: a digest for the status, see `run_batch`.
    """
    begun = time.perf_counter()
    status: dict[str, Any] = {
        "slide": sample.slide, "state": "ok", "reason": "", "remedy": "", "warnings": [], "path": str(sample.path),
        "annotation": "" if sample.annotation is None else str(sample.annotation),
        "mpp": None, "mpp_source": "", "vendor": "", "reader": "", "reader_reason": "", "levels": 0, "size_l0": None,
        "absent_tiles": None, "tissue_share": None, "pen_share": None, "pale": None, "blurred_share": None,
    }  # fmt: skip
    slide = scan = None
    try:
        slide = open_slide(sample.slide, sample.path, sample.mpp)
        images = read_tiff(slide.path)
        check_length(slide.name, slide.path, images)
        reader, reason = choose_reader(slide, images)
        status |= _facts(slide, config) | {"reader": reader.kind, "reader_reason": reason}
        if images is not None:
            status["absent_tiles"] = sum(len(image.absent) for image in images)
        scan = read_scan(slide, config.overview.mpp, config.overview.coarse_mpp)
        tissue = TissueSettings(config.tissue.min_area_um2, config.tissue.hole_area_um2)
        overview = make_overview(slide, scan, config.overview.cell_px, tissue)
        status |= _quality(overview)
        status["blurred_share"], faults = _blurred(slide, reader, overview, config.overview.cell_um)
        status["warnings"] += faults
        lesions = read_lesions(sample, slide, scan)
        write_overview(out, slide, reader, overview, config.overview.cell_um, lesions)
    except SlideError as error:
        log.error("%s", error)
        status |= {"state": "failed", "reason": error.reason, "remedy": error.remedy}
        seen = None if scan is None else scan.thumbnail
        write_failed_overview(out, sample.slide, sample.path, error.reason, seen)
    finally:
        if slide is not None:
            slide.handle.close()
    versions = {"foveate": importlib.metadata.version("foveate"), "openslide": openslide.__library_version__}
    if (found := library()) is not None:
        versions["turbojpeg"] = found[0]
    status |= {"seconds": round(time.perf_counter() - begun, 3), "versions": versions}
    write_json(out_status, {**status, "made_of": made_of, "overview_sha256": sha256(out)})
    return status["state"] == "ok"


def read_lesions(sample: Sample, slide: Slide, scan: Scan) -> Lesions | None:
    """The sample's annotation on the overview's grid; None where it has none.

    Raises
    ------
    SlideError
        If the annotation cannot be read or drawn: a slide whose truth is unknown must not train a model.
    """
    if sample.annotation is None:
        return None
    mpp = slide.geometry.mpp
    x_l0, y_l0 = slide.geometry.um_to_l0(np.array(scan.origin_um)).tolist()
    l0_per_px = (scan.mpp / mpp[0], scan.mpp / mpp[1])
    try:
        annotation = read_annotation(sample.annotation, slide.geometry.bounds_l0[:2])
        index = rasterize(annotation, scan.scanned.shape, (x_l0, y_l0), l0_per_px)
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
    try:
        warnings += geometry.upsampled(config.glimpse.scales_mpp, slide.name)
    except SlideError as error:
        warnings.append(f"no glimpses can be read: {error.reason}")
    return {
        "mpp": list(geometry.mpp),
        "mpp_source": slide.mpp_source,
        "vendor": slide.vendor,
        "levels": len(geometry.sizes_lv),
        "size_l0": list(geometry.sizes_lv[0]),
        "warnings": warnings,
    }


def _quality(overview: Overview) -> dict[str, Any]:
    """What a person would want to know before trusting the slide."""
    tissue, scanned = overview.tissue, max(1, int(overview.scan.scanned.sum()))
    return {
        "tissue_share": round(float(tissue.mask.sum()) / scanned, 4),
        "pen_share": round(float(tissue.pen.sum()) / scanned, 4),
        "pale": tissue.pale,
    }


def _blurred(slide: Slide, reader: Reader, overview: Overview, cell_um: float) -> tuple[float | None, list[str]]:
    """Share of some fields of the tissue that are out of focus, and why others could not be read.

    None for a slide that is too coarse to tell.
    """
    if slide.geometry.level_mpp(0) > FOCUS_MPP * EQUAL:
        return None, []
    view = slide_view(reader, slide.geometry, slide.name, FOCUS_MPP, FOCUS_PX)
    cells = np.argwhere(overview.cell_tissue >= min(FULL_CELL, float(overview.cell_tissue.max())))
    chosen = cells[np.linspace(0, len(cells) - 1, min(FOCUS_FIELDS, len(cells))).round().astype(int)]
    fields = np.empty((len(chosen), FOCUS_PX, FOCUS_PX, 3), np.uint8)
    errors = view.fill(Grid(cell_um, overview.scan.origin_um).centre_um(chosen).tolist(), list(fields))
    faults = sorted({error.reason for error in errors.values()})
    read = [field for number, field in enumerate(fields) if number not in errors]
    return (round(blurred_share(read), 4) if read else None), faults
