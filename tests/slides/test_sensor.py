import dataclasses
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest

from foveate.errors import SlideError
from foveate.slides import sensor as sensor_module
from foveate.slides.jpeg import library
from foveate.slides.overview_file import Mapped, StoredOverview
from foveate.slides.readers import open_reader
from foveate.slides.sensor import GlimpseSensor
from foveate.slides.tiff import read_tiff

SHARED = os.environ.get("FOVEATE_SHARED")
needs_shared = pytest.mark.skipif(not SHARED, reason="FOVEATE_SHARED is not set")
needs_turbojpeg = pytest.mark.skipif(library() is None, reason="TurboJPEG 3 is not installed")
SCALES, PX = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0), 32
OUTSIDE = (1, 2, 3)


@pytest.fixture(scope="module")
def exact(overview_of: Callable[..., StoredOverview], exact_slide: Any) -> StoredOverview:
    """Overview of the slide without loss; glass in another colour, so that it is told from the slide's own."""
    return dataclasses.replace(overview_of(exact_slide, slide="exact"), background_rgb=OUTSIDE)


@pytest.fixture(scope="module")
def tiles(overview_of: Callable[..., StoredOverview], tiny_slide: Any) -> StoredOverview:
    """The same of the slide with JPEG tiles."""
    return dataclasses.replace(overview_of(tiny_slide, slide="tiles"), background_rgb=OUTSIDE)


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
    assert glimpse.shape == (6, PX, PX, 3)
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


def test_coarse_scales_are_crops_of_what_is_stored(
    sensor: GlimpseSensor, exact: StoredOverview, exact_slide: Any
) -> None:
    glimpse = one(sensor, exact, 1024, 768)  # thumbnail pixel 64, 48; pixel 128, 96 of the level of 8 um/px
    np.testing.assert_array_equal(glimpse[4], exact.thumbnail[32:64, 48:80])
    half = np.asarray(exact.thumbnail[16:80, 32:96]).reshape(PX, 2, PX, 2, 3).mean((1, 3))
    np.testing.assert_allclose(glimpse[5], half, atol=1)
    np.testing.assert_array_equal(glimpse[3], exact.rasters()[1].pixels[80:112, 112:144])
    mean = exact_slide.pixels[640:896, 896:1152].reshape(PX, 8, PX, 8, 3).mean((1, 3))
    np.testing.assert_allclose(glimpse[3], mean, atol=1.5)


def test_coarse_scales_need_no_slide(sensor: GlimpseSensor, exact: StoredOverview) -> None:
    absent = dataclasses.replace(exact, slide="absent", path=Path("nowhere.tif"))
    with GlimpseSensor((7.7, 8.0, 16.0, 32.0), PX, threads=1) as coarse:
        np.testing.assert_array_equal(one(coarse, absent, 900, 700)[1:], one(sensor, exact, 900, 700)[3:])
    with GlimpseSensor((7.6, 8.0), PX, threads=1) as finer:  # too fine for 8 um/px by more than 5 %
        assert list(finer.read([absent], np.array([[900.0, 700.0]])).errors) == [0]


def test_other_squares_than_those_of_a_glimpse(sensor: GlimpseSensor, exact: StoredOverview) -> None:
    at = np.array([[900.0, 700.0], [1024.0, 768.0]])
    with GlimpseSensor((4.0, 16.0), 24, threads=2) as other:
        expected = other.read([exact] * 2, at).pixels
    for _ in range(2):
        np.testing.assert_array_equal(sensor.read([exact] * 2, at, squares=((4.0, 16.0), 24)).pixels, expected)
        assert sensor.read([exact] * 2, at).pixels.shape[2:] == (PX, PX, 3)
    (ahead,) = sensor.read_ahead([([exact] * 2, at)], ((4.0, 16.0), 24))
    np.testing.assert_array_equal(ahead.pixels, expected)


def test_glimpses_are_put_where_they_are_wanted(sensor: GlimpseSensor, exact: StoredOverview) -> None:
    out = np.full((2, len(SCALES), PX, PX, 3), 77, np.uint8)
    seen = sensor.read([exact, exact], np.array([[900.0, 700.0], [400.0, 300.0]]), out)
    assert seen.pixels is out
    np.testing.assert_array_equal(out[0], one(sensor, exact, 900, 700))
    np.testing.assert_array_equal(out[1], one(sensor, exact, 400, 300))
    assert sensor.read([], np.empty((0, 2))).pixels.shape == (0, len(SCALES), PX, PX, 3)


@needs_turbojpeg
def test_both_readers_give_the_same_glimpses(tiles: StoredOverview) -> None:
    assert tiles.reader == "tiles"
    plain, where = dataclasses.replace(tiles, slide="plain", reader="openslide"), places(100)
    with GlimpseSensor(SCALES, PX, threads=2) as sensor:
        seen = sensor.read([tiles] * 100, where)
        assert seen.errors == {}
        np.testing.assert_array_equal(seen.pixels, sensor.read([plain] * 100, where).pixels)


@pytest.mark.parametrize("kind", ["exact", "tiles"])
@pytest.mark.parametrize("x", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("y", [0.0, 0.5, 1.0])
def test_at_borders_and_corners_what_lies_outside_is_background(
    sensor: GlimpseSensor, request: pytest.FixtureRequest, kind: str, x: float, y: float
) -> None:
    inside = np.ones((PX, PX), bool)
    if x != 0.5:
        inside[:, PX // 2 :] = x == 0
        inside[:, : PX // 2] = x == 1
    if y != 0.5:
        inside[PX // 2 :] &= y == 0
        inside[: PX // 2] &= y == 1
    assert inside.mean() == 0.5 ** ((x != 0.5) + (y != 0.5))
    glimpse = one(sensor, request.getfixturevalue(kind), 2048 * x, 1536 * y)
    for scale in glimpse:  # the coarsest shows 1024 um: the slide is larger
        assert (scale[~inside] == OUTSIDE).all()
        assert (scale[inside] != OUTSIDE).any(-1).all()


@pytest.mark.parametrize("place", [(-5000, 700), (7000, 700), (1000, -5000), (1000, 7000), (-9000, 9000)])
def test_far_outside_all_is_background(
    sensor: GlimpseSensor, exact: StoredOverview, place: tuple[float, float]
) -> None:
    assert (one(sensor, exact, *place) == OUTSIDE).all()


def test_oblong_pixels_and_bounds_show_the_same_place_at_every_scale(
    make_slide: Callable[..., Any],
    overview_of: Callable[..., StoredOverview],
    mapped: Callable[[Any], Mapped],
    tmp_path: Path,
) -> None:
    # the corner of the tissue, at 400, 100 um: dark at the right and below, glass elsewhere, whatever the scale
    tissue_um = (400, 100, 1500, 700)
    tiny = make_slide(tmp_path / "oblong.tif", mpp=(1.0, 0.5), tissue_um=tissue_um, compression="deflate")
    overview = overview_of(tiny, slide="oblong")
    assert overview.coarse_um == (8.0, 8.0)
    cut = dataclasses.replace(
        overview,
        slide="cut",
        origin_um=(320.0, 64.0),
        thumbnail_at=mapped(np.asarray(overview.thumbnail[4:, 20:])),
        coarse_at=mapped(np.asarray(overview.rasters()[1].pixels[8:, 40:])),
    )
    for stored in (overview, cut):
        with GlimpseSensor((1.0, 4.0, 8.0, 16.0), 16, threads=1) as sensor:
            for scale in one(sensor, stored, 400, 100):
                stained = np.ptp(scale.astype(int), axis=2) > 20
                assert stained[9:, 9:].mean() > 0.9
                assert not stained[:7].any()
                assert not stained[:, :7].any()


@pytest.mark.parametrize("kind", ["tiles", "openslide"])
def test_an_absent_tile_is_background_and_not_black(
    tiles: StoredOverview, spoil_tile: Callable[..., None], tmp_path: Path, kind: str
) -> None:
    sparse = tmp_path / "sparse.tif"
    shutil.copy(tiles.path, sparse)
    spoil_tile(sparse, 9, absent=True)
    stored = dataclasses.replace(tiles, path=sparse, images=read_tiff(sparse) or (), reader=kind)
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


@pytest.mark.parametrize("kind", ["tiles", "openslide"])
@pytest.mark.parametrize("damage", ["noise", "one byte"])
def test_a_corrupt_tile_is_the_error_of_those_who_look_there(
    tiles: StoredOverview,
    spoil_tile: Callable[..., None],
    break_tile: Callable[..., None],
    tmp_path: Path,
    kind: str,
    damage: str,
) -> None:
    path = tmp_path / "bad.tif"
    shutil.copy(tiles.path, path)
    if damage == "noise":
        spoil_tile(path, 9, absent=False)
    else:
        break_tile(path, 9, at=0.1)
    good = dataclasses.replace(tiles, slide="good", reader=kind)
    bad = dataclasses.replace(good, slide="bad", path=path)
    where = np.array([(1024 + 16 * k, 700) if k % 4 else (300, 310) for k in range(32)], float)
    slides = [bad if k % 2 == 0 else good for k in range(32)]  # rows 0, 4, 8 ... look at the bad tile
    with GlimpseSensor((1.0, 4.0), PX, threads=4) as sensor:
        seen = sensor.read(slides, where)
        assert list(seen.errors) == list(range(0, 32, 4))
        assert all(error.slide == "bad" for error in seen.errors.values())
        assert "level 0" in seen.errors[0].reason
        assert "1, 1" in seen.errors[0].reason  # (column, row)
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


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts open files through /proc")
@pytest.mark.parametrize("kind", ["tiles", "openslide"])
def test_more_slides_than_may_be_open(
    tiles: StoredOverview, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(sensor_module, "MAX_OPEN", 5)
    many = []
    for k in range(20):
        path = tmp_path / f"{k}.tif"
        path.hardlink_to(tiles.path)
        many.append(dataclasses.replace(tiles, slide=f"s{k}", path=path, reader=kind))
    slides, where = [many[k % 20] for k in range(100)], places(100)
    with GlimpseSensor(SCALES, PX, threads=4) as sensor:
        expected = sensor.read([tiles] * 100, where).pixels
        for _ in range(2):
            seen = sensor.read(slides, where)
            assert seen.errors == {}
            np.testing.assert_array_equal(seen.pixels, expected)
            files = {file.resolve() for file in Path("/proc/self/fd").iterdir()}
            assert len(files & {slide.path for slide in many}) <= 5


def test_a_slide_is_opened_once_while_it_is_in_use(tiles: StoredOverview, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []

    def watched(overview: StoredOverview, caches: Any) -> Any:
        opened.append(overview.slide)
        return open_reader(overview, caches)

    monkeypatch.setattr(sensor_module, "open_reader", watched)
    other = dataclasses.replace(tiles, slide="other")
    with GlimpseSensor(SCALES, PX, threads=4) as sensor:
        for _ in range(3):
            sensor.read([tiles, other] * 20, places(40))
    assert sorted(opened) == ["other", "tiles"]
    with GlimpseSensor((8.0, 16.0), PX, threads=4) as coarse:
        coarse.read([tiles] * 20, places(20))
    assert len(opened) == 2


def test_slides_are_opened_ahead(tiles: StoredOverview, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []

    def watched(overview: StoredOverview, caches: Any) -> Any:
        if overview.slide == "bad":
            raise SlideError("bad", "no slide", "put one there")
        opened.append(overview.slide)
        return open_reader(overview, caches)

    monkeypatch.setattr(sensor_module, "open_reader", watched)
    bad = dataclasses.replace(tiles, slide="bad")
    with GlimpseSensor(SCALES, PX, threads=1) as sensor:  # one thread: in the order of the requests
        sensor.open_ahead([bad, tiles])
        sensor._pool.submit(int).result()
        assert opened == ["tiles"]
        seen = sensor.read([tiles, bad], places(2))
        assert opened == ["tiles"]
        assert list(seen.errors) == [1]
        np.testing.assert_array_equal(seen.pixels[0], one(sensor, tiles, *places(2)[0]))


def test_a_slide_that_is_closed_leaves_nothing_behind(tiles: StoredOverview, monkeypatch: pytest.MonkeyPatch) -> None:
    if tiles.reader != "tiles":
        pytest.skip("TurboJPEG 3 is not installed")
    monkeypatch.setattr(sensor_module, "MAX_OPEN", 1)
    other = dataclasses.replace(tiles, slide="other")
    with GlimpseSensor((1.0,), PX, threads=1) as sensor:
        sensor.read([tiles, other], np.array([[700.0, 500.0]] * 2))
    assert all(not {"offsets", "counts"} & set(vars(image)) for image in tiles.images)


def test_an_overview_that_went_away_is_an_error_of_its_rows(exact: StoredOverview, sensor: GlimpseSensor) -> None:
    lost = dataclasses.replace(exact, slide="lost", coarse_at=Mapped(Path("lost.h5"), 0, (1, 1, 3)))
    seen = sensor.read([exact, lost], np.array([[700.0, 500.0]] * 2))
    assert list(seen.errors) == [1]
    assert "run the workflow again" in str(seen.errors[1].remedy)


def test_pixels_are_counted_until_the_sensor_forgets(tiles: StoredOverview, exact: StoredOverview) -> None:
    with GlimpseSensor((1.0, 2.0, 16.0), 32, threads=2) as sensor:
        for overview in (tiles, exact):  # read by tiles, and by OpenSlide
            for _ in range(2):  # the same again: nothing was kept
                sensor.forget()
                assert sensor.decoded_px == 0
                one(sensor, overview, 600, 400)
                assert sensor.decoded_px == 32 * 32 + 64 * 64  # of level 0; the coarsest is stored


def test_a_location_that_is_no_place_is_refused(exact: StoredOverview, sensor: GlimpseSensor) -> None:
    with pytest.raises(ValueError, match=r"exact: a location must be two finite numbers in um, got \[nan, 1\.0\]"):
        sensor.read([exact], np.array([[np.nan, 1.0]]))


def test_a_slide_too_coarse_is_an_error_of_its_rows(exact: StoredOverview) -> None:
    with GlimpseSensor((0.4, 16.0), PX, threads=1) as sensor:
        assert (
            "coarser than twice the glimpse scale" in sensor.read([exact], np.array([[700.0, 500.0]])).errors[0].reason
        )


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
        seen = sensor.read([small] * len(rows), small.grid.centre_um(np.stack([rows, columns], 1)))
        assert seen.errors == {}
        chroma = np.ptp(seen.pixels.astype(int), axis=-1).mean((2, 3))
        assert (chroma > (10, 10, 5)).all()  # stained; at the coarsest scale there is glass around
        with pytest.raises(SlideError, match=r"^level7: level 0 has 28\.97 um/px, .* 1 um/px"):
            sensor.check(level7)


def test_the_next_request_is_read_while_one_is_used(
    sensor: GlimpseSensor, exact: StoredOverview, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = np.array([[656.0, 336.0], [700.0, 400.0], [300.0, 300.0]])
    said: list[str] = []
    start = sensor.start

    def watched(overviews: list[StoredOverview], locations_um: np.ndarray, **options: Any) -> Callable[[], Any]:
        number = int(np.flatnonzero((places == locations_um[0]).all(1))[0])
        said.append(f"begin {number}")
        finish = start(overviews, locations_um, **options)
        return lambda: (said.append(f"end {number}"), finish())[1]

    monkeypatch.setattr(sensor, "start", watched)
    requests = [([exact], place[None]) for place in places]
    for number, glimpses in enumerate(sensor.read_ahead(requests)):
        said.append(f"use {number}")
        np.testing.assert_array_equal(glimpses.pixels, start([exact], places[number][None])().pixels)
    assert said == ["begin 0", "end 0", "begin 1", "use 0", "end 1", "begin 2", "use 1", "end 2", "use 2"]
    said.clear()
    left_early = sensor.read_ahead(requests)
    next(left_early)
    left_early.close()
    assert said == ["begin 0", "end 0", "begin 1", "end 1"]
    assert list(sensor.read_ahead([])) == []
