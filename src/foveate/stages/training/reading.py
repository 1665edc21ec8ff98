"""Reads the places that training draws, batch after batch."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from foveate.progress import progress
from foveate.slides.sensor import Squares
from foveate.stages.training.session import Session

BATCH = 64  # places


def batches(count: int) -> list[slice]:
    """Rows of the batches of `count` places."""
    return [slice(first, first + BATCH) for first in range(0, count, BATCH)]


def in_batches(
    session: Session,
    slide: NDArray[np.int64],
    location_um: NDArray[np.floating],
    title: str,
    squares: Squares | None = None,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
    """Rows and pixels (b, S, g, g, 3) of places (n,) on the enrolled slides, a batch at a time, with a progress bar.

    location_um: (n, 2) x, y. squares: see `GlimpseSensor.start`. Slides that cannot be read are dropped, and their rows
    left out; a batch of which nothing is left is skipped.
    """
    slides, parts = session.enrolled, batches(len(slide))
    reads = session.sensor.read_ahead(
        (([slides[k] for k in slide[rows]], location_um[rows]) for rows in parts), squares
    )
    for rows, seen in zip(progress(parts, title), reads, strict=True):
        failed = session.drop_failed([(len(seen.pixels), seen.errors)])
        kept = np.array([k for k in range(len(seen.pixels)) if k not in failed], np.int64)
        if len(kept):
            yield rows.start + kept, seen.pixels[kept]
