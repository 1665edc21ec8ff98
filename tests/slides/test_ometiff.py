from pathlib import Path
from xml.etree.ElementTree import fromstring

import numpy as np
import openslide
import pytest
import tifffile

from foveate.slides.ometiff import halved, write_ome_tiff

UM = {"ome": "http://www.openmicroscopy.org/Schemas/OME/2016-06"}


@pytest.fixture(scope="module")
def pyramid() -> list[np.ndarray]:
    levels = [np.random.default_rng(0).integers(0, 256, (600, 1000), np.uint8)]
    levels.append(halved(levels[0]))
    return [*levels, halved(levels[1])]


@pytest.fixture(scope="module")
def path(pyramid: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("ome") / "a.ome.tif"
    write_ome_tiff(made, pyramid, (16.25, 15.5), "attention")
    return made


def test_means_of_four_rounded() -> None:
    assert halved(np.array([[255, 255, 0, 1], [255, 255, 0, 1]], np.uint8)).tolist() == [[255, 1]]


def test_every_level_is_read_back(path: Path, pyramid: list[np.ndarray]) -> None:
    with tifffile.TiffFile(path) as file:
        assert file.is_ome
        (series,) = file.series
        assert series.axes == "YX"
        for level, expected in zip(series.levels, pyramid, strict=True):
            np.testing.assert_array_equal(level.asarray(), expected)


def test_the_physical_size_is_in_the_xml(path: Path) -> None:
    with tifffile.TiffFile(path) as file:
        image = fromstring(file.ome_metadata or "").find("ome:Image", UM)
    assert image is not None
    pixels = image.find("ome:Pixels", UM)
    assert pixels is not None
    sizes = {name: pixels.get(name) for name in ("SizeX", "SizeY", "PhysicalSizeX", "PhysicalSizeY")}
    assert sizes == {"SizeX": "1000", "SizeY": "600", "PhysicalSizeX": "16.25", "PhysicalSizeY": "15.5"}
    assert {pixels.get(f"PhysicalSize{axis}Unit") for axis in "XY"} == {"µm"}
    assert [channel.get("Name") for channel in pixels.iterfind("ome:Channel", UM)] == ["attention"]


def test_openslide_opens_it_with_the_same_pixels_and_size(path: Path, pyramid: list[np.ndarray]) -> None:
    with openslide.OpenSlide(path) as slide:
        assert slide.dimensions == (1000, 600)
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(16.25, rel=1e-6)
        assert float(slide.properties["openslide.mpp-y"]) == pytest.approx(15.5, rel=1e-6)
        seen = np.asarray(slide.read_region((0, 0), 0, (1000, 600)))
    np.testing.assert_array_equal(seen[..., 0], pyramid[0])
