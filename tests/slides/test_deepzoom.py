import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from foveate.errors import SlideError
from foveate.slides import deepzoom
from foveate.slides.deepzoom import DeepZoom
from foveate.slides.handle import open_slide


def pixels(tile: bytes | None) -> np.ndarray:
    assert tile is not None
    picture = Image.open(io.BytesIO(tile))
    assert picture.format == "JPEG"
    return np.asarray(picture)


@pytest.fixture
def zoom(exact_slide: Any) -> DeepZoom:
    return DeepZoom(open_slide("exact", exact_slide.path))


def test_levels_go_from_one_pixel_to_level_0(zoom: DeepZoom) -> None:
    # 2048 = 2 ** 11, so 12 levels
    assert (zoom.size_l0, zoom.first, zoom.last) == ((2048, 1536), 0, 11)
    assert pixels(zoom.tile(0, 0, 0)).shape == (1, 1, 3)


def test_a_tile_of_the_finest_level_is_level_0_with_an_overlap(zoom: DeepZoom, exact_slide: Any) -> None:
    tile = pixels(zoom.tile(11, 2, 1)).astype(int)  # 254 x 254 px from (508, 254), and a pixel all around
    assert tile.shape == (256, 256, 3)
    expected = exact_slide.pixels[253:509, 507:763].astype(int)
    assert np.abs(tile - expected).mean() < 8  # JPEG, of noise
    marker = tile[320 - 253 + 8 : 352 - 253 - 8, 640 - 507 + 8 : 672 - 507 - 8]
    np.testing.assert_allclose(marker.mean((0, 1)), exact_slide.marker_rgb, atol=6)


@pytest.mark.parametrize("place", [(-1, 0, 0), (12, 0, 0), (11, 9, 0), (11, 0, 7), (11, -1, 0), (0, 1, 0)])
def test_there_are_no_tiles_outside(zoom: DeepZoom, place: tuple[int, int, int]) -> None:
    assert zoom.tile(11, 8, 6) is not None
    assert zoom.tile(*place) is None


def test_absent_tiles_have_the_slides_background(tiny_slide: Any, spoil_tile: Any, tmp_path: Path) -> None:
    path = tmp_path / "sparse.tif"
    shutil.copy(tiny_slide.path, path)
    spoil_tile(path, 0, absent=True)
    assert (pixels(DeepZoom(open_slide("sparse", path)).tile(11, 0, 0))[:250, :250] == 255).all()


def test_a_tile_that_cannot_be_decoded_is_named(tiny_slide: Any, spoil_tile: Any, tmp_path: Path) -> None:
    path = tmp_path / "bad.tif"
    shutil.copy(tiny_slide.path, path)
    spoil_tile(path, 0, absent=False)
    with pytest.raises(SlideError, match=r"bad: cannot read tile 0, 0 \(column, row\) of Deep Zoom level 11: "):
        DeepZoom(open_slide("bad", path)).tile(11, 0, 0)


def test_a_tile_is_never_made_of_more_pixels_than_fit(
    make_slide: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deepzoom, "MOST_PX", 600 * 600)
    slide = make_slide(tmp_path / "flat.tif", levels=1)  # without coarse levels
    zoom = DeepZoom(open_slide("flat", slide.path))
    # a tile of 255 px (one overlap) is 510 px of level 0 on level 10, and 1020 px on level 9
    assert (zoom.first, zoom.last) == (10, 11)
    assert zoom.tile(9, 0, 0) is None
    assert zoom.tile(10, 0, 0) is not None
