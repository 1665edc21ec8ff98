import numpy as np
import pytest

from foveate.cohort.demo_texture import (
    SIDE,
    Nuclei,
    Stain,
    blocks,
    even,
    grain,
    places,
    shapes,
    spread,
    stamp,
)

ROUND = Nuclei(24.0, (5.0, 5.0), 1.0, 0.0, (0.8, 0.8))


def test_stain_follows_beer_and_lambert() -> None:
    vectors = np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 0.5]], np.float32)
    stain = Stain(vectors, np.array([200.0, 200.0, 200.0], np.float32))
    h, e = np.array([[0.0, np.log(2)]], np.float32), np.array([[0.0, np.log(4)]], np.float32)
    expected = [[200, 200, 200], [100, 200 / np.sqrt(2) / 4, 100]]
    assert stain.colour(h, e)[0] == pytest.approx(np.array(expected), rel=1e-5)
    assert stain.bytes(h, e).dtype == np.uint8
    assert stain.bytes(h, e)[0].tolist() == [[200, 200, 200], [100, 35, 100]]


def test_a_nucleus_has_its_size_and_depth_and_wraps_around() -> None:
    plane = np.zeros((SIDE, SIDE), np.float32)
    stamp(plane, np.random.default_rng(0), np.array([[0.0, 300.0]], np.float32), ROUND)
    assert plane.max() == pytest.approx(0.8)
    assert (plane > 0.4).sum() == pytest.approx(np.pi * 25, abs=8)
    assert plane[300, 3] > 0.4
    assert plane[300, SIDE - 3] > 0.4
    assert plane[300, 20] == 0


def test_a_hollow_nucleus_is_paler_in_the_middle() -> None:
    plain = shapes(np.random.default_rng(0), ROUND, 4)
    hollow = shapes(np.random.default_rng(0), Nuclei(**{**vars(ROUND), "hollow": 0.5}), 4)
    middle = plain.shape[1] // 2
    assert plain[:, middle, middle] == pytest.approx(0.8)
    assert hollow[:, middle, middle] == pytest.approx(0.4)


def test_the_darker_of_two_nuclei_wins() -> None:
    plane = np.full((SIDE, SIDE), 0.9, np.float32)
    stamp(plane, np.random.default_rng(0), np.array([[50.0, 50.0]], np.float32), ROUND)
    assert (plane == np.float32(0.9)).all()


def test_places_are_as_many_and_as_even_as_asked_for() -> None:
    points = places(np.random.default_rng(3), ROUND)
    assert len(points) == (SIDE // 24) ** 2
    assert points.min() >= 0
    assert points.max() < SIDE
    counts = np.histogram2d(*points.T, bins=4)[0]
    assert counts.min() > 0.8 * len(points) / 16
    assert counts.max() < 1.2 * len(points) / 16


def test_blocks_and_spread() -> None:
    plane = np.zeros((SIDE, SIDE), np.float32)
    plane[:16, 16:32] = 2
    assert blocks(plane)[0, :3].tolist() == [0, 2, 0]
    assert np.abs(spread(np.full((4, 4), 3, np.float32)) - 3).max() < 1e-6
    ramp = spread(np.array([[0, 1], [0, 1]], np.float32))
    assert ramp[5, SIDE // 2] == pytest.approx(0.5, abs=0.01)
    assert ramp[5, 0] == pytest.approx(0.5, abs=0.01)  # across the seam


def test_even_takes_out_slow_changes_and_keeps_quick_ones() -> None:
    slow = 1 + 0.3 * np.sin(np.arange(SIDE) * (2 * np.pi / SIDE))
    quick = 1 + 0.3 * (np.arange(SIDE) % 2)
    plane = (slow[:, None] * quick).astype(np.float32)
    flat = even(plane)
    assert blocks(plane, 64).std() > 0.2
    assert blocks(flat, 64).std() < 0.01
    assert flat[100, 101] / flat[100, 100] == pytest.approx(1.3, rel=0.01)


def test_grain_is_seamless_noise() -> None:
    noise = grain(np.random.default_rng(1), 3.0)
    assert noise.dtype == np.float32
    assert noise.std() == pytest.approx(1, abs=1e-4)
    step = np.abs(np.diff(noise, axis=0)).mean()
    assert np.abs(noise[0] - noise[-1]).mean() < 1.5 * step
