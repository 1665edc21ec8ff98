import dataclasses
from pathlib import Path
from typing import Any

import pytest

from foveate.cohort.samples import Sample
from foveate.config import Config
from foveate.errors import FoveateError
from foveate.slides.overview_file import write_failed_overview
from foveate.stages.cohort import open_cohort
from foveate.stages.outputs import Outputs
from foveate.stages.overview import run


def test_failed_slides_are_left_out_of_the_order(config: Config, tiny_slide: Any, tmp_path: Path) -> None:
    samples = [Sample(name, "p", tiny_slide.path) for name in ("b", "bad", "a")]
    for sample in samples:
        run(config, sample, Outputs.of(sample.slide, tmp_path))
    write_failed_overview(tmp_path / "overview" / "bad.h5", "bad", tiny_slide.path, "a reason")
    assert [o.slide for o in open_cohort(samples, tmp_path / "overview")] == ["b", "a"]
    assert open_cohort(samples[1:2], tmp_path / "overview") == []


def test_an_overview_that_is_not_made_yet(tmp_path: Path) -> None:
    with pytest.raises(FoveateError, match=r"a\.h5 does not exist; run the overview stage for a first"):
        open_cohort([Sample("a", "p", Path("a.tif"))], tmp_path)


def test_overviews_of_one_cohort_share_their_resolution(config: Config, tiny_slide: Any, tmp_path: Path) -> None:
    samples = [Sample(name, "p", tiny_slide.path) for name in "ab"]
    finer = dataclasses.replace(config, overview=dataclasses.replace(config.overview, mpp=8.0))
    for sample, settings in zip(samples, (config, finer), strict=True):
        run(settings, sample, Outputs.of(sample.slide, tmp_path))
    with pytest.raises(FoveateError, match=r"different resolution.* \[\(8\.0, 128\.0\), \(16\.0, 128\.0\)\]"):
        open_cohort(samples, tmp_path / "overview")
