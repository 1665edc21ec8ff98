"""What the viewer draws over a slide, as SVG paths, each with the frame that its numbers are in."""

import logging
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from foveate.errors import FoveateError
from foveate.report.slidemap import closed_path, contour_path
from foveate.slides.annotations import read_annotation
from foveate.slides.overview_file import StoredOverview

log = logging.getLogger(__name__)


def tissue_layer(overview: StoredOverview) -> dict[str, Any]:
    """The outline of the tissue, in pixels of the overview."""
    return {"path": contour_path(overview.tissue, (1.0, 1.0)), **_frame(overview)}


def lesion_layer(overview: StoredOverview, annotation: Path | None) -> dict[str, Any] | None:
    """The outlines of annotated lesions and of the holes in them; None for a slide that is not annotated.

    They are as annotated, in level-0 pixels. Where the file cannot be read any more they are those of the overview,
    as coarse as its pixels.
    """
    if overview.lesions is None:
        return None
    if annotation is not None:
        try:
            found = read_annotation(annotation, overview.geometry.bounds_l0[:2])
        except FoveateError as error:
            log.warning("%s: the outlines of the overview are shown, for %s", overview.slide, error)
        else:
            path = "".join(map(closed_path, chain.from_iterable([*found.lesions, *found.holes])))
            return {"path": path, "x": 0.0, "y": 0.0, "scale_x": 1.0, "scale_y": 1.0}
    return {"path": contour_path(overview.lesions.index > 0, (1.0, 1.0)), **_frame(overview)}


def _frame(overview: StoredOverview) -> dict[str, float]:
    """Where the overview's top-left corner lies, and how large its pixels are, in level-0 pixels."""
    x, y = overview.geometry.um_to_l0(np.asarray(overview.origin_um)).tolist()
    scale_x, scale_y = (overview.mpp / side for side in overview.geometry.mpp)
    return {"x": x, "y": y, "scale_x": scale_x, "scale_y": scale_y}
