import numpy as np
import pytest

from foveate.cohort.demo_shapes import CELL, Outline, blob, kidney, noise, spots

CIRCLE = Outline((400.0, 240.0), np.full(360, 100.0))


def test_vertices_and_diameter_of_a_circle() -> None:
    assert CIRCLE.vertices[0] == pytest.approx([500, 240])
    assert CIRCLE.vertices[90] == pytest.approx([400, 340])
    assert CIRCLE.diameter == pytest.approx(200)
    assert CIRCLE.at(0, 0).diameter == pytest.approx(200)


def test_depth_is_positive_inside() -> None:
    points = np.array([[400.0, 240.0], [470.0, 240.0], [400.0, 90.0]])
    assert CIRCLE.depth(points) == pytest.approx([100, 30, -50])


def test_depth_is_interpolated_between_vertices() -> None:
    egg = Outline((0.0, 0.0), np.array([10.0, 20.0, 10.0, 20.0]))
    assert egg.depth(np.array([0.0, 0.0])) == pytest.approx(10)
    assert egg.depth(np.array([0.01, 0.01])) == pytest.approx(15, abs=0.05)


def test_paint_gives_the_cells_around_the_curve() -> None:
    field = np.zeros((60, 100), np.float32)
    window, depth = CIRCLE.paint(field, reach=50)
    assert field[window].shape == depth.shape
    row, column = (240 // CELL) - window[0].start, (400 // CELL) - window[1].start
    assert depth[row, column] == pytest.approx(100 - np.hypot(4, 4), abs=1e-3)
    everywhere = np.stack(np.meshgrid((np.arange(100) + 0.5) * CELL, (np.arange(60) + 0.5) * CELL), axis=-1)
    assert (CIRCLE.depth(everywhere) > -40).sum() == (depth > -40).sum()


def test_paint_stays_inside_the_field() -> None:
    window, depth = CIRCLE.at(0, 0).paint(np.zeros((5, 5), np.float32))
    assert window == (slice(0, 5), slice(0, 5))
    assert depth.shape == (5, 5)


@pytest.mark.parametrize("diameter", [90.0, 700.0, 4200.0])
def test_a_blob_has_exactly_the_diameter_asked_for(diameter: float) -> None:
    for seed in range(5):
        shape = blob(np.random.default_rng(seed), diameter, 1.5, 0.16)
        assert shape.diameter == pytest.approx(diameter)
        assert shape.radius.min() > 0.1 * diameter


def test_a_kidney_is_about_as_large_as_asked_for() -> None:
    for seed in range(5):
        low, high = (
            f(kidney(np.random.default_rng(seed), (5000, 3000), 6000, 4000).vertices, axis=0) for f in (np.min, np.max)
        )
        assert 5000 < high[0] - low[0] < 7200
        assert 3000 < high[1] - low[1] < 4800


def test_spots_lie_inside_their_host_by_the_margin() -> None:
    host, shape = CIRCLE, Outline((0.0, 0.0), np.full(90, 20.0))
    found = list(spots(np.random.default_rng(1), shape, [host], 15.0, 200))
    assert 20 < len(found) < 200
    for spot in found:
        assert np.hypot(spot.center[0] - 400, spot.center[1] - 240) <= 100 - 20 - 15 + 0.1
    assert list(spots(np.random.default_rng(1), Outline((0, 0), np.full(90, 101.0)), [host], 0.0, 50)) == []


def test_noise_has_unit_variance_and_the_size_asked_for() -> None:
    field = noise(np.random.default_rng(2), (200, 300), 160)
    assert field.shape == (200, 300)
    assert field.std() == pytest.approx(1, abs=1e-3)
    assert np.abs(np.diff(field, axis=1)).mean() < 0.15  # 8 of 160 um
