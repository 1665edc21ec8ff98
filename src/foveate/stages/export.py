"""The export stage: what is known of slides in the formats of the viewers that pathologists use. Imports no model."""

import logging
from collections.abc import Sequence
from pathlib import Path

from foveate.cohort.samples import Sample
from foveate.errors import FoveateError
from foveate.files import sha256, write_text
from foveate.progress import progress
from foveate.report.drawn import attention_marks, fixation_marks, heat_levels, lesion_marks, tissue_marks
from foveate.report.sources import Predictions
from foveate.slides.annotations import read_annotation
from foveate.slides.asap import asap_xml
from foveate.slides.geojson import geojson_text
from foveate.slides.ometiff import write_ome_tiff
from foveate.slides.overview_file import StoredOverview, read_overview

log = logging.getLogger(__name__)
GEOJSON, ASAP, HEAT = ".geojson", ".xml", ".ome.tif"


def run(samples: Sequence[Sample], overviews: Path, predictions: Sequence[Path], out: Path) -> dict[str, str]:
    """Write {slide}.geojson, {slide}.xml and {slide}.ome.tif of every slide into the folder `out`.

    overviews: folder of {slide}.h5. predictions: files of all folds; a slide that several of them have is shown as the
    first one saw it. A slide that failed has no files; one that was not predicted has its tissue and annotation, and no
    heat map. What an earlier export wrote of it and does not hold any more is removed. Returns the names of the files,
    each with its digest. Raises FoveateError where an overview, an annotation or predictions cannot be read.
    """
    files = Predictions(predictions)
    digests = {}
    out.mkdir(parents=True, exist_ok=True)
    for sample in progress(samples, "export"):
        path = overviews / f"{sample.slide}.h5"
        if not path.exists():
            raise FoveateError(f"{path} does not exist; make the overviews first")
        overview = read_overview(path)
        if overview is None:
            log.warning("%s: left out, its overview failed", sample.slide)
        made = [] if overview is None else _export(sample, overview, files, out)
        for place in (out / f"{sample.slide}{suffix}" for suffix in (GEOJSON, ASAP, HEAT)):
            if place in made:
                digests[place.name] = sha256(place)
            else:
                place.unlink(missing_ok=True)
    return digests


def _export(sample: Sample, overview: StoredOverview, files: Predictions, out: Path) -> list[Path]:
    """Write the files of a slide. Returns them."""
    geojson, asap, heat = (out / f"{sample.slide}{suffix}" for suffix in (GEOJSON, ASAP, HEAT))
    corner = overview.geometry.bounds_l0[:2]
    marks = tissue_marks(overview)
    attention = files.attention(sample.slide, "")
    if attention is not None:
        marks += attention_marks(overview, attention)
        levels, pixel_um = heat_levels(overview, attention)
        write_ome_tiff(heat, levels, pixel_um, "attention")
    if sample.annotation is not None:
        marks += lesion_marks(read_annotation(sample.annotation, corner), overview.geometry.mpp)
    fixations = files.of(sample.slide, "")
    if fixations is not None:
        marks += fixation_marks(overview, fixations)
    write_text(geojson, geojson_text(marks, corner))
    write_text(asap, asap_xml(marks))
    return [geojson, asap] if attention is None else [geojson, asap, heat]
