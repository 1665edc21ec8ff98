"""The pictures of a slide for people: its thumbnail, and the same with the outline of tissue and lesions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from foveate.files import atomic, sha256
from foveate.report.pictures import card, outline
from foveate.report.sources import read_json
from foveate.slides.overview_file import read_failed_thumbnail, read_overview
from foveate.stages.batches import write_list
from foveate.stages.outputs import Outputs

TISSUE_COLOUR = (20, 110, 60)
CARD_PX = (640, 400)


def run_batch(slides: Sequence[str], results: Path, out: Path) -> None:
    """Draw the pictures of some slides below the results folder, and list them in `out`."""
    digests = {}
    for slide in slides:
        place = Outputs.of(slide, results)
        run(place.overview, place.status, place.thumbnail, place.tissue)
        digests[slide] = sha256(place.tissue)
    write_list(out, digests)


def run(overview: Path, status: Path, thumbnail: Path, tissue: Path) -> None:
    """Draw `thumbnail` and `tissue` from the overview of a slide.

    Of a slide that failed they show as much of it as could be read; where that is nothing, a card with the
    reason and the remedy of its status.
    """
    found = read_overview(overview)
    if found is not None:
        picture = found.thumbnail
        lesions = None if found.lesions is None else found.lesions.index
        drawn = outline(picture, found.tissue, TISSUE_COLOUR, lesions=lesions)
    else:
        seen, facts = read_failed_thumbnail(overview), read_json(status)
        message = f"{facts['reason']}. {facts['remedy']}".strip()
        picture = drawn = card(*CARD_PX, facts["slide"], message) if seen is None else seen
    _save(thumbnail, picture, quality=88)
    _save(tissue, drawn)


def _save(path: Path, pixels: NDArray[np.uint8], **options: Any) -> None:
    with atomic(path) as partial:
        Image.fromarray(pixels).save(partial, **options)
