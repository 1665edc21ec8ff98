from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from foveate.stages.training.reading import BATCH, batches, in_batches
from foveate.stages.training.session import Session


def start(cohort: Any, out: Path) -> Session:
    return Session(cohort.config, cohort.samples, cohort.fold, cohort.overviews, out)


def test_batches_hold_every_row_once() -> None:
    assert batches(0) == []
    assert batches(BATCH) == [slice(0, 64)]
    assert batches(BATCH + 1) == [slice(0, 64), slice(64, 128)]


def test_places_are_read_in_their_order(cohort: Any, tmp_path: Path) -> None:
    session, rng = start(cohort, tmp_path), np.random.default_rng(0)
    slide, at = rng.integers(len(session.enrolled), size=100), rng.uniform(200, 900, (100, 2))
    for squares in (None, ((16.0,), 24)):
        rows, pixels = zip(*in_batches(session, slide, at, "reading", squares), strict=True)
        assert [len(part) for part in rows] == [64, 36]
        np.testing.assert_array_equal(np.concatenate(rows), np.arange(100))
        expected = session.sensor.read([session.enrolled[k] for k in slide], at, squares=squares).pixels
        np.testing.assert_array_equal(np.concatenate(pixels), expected)


def test_rows_of_a_slide_that_cannot_be_read_are_left_out(with_unreadable: Callable[..., Any], tmp_path: Path) -> None:
    session = start(with_unreadable("negative", "bad"), tmp_path / "out")
    bad = [o.slide for o in session.enrolled].index("bad")
    slide, at = np.array([0, bad, 1] + [bad] * 64), np.full((67, 2), 500.0)
    ((rows, pixels),) = in_batches(session, slide, at, "reading")  # of the second batch nothing is left
    assert rows.tolist() == [0, 2]
    assert len(pixels) == 2
    assert list(session.state.dropped) == ["bad"]
