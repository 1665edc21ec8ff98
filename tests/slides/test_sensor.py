import dataclasses
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest

from foveate.errors import SlideError
from foveate.slides.overview_file import StoredOverview
from foveate.slides.sensor import GlimpseSensor, HandleCache

SHARED = os.environ.get("FOVEATE_SHARED")
needs_shared = pytest.mark.skipif(not SHARED, reason="FOVEATE_SHARED is not set")
SCALES, PX = (1.0, 2.0, 4.0, 16.0, 32.0), 32
OUTSIDE = (1, 2, 3)


@pytest.fixture(scope="module")
def exact(overview_of: Callable[..., StoredOverview], exact_slide: Any) -> StoredOverview:
    """Overview of the slide without loss; glass in another colour, so that it is told from the slide's own."""
    return dataclasses.replace(overview_of(exact_slide, slide="exact"), background_rgb=OUTSIDE)


@pytest.fixture
def sensor() -> Iterator[GlimpseSensor]:
    with GlimpseSensor(SCALES, PX, threads=3) as made:
        yield made


def one(sensor: GlimpseSensor, overview: StoredOverview, x_um: float, y_um: float) -> np.ndarray:
    """The glimpse at one place, (S, g, g, 3)."""
    seen = sensor.read([overview], np.array([[x_um, y_um]]))
    assert seen.errors == {}
    return seen.pixels[0]


def test_fine_scales_are_what_openslide_reads(sensor: GlimpseSensor, exact: StoredOverview, exact_slide: Any) -> None:
    x, y = 656, 336  # um, the middle of the marker
    glimpse = one(sensor, exact, x, y)
    assert glimpse.shape == (5, PX, PX, 3)
    with openslide.OpenSlide(exact_slide.path) as plain:
        for k, level, scale in ((0, 0, 1), (2, 1, 4)):
            corner = (x - PX // 2 * scale, y - PX // 2 * scale)
            expected = np.asarray(plain.read_region(corner, level, (PX, PX)))[..., :3]
            np.testing.assert_array_equal(glimpse[k], expected)
    assert (glimpse[0] == exact_slide.marker_rgb).all()


def test_a_scale_between_two_levels_is_the_mean_of_the_finer_one(
    sensor: GlimpseSensor, exact: StoredOverview, exact_slide: Any
) -> None:
    region = exact_slide.pixels[304:368, 500:564].reshape(PX, 2, PX, 2, 3)
    np.testing.assert_allclose(one(sensor, exact, 532, 336)[1], region.mean((1, 3)), atol=1)


def test_coarse_scales_are_crops_of_the_thumbnail(sensor: GlimpseSensor, exact: StoredOverview) -> None:
    glimpse = one(sensor, exact, 1024, 768)  # thumbnail pixel 64, 48
    np.testing.assert_array_equal(glimpse[3], exact.thumbnail[32:64, 48:80])
    half = np.asarray(exact.thumbnail[16:80, 32:96]).reshape(PX, 2, PX, 2, 3).mean((1, 3))
    np.testing.assert_allclose(glimpse[4], half, atol=1)


def test_coarse_scales_need_no_slide(sensor: GlimpseSensor, exact: StoredOverview) -> None:
    absent = dataclasses.replace(exact, slide="absent", path=Path("nowhere.tif"))
    with GlimpseSensor((16.0, 32.0), PX, threads=1) as coarse:
        np.testing.assert_array_equal(one(coarse, absent, 900, 700), one(sensor, exact, 900, 700)[3:])


@pytest.mark.parametrize("right", [False, True])
@pytest.mark.parametrize("below", [False, True])
def test_at_a_corner_three_quarters_are_background(
    sensor: GlimpseSensor, exact: StoredOverview, right: bool, below: bool
) -> None:
    inside = np.zeros((PX, PX), bool)
    inside[PX // 2 * (not below) :][: PX // 2, PX // 2 * (not right) :][:, : PX // 2] = True
    glimpse = one(sensor, exact, 2048.0 * right, 1536.0 * below)
    assert inside.sum() == PX * PX / 4
    for scale in glimpse:
        assert (scale[~inside] == OUTSIDE).all()
    for scale in glimpse[:4]:
        assert (scale[inside] == (244, 242, 246)).all()


@pytest.mark.parametrize("place", [(-5000, 700), (7000, 700), (1000, -5000), (1000, 7000), (-9000, 9000)])
def test_far_outside_all_is_background(
    sensor: GlimpseSensor, exact: StoredOverview, place: tuple[float, float]
) -> None:
    assert (one(sensor, exact, *place) == OUTSIDE).all()


def test_oblong_pixels_and_bounds_show_the_same_place_at_every_scale(
    make_slide: Callable[..., Any], overview_of: Callable[..., StoredOverview], tmp_path: Path
) -> None:
    # the corner of the tissue, at 400, 100 um: dark at the right and below, glass elsewhere, whatever the scale
    tissue_um = (400, 100, 1500, 700)
    tiny = make_slide(tmp_path / "oblong.tif", mpp=(1.0, 0.5), tissue_um=tissue_um, compression="deflate")
    overview = overview_of(tiny, slide="oblong")
    cut = dataclasses.replace(overview, origin_um=(320.0, 64.0), thumbnail=overview.thumbnail[4:, 20:])
    for stored in (overview, cut):
        with GlimpseSensor((1.0, 4.0, 16.0), 16, threads=1) as sensor:
            for scale in one(sensor, stored, 400, 100):
                stained = np.ptp(scale.astype(int), axis=2) > 20
                assert stained[9:, 9:].mean() > 0.9
                assert not stained[:7].any()
                assert not stained[:, :7].any()


def test_an_absent_tile_is_background_and_not_black(
    overview_of: Callable[..., StoredOverview], tiny_slide: Any, spoil_tile: Callable[..., None], tmp_path: Path
) -> None:
    sparse = tmp_path / "sparse.tif"
    shutil.copy(tiny_slide.path, sparse)
    spoil_tile(sparse, 9, absent=True)
    stored = dataclasses.replace(overview_of(tiny_slide, slide="sparse"), path=sparse, background_rgb=OUTSIDE)
    with GlimpseSensor((1.0,), 64, threads=1) as sensor:
        glimpse = one(sensor, stored, 256, 384)[0]  # its left half lies in the tile before
    assert (glimpse[:, 32:] == OUTSIDE).all()
    assert (glimpse[:, :32] > 100).all()


def places(count: int) -> np.ndarray:
    return np.random.default_rng(0).uniform((-50, -50), (2100, 1600), (count, 2))


def test_reading_is_the_same_again_in_any_order_and_with_any_threads(
    overview_of: Callable[..., StoredOverview], exact: StoredOverview, tiny_slide: Any
) -> None:
    other = overview_of(tiny_slide, slide="tiny")
    slides, where = [exact, other, exact, exact] * 6, places(24)
    with GlimpseSensor(SCALES, PX, threads=4) as many, GlimpseSensor(SCALES, PX, threads=1) as single:
        first = many.read(slides, where)
        np.testing.assert_array_equal(many.read(slides, where).pixels, first.pixels)
        np.testing.assert_array_equal(single.read(slides[::-1], where[::-1]).pixels, first.pixels[::-1])
    assert first.errors == {}
    assert len({glimpse.tobytes() for glimpse in first.pixels}) > 20


def test_a_corrupt_tile_is_the_error_of_those_who_look_there(
    overview_of: Callable[..., StoredOverview], tiny_slide: Any, spoil_tile: Callable[..., None], tmp_path: Path
) -> None:
    path = tmp_path / "bad.tif"
    shutil.copy(tiny_slide.path, path)
    spoil_tile(path, 9, absent=False)
    good = overview_of(tiny_slide, slide="good")
    bad = dataclasses.replace(good, slide="bad", path=path)
    where = np.array([(1024 + 16 * k, 700) if k % 4 else (300, 310) for k in range(32)], float)
    slides = [bad if k % 2 == 0 else good for k in range(32)]  # rows 0, 4, 8 ... look at the bad tile
    with GlimpseSensor((1.0, 4.0), PX, threads=4) as sensor:
        seen = sensor.read(slides, where)
        assert list(seen.errors) == list(range(0, 32, 4))
        assert all(error.slide == "bad" for error in seen.errors.values())
        assert "level 0" in seen.errors[0].reason
        assert (seen.pixels[::4] == 0).all()
        expected = sensor.read([good] * 32, where).pixels
        fine = [k for k in range(32) if k % 4]
        np.testing.assert_array_equal(seen.pixels[fine], expected[fine])
        np.testing.assert_array_equal(one(sensor, bad, 1500, 700), one(sensor, good, 1500, 700))


def test_a_slide_that_went_away_is_an_error_of_its_rows(exact: StoredOverview, sensor: GlimpseSensor) -> None:
    gone = dataclasses.replace(exact, slide="gone", path=Path("gone.tif"))
    seen = sensor.read([exact, gone], np.array([[700.0, 500.0]] * 2))
    assert list(seen.errors) == [1]
    assert "gone.tif cannot be read" in str(seen.errors[1])
    np.testing.assert_array_equal(seen.pixels[0], one(sensor, exact, 700, 500))


def test_the_least_recently_used_handle_is_given_up(exact: StoredOverview) -> None:
    a, b, c = (dataclasses.replace(exact, slide=name) for name in "abc")
    cache = HandleCache(2)
    handle_a, handle_b = cache.get(a), cache.get(b)
    assert cache.get(a) is handle_a
    cache.get(c)
    assert cache.get(a) is handle_a
    assert cache.get(b) is not handle_b
    assert handle_b.read(640, 320, 0, 1, 1).getpixel((0, 0)) == (20, 150, 60, 255)  # its readers may go on


def test_check_warns_of_upsampling_and_refuses_more(exact: StoredOverview) -> None:
    with GlimpseSensor((0.5, 1.0, 32.0), PX, threads=1) as sensor:
        assert sensor.check(exact) == ["the glimpse scale of 0.5 um/px is upsampled from 1 um/px"]
        upsampled = one(sensor, exact, 656, 336)[0]
        assert (upsampled == (20, 150, 60)).all()
    with (
        GlimpseSensor((0.4, 1.0), PX, threads=1) as sensor,
        pytest.raises(SlideError, match=r"^exact: level 0 has 1 um/px, .* 0\.4 um/px"),
    ):
        sensor.check(exact)


@needs_shared
def test_real_slides(overview_of: Callable[..., StoredOverview]) -> None:
    folder = Path(str(SHARED), "data", "slides")

    small = overview_of(folder / "CMU-1-Small-Region.svs", slide="small")
    level7 = overview_of(folder / "camelyon16_tumor_072_level7.dcm", slide="level7")
    with GlimpseSensor((1.0, 4.0, 32.0), 64, threads=2) as sensor:
        assert sensor.check(small) == []
        rows, columns = np.nonzero(small.cell_tissue > 0.5)
        seen = sensor.read([small] * len(rows), small.cell_centre_um(np.stack([rows, columns], 1)))
        assert seen.errors == {}
        chroma = np.ptp(seen.pixels.astype(int), axis=-1).mean((2, 3))
        assert (chroma > (10, 10, 5)).all()  # stained; at the coarsest scale there is glass around
        with pytest.raises(SlideError, match=r"^level7: level 0 has 28\.97 um/px, .* 1 um/px"):
            sensor.check(level7)
