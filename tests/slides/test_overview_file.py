from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from foveate.errors import FoveateError
from foveate.slides.handle import open_slide
from foveate.slides.overview import Overview, make_overview, read_scan
from foveate.slides.overview_file import (
    Lesions,
    read_failed_thumbnail,
    read_overview,
    write_failed_overview,
    write_overview,
)
from foveate.slides.readers import choose_reader
from foveate.slides.tiff import read_tiff
from foveate.slides.tissue import TissueSettings


@pytest.fixture
def made(tiny_slide: Any, tmp_path: Path) -> Callable[..., tuple[Path, Overview]]:
    """Write the overview of the tiny slide with the lesions that are given."""

    def make(lesions: Lesions | None = None) -> tuple[Path, Overview]:
        slide = open_slide("tiny", tiny_slide.path)
        overview = make_overview(slide, read_scan(slide, 16.0, 8.0), 8, TissueSettings(50_000, 50_000))
        reader, _ = choose_reader(slide, read_tiff(slide.path))
        write_overview(tmp_path / "deep" / "tiny.h5", slide, reader, overview, 128.0, lesions)
        return tmp_path / "deep" / "tiny.h5", overview

    return make


def test_what_is_written_is_read(made: Callable[..., tuple[Path, Overview]], tiny_slide: Any) -> None:
    path, overview = made()
    stored = read_overview(path)
    assert stored is not None
    assert (stored.slide, stored.path) == ("tiny", tiny_slide.path)
    assert stored.geometry == open_slide("tiny", tiny_slide.path).geometry
    assert (stored.mpp, stored.origin_um, stored.cell_um, stored.cell_px) == (16.0, (0.0, 0.0), 128.0, 8)
    assert stored.background_rgb == overview.scan.background_rgb
    assert (stored.reader, stored.coarse_um) == ("tiles", (8.0, 8.0))
    np.testing.assert_array_equal(stored.thumbnail, overview.scan.thumbnail)
    np.testing.assert_array_equal(stored.tissue, overview.tissue.mask)
    np.testing.assert_array_equal(stored.cell_tissue, overview.cell_tissue)
    assert stored.lesions is None


def test_images_stay_on_disk(made: Callable[..., tuple[Path, Overview]]) -> None:
    path, overview = made()
    stored = read_overview(path)
    assert stored is not None
    assert isinstance(stored.thumbnail, np.memmap)
    assert stored.thumbnail is not stored.thumbnail  # mapped anew: what was looked at is given back
    with pytest.raises(ValueError, match="read-only"):
        stored.thumbnail[0, 0, 0] = 1
    held = [value for value in vars(stored).values() if isinstance(value, np.ndarray)]
    assert sum(value.nbytes for value in held) < 15_000  # 96 x 128 bytes of tissue; the coarse level has 147,456
    assert not any(isinstance(value, np.memmap) for value in held)
    assert overview.scan.coarse.pixels.nbytes == 147_456


def test_rasters_are_the_thumbnail_and_the_coarse_level(made: Callable[..., tuple[Path, Overview]]) -> None:
    path, overview = made()
    stored = read_overview(path)
    assert stored is not None
    thumbnail, coarse = stored.rasters()
    assert (thumbnail.pixel_um, coarse.pixel_um) == ((16.0, 16.0), (8.0, 8.0))
    assert thumbnail.origin_um == coarse.origin_um == (0.0, 0.0)
    np.testing.assert_array_equal(thumbnail.pixels, overview.scan.thumbnail)
    np.testing.assert_array_equal(coarse.pixels, overview.scan.coarse.pixels)
    assert isinstance(coarse.pixels, np.memmap)


def test_lesions_are_kept(made: Callable[..., tuple[Path, Overview]]) -> None:
    index = np.zeros((96, 128), np.uint16)
    index[20:30, 40:45] = 2
    stored = read_overview(made(Lesions(index, np.array([150, 2500], np.float32)))[0])
    assert stored is not None
    assert stored.lesions is not None
    np.testing.assert_array_equal(stored.lesions.index, index)
    np.testing.assert_array_equal(stored.lesions.diameter_um, [150, 2500])


def test_a_slide_without_lesions_differs_from_one_that_nobody_annotated(
    made: Callable[..., tuple[Path, Overview]],
) -> None:
    none = Lesions(np.zeros((96, 128), np.uint16), np.empty(0, np.float32))
    stored = read_overview(made(none)[0])
    assert stored is not None
    assert stored.lesions is not None
    assert stored.lesions.diameter_um.shape == (0,)


def test_documented_attributes_and_datasets(made: Callable[..., tuple[Path, Overview]]) -> None:
    with h5py.File(made()[0]) as file:
        assert set(file) == {"thumbnail", "coarse", "tissue", "cell_tissue"}
        assert file["coarse"].shape == (192, 256, 3)
        assert file["coarse"].chunks is None
        assert (file.attrs["format"], file.attrs["version"]) == ("foveate.overview", 2)
        assert (file.attrs["reader"], file.attrs["coarse_um"].tolist()) == ("tiles", [8, 8])
        assert (file.attrs["state"], file.attrs["reason"]) == ("ok", "")
        assert file.attrs["sizes_lv"].tolist() == [[2048, 1536], [512, 384], [128, 96]]


def test_a_failed_slide_has_no_overview(tmp_path: Path) -> None:
    path = tmp_path / "bad.h5"
    write_failed_overview(path, "bad", Path("images/bad.svs"), "it is cut short")
    assert read_overview(path) is None
    with h5py.File(path) as file:
        assert list(file) == []
        assert (file.attrs["slide"], file.attrs["path"]) == ("bad", "images/bad.svs")
        assert (file.attrs["state"], file.attrs["reason"]) == ("failed", "it is cut short")


def test_what_could_be_seen_of_a_failed_slide_is_kept(tmp_path: Path) -> None:
    path, seen = tmp_path / "bad.h5", np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    write_failed_overview(path, "bad", Path("bad.svs"), "no tissue", seen)
    assert read_overview(path) is None
    np.testing.assert_array_equal(read_failed_thumbnail(path), seen)
    write_failed_overview(path, "bad", Path("bad.svs"), "no tissue")
    assert read_failed_thumbnail(path) is None


@pytest.mark.parametrize(("name", "value"), [("version", 1), ("format", "foveate.predictions")])
def test_another_version_or_format_is_an_error(
    made: Callable[..., tuple[Path, Overview]], name: str, value: object
) -> None:
    path, _ = made()
    with h5py.File(path, "a") as file:
        file.attrs[name] = value
    with pytest.raises(FoveateError, match=rf"{path}: expected foveate\.overview version 2; delete it"):
        read_overview(path)


def test_an_absent_or_broken_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FoveateError, match=r"a\.h5: cannot be read as HDF5"):
        read_overview(tmp_path / "a.h5")
    (tmp_path / "b.h5").write_bytes(b"\x89HDF no more")
    with pytest.raises(FoveateError, match=r"b\.h5: cannot be read as HDF5"):
        read_overview(tmp_path / "b.h5")


def test_a_cell_is_a_row_and_a_column_and_its_centre_x_and_y(overview_of: Callable[..., Any], tiny_slide: Any) -> None:
    stored = overview_of(tiny_slide)
    assert stored.grid.centre_um(np.array([0, 0])).tolist() == [64, 64]
    assert stored.grid.centre_um(np.array([[2, 5], [1, 0]])).tolist() == [[704, 320], [64, 192]]
