from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from foveate.slides.geometry import Geometry
from foveate.slides.overview_file import Lesions, StoredOverview


@pytest.fixture
def grey_overview(mapped: Callable[..., object]) -> Callable[..., StoredOverview]:
    """An overview of grey glass, the size of its tissue mask, with cells of 8 x 8 pixels."""

    def make(
        tissue: NDArray[np.bool_],
        mpp: float,
        cell_tissue: NDArray[np.float32],
        origin_um: tuple[float, float] = (0.0, 0.0),
        lesions: Lesions | None = None,
    ) -> StoredOverview:
        height, width = (round(side * mpp) for side in tissue.shape)
        thumbnail = mapped(np.full((*tissue.shape, 3), 240, np.uint8))
        return StoredOverview(
            slide="a",
            path=Path("a.tif"),
            geometry=Geometry((1.0, 1.0), ((width, height),), (1.0,), (0, 0, width, height)),
            reader="openslide",
            images=(),
            file_bytes=0,
            mpp=mpp,
            origin_um=origin_um,
            background_rgb=(240, 240, 240),
            cell_um=8 * mpp,
            thumbnail_at=thumbnail,
            coarse_at=thumbnail,
            coarse_um=(mpp, mpp),
            tissue=tissue,
            cell_tissue=cell_tissue,
            lesions=lesions,
        )

    return make
