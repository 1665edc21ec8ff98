"""The overviews of a list of samples."""

from collections.abc import Sequence
from pathlib import Path

from foveate.cohort.samples import Sample
from foveate.errors import FoveateError
from foveate.slides.overview_file import StoredOverview, read_overview


def open_cohort(samples: Sequence[Sample], overviews: Path) -> list[StoredOverview]:
    """Overviews of the samples that could be read, in order; slides that failed are left out.

    Raises
    ------
    FoveateError
        If an overview is absent, or those of one cohort do not share resolution and cell size.
    """
    found = []
    for sample in samples:
        path = overviews / f"{sample.slide}.h5"
        if not path.exists():
            raise FoveateError(f"{path} does not exist; run the overview stage for {sample.slide} first")
        overview = read_overview(path)
        if overview is not None:
            found.append(overview)
    kinds = {(o.mpp, o.cell_um) for o in found}
    if len(kinds) > 1:
        raise FoveateError(
            f"{overviews}: overviews of different resolution or cell size {sorted(kinds)}; make them again"
        )
    return found
