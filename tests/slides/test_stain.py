import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from foveate.slides import stain
from foveate.slides.overview_file import Mapped, StoredOverview
from foveate.slides.sensor import GlimpseSensor
from foveate.slides.stain import power_tables, restain, tissue_density, to_density


def test_a_power_of_the_intensity_is_a_factor_on_the_density() -> None:
    tables = power_tables(np.array([1.0, 2.0, 0.5]))
    # 255 (128 / 255)^2 = 64.25; 255 (64 / 255)^(1 / 2) = 127.75
    assert tables.shape == (3, 256)
    assert (tables[0] == np.arange(256)).all()
    assert (tables[1, 128], tables[2, 64]) == (64, 128)
    assert (tables[:, 255] == 255).all()
    assert (tables[:, 0] == 0).all()


def test_the_density_is_relative_to_the_glass() -> None:
    tables = power_tables(np.array([1.0, 1.0, 2.0]), (240, 200, 240))
    # 255 * 120 / 240; brighter than glass is glass; 255 (120 / 240)^2
    assert (tables[0, 120], tables[1, 220], tables[2, 120]) == (128, 255, 64)


def test_pixels_may_be_changed_in_place() -> None:
    pixels = np.array([[[10, 20, 30], [40, 50, 60]]], np.uint8)
    restain(pixels, 255 - np.tile(np.arange(256, dtype=np.uint8), (3, 1)), pixels)
    np.testing.assert_array_equal(pixels, [[[245, 235, 225], [215, 205, 195]]])


@pytest.fixture
def painted(overview_of: Callable[..., StoredOverview], tiny_slide: Any, tmp_path: Any) -> Iterator[Callable[..., Any]]:
    """An overview whose tissue has one colour, or pixels (n, 3) in turn, on glass."""

    def paint(rgb: Any, glass: tuple[int, int, int] = (255, 255, 255)) -> StoredOverview:
        stored = overview_of(tiny_slide, slide="painted")
        image = np.empty((*stored.tissue.shape, 3), np.uint8)
        image[:] = glass
        image[stored.tissue] = np.resize(np.asarray(rgb, np.uint8), (stored.tissue.sum(), 3))
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.raw"
        image.tofile(path)
        return dataclasses.replace(stored, thumbnail_at=Mapped(path, 0, image.shape), background_rgb=glass)

    yield paint


def test_density_of_the_tissue_alone(painted: Callable[..., StoredOverview]) -> None:
    overview = painted((128, 26, 200), glass=(240, 240, 200))
    assert 0 < overview.tissue.mean() < 1
    np.testing.assert_allclose(tissue_density(overview), np.log10([240 / 128, 240 / 26, 1]), atol=1e-9)


def test_tissue_is_given_a_density_within_bounds(painted: Callable[..., StoredOverview]) -> None:
    # densities 0.3 and 1.0 become 0.4 and 0.9; glass would need an infinite factor
    tables = to_density(painted((128, 26, 255)), (0.4, 0.9, 0.3))
    made = [-np.log10(tables[0, 128] / 255), -np.log10(tables[1, 26] / 255)]
    np.testing.assert_allclose(made, [0.4, 0.9], atol=0.01)
    assert tables[2, 128] == 64  # the largest factor, 2


def test_slides_that_were_stained_differently_look_alike(painted: Callable[..., StoredOverview]) -> None:
    pixels = np.random.default_rng(0).integers(60, 220, (500, 3)).astype(np.uint8)
    found = []
    for factor in (0.8, 1.0, 1.25):
        stained = np.empty_like(pixels)
        restain(pixels, power_tables(np.full(3, factor)), stained)
        restain(stained, to_density(painted(stained), (0.3, 0.3, 0.3)), stained)
        found.append(stained.astype(int))
    assert np.abs(found[0] - found[1]).max() <= 2  # rounding, twice
    assert np.abs(found[2] - found[1]).max() <= 2
    np.testing.assert_allclose(-np.log10(found[1] / 255).mean(0), 0.3, atol=0.005)


@pytest.mark.parametrize("glass", [(0, 0, 0), (40, 40, 40)])
def test_glass_that_is_no_brighter_than_tissue_leaves_the_colours_alone(
    painted: Callable[..., StoredOverview], glass: tuple[int, int, int]
) -> None:
    tables = to_density(painted((60, 50, 70), glass), (0.3, 0.5, 0.3))
    assert (tables == np.arange(256)).all()


def test_the_density_of_a_large_overview_is_that_of_some_of_its_pixels(
    painted: Callable[..., StoredOverview], monkeypatch: pytest.MonkeyPatch
) -> None:
    overview = painted((128, 26, 200))
    whole = tissue_density(overview)
    monkeypatch.setattr(stain, "ENOUGH", overview.tissue.sum() // 9)
    np.testing.assert_allclose(tissue_density(overview), whole)


def test_the_sensor_gives_every_scale_the_density(overview_of: Callable[..., StoredOverview], tiny_slide: Any) -> None:
    density, scales = (0.3, 0.5, 0.25), (1.0, 4.0, 16.0)
    overview = overview_of(tiny_slide, slide="tiles")
    rows, columns = np.nonzero(overview.cell_tissue == overview.cell_tissue.max())
    places = overview.grid.centre_um(np.stack([rows, columns], 1))
    with GlimpseSensor(scales, 16, 1, density) as sensor, GlimpseSensor(scales, 16, 1) as plain:
        seen, raw = (s.read([overview] * len(rows), places) for s in (sensor, plain))
    assert seen.errors == {}
    expected = np.empty_like(raw.pixels)
    restain(raw.pixels, to_density(overview, density), expected)
    np.testing.assert_array_equal(seen.pixels, expected)
    assert not (seen.pixels == raw.pixels).all()
