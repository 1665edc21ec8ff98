import itertools
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from foveate.errors import SlideError
from foveate.slides import tiles
from foveate.slides.handle import open_slide
from foveate.slides.jpeg import library
from foveate.slides.reader import Tally
from foveate.slides.readers import OpenSlideReader
from foveate.slides.tiff import read_tiff
from foveate.slides.tiles import TileCache, TileReader

needs_turbojpeg = pytest.mark.skipif(library() is None, reason="TurboJPEG 3 is not installed")
OUTSIDE = (1, 2, 3)
SIZE = (700, 600)  # levels of 700 x 600, 350 x 300 and 175 x 150 px
KINDS = list(itertools.product(((1, 1), (2, 1), (2, 2)), (240, 256, 512)))
Read = Callable[..., NDArray[np.uint8]]


def tile_reader(path: Path, size_bytes: int = 0, background: tuple[int, int, int] = OUTSIDE) -> TileReader:
    images = read_tiff(path)
    assert images is not None
    return TileReader("a", path, open_slide("a", path, 1.0).geometry, images, background, TileCache(size_bytes))


def region(reader: Any, x: int, y: int, level: int, width: int, height: int) -> NDArray[np.uint8]:
    out = np.full((height, width, 3), 77, np.uint8)
    reader.read(x, y, level, out)
    return out


@pytest.fixture(scope="module")
def slides(make_slide: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[Any, int], Path]:
    """Slides that are all tissue, by subsampling of colour and size of tile."""
    folder = tmp_path_factory.mktemp("kinds")
    made = {}
    for subsampling, tile in KINDS:
        path = folder / f"{subsampling[0]}{subsampling[1]}_{tile}.tif"
        make_slide(path, size=SIZE, step=2, tile=tile, subsampling=subsampling, tissue_um=(0, 0, *SIZE))
        made[subsampling, tile] = path
    return made


@pytest.fixture(scope="module")
def both(slides: dict[tuple[Any, int], Path]) -> dict[tuple[Any, int], tuple[TileReader, OpenSlideReader]]:
    """Both readers of each slide; tiles are kept, so that what one example read serves the next."""
    return {
        kind: (tile_reader(path, 10**7), OpenSlideReader(open_slide("a", path), OUTSIDE))
        for kind, path in slides.items()
    }


@needs_turbojpeg
@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize(("subsampling", "tile"), KINDS)
def test_a_whole_level_with_all_borders_is_what_openslide_gives(
    both: dict[Any, Any], subsampling: tuple[int, int], tile: int, level: int
) -> None:
    mine, reference = both[subsampling, tile]
    width, height = (side >> level for side in SIZE)
    seen = region(mine, -20, -30, level, width + 50, height + 70)
    np.testing.assert_array_equal(seen, region(reference, -20, -30, level, width + 50, height + 70))
    assert (seen[:30] == OUTSIDE).all()
    assert (seen[:, :20] == OUTSIDE).all()
    assert (seen[30 + height :] == OUTSIDE).all()
    assert (seen[:, 20 + width :] == OUTSIDE).all()
    assert np.ptp(seen[30 : 30 + height, 20 : 20 + width]) > 100


@needs_turbojpeg
@pytest.mark.parametrize(("subsampling", "tile"), KINDS)
def test_where_four_tiles_meet_and_single_pixels(
    both: dict[Any, Any], slides: dict[Any, Path], subsampling: tuple[int, int], tile: int
) -> None:
    reference = both[subsampling, tile][1]
    fresh = tile_reader(slides[subsampling, tile])
    for side in (1, 2, 7, 64):
        at = tile - (side + 1) // 2
        np.testing.assert_array_equal(region(fresh, at, at, 0, side, side), region(reference, at, at, 0, side, side))
    for x, y in itertools.product((0, tile - 1, tile, SIZE[0] - 1, -1, SIZE[0]), (0, tile - 1, tile, SIZE[1] - 1)):
        np.testing.assert_array_equal(region(fresh, x, y, 0, 1, 1), region(reference, x, y, 0, 1, 1))


@needs_turbojpeg
@given(kind=st.sampled_from(KINDS), level=st.integers(0, 2), data=st.data())
def test_both_readers_are_equal_anywhere(both: dict[Any, Any], kind: Any, level: int, data: st.DataObject) -> None:
    x, y = data.draw(st.integers(-150, 750)), data.draw(st.integers(-150, 650))
    width, height = data.draw(st.integers(1, 150)), data.draw(st.integers(1, 150))
    mine, reference = both[kind]
    expected = region(reference, x, y, level, width, height)
    np.testing.assert_array_equal(region(mine, x, y, level, width, height), expected)


@needs_turbojpeg
@given(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6), st.integers(0, 2))
def test_both_readers_are_equal_far_outside(both: dict[Any, Any], x: int, y: int, level: int) -> None:
    mine, reference = both[(2, 2), 256]
    np.testing.assert_array_equal(region(mine, x, y, level, 33, 21), region(reference, x, y, level, 33, 21))


@needs_turbojpeg
@pytest.mark.parametrize("size_bytes", [0, 100, 250_000, 10**9])
def test_neither_earlier_reads_nor_threads_nor_the_cache_matter(
    slides: dict[Any, Path], both: dict[Any, Any], size_bytes: int
) -> None:
    kind = (2, 2), 256
    mine, reference = tile_reader(slides[kind], size_bytes), both[kind][1]
    rng = np.random.default_rng(0)
    places = [(int(x), int(y), int(level)) for x, y, level in rng.integers((-40, -40, 0), (700, 600, 3), (150, 3))]

    def seen(reader: Any, place: tuple[int, int, int]) -> NDArray[np.uint8]:
        return region(reader, *place, 40, 30)

    expected = [seen(reference, place) for place in places]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            for got, wanted in zip(pool.map(lambda place: seen(mine, place), places), expected, strict=True):
                np.testing.assert_array_equal(got, wanted)


@needs_turbojpeg
def test_a_tile_that_is_touched_often_is_held_whole(slides: dict[Any, Path]) -> None:
    path = slides[(2, 2), 256]
    images, cache = read_tiff(path), TileCache(10**6)
    assert images is not None
    reader = TileReader("a", path, open_slide("a", path).geometry, images, OUTSIDE, cache)
    seen = [region(reader, 300, 10, 0, 8, 8) for _ in range(5)]
    assert all((each == seen[0]).all() for each in seen)
    whole = cache.get((str(path), 0, 1), 1)[0]
    assert whole is not None
    assert whole.shape == (256, 256, 3)
    np.testing.assert_array_equal(whole[10:18, 44:52], seen[0])


@needs_turbojpeg
def test_many_regions_at_once_are_what_they_are_one_by_one(
    slides: dict[Any, Path], both: dict[Any, Any], break_tile: Callable[..., None], tmp_path: Path
) -> None:
    path = tmp_path / "bad.tif"
    shutil.copy(slides[(2, 2), 256], path)
    break_tile(path, 1, at=0.7)  # of the second tile: from about row 180 on
    mine, reference = tile_reader(path), both[(2, 2), 256][1]
    places = [(300, 10), (300, 220), (10, 10), (240, 40), (1000, 9), (400, 60), (260, 200), (245, 225)]
    outs = [np.full((30, 25, 3), 77, np.uint8) for _ in places]
    errors = mine.read_many(0, [(x, y, out) for (x, y), out in zip(places, outs, strict=True)])
    assert sorted(errors) == [1, 6, 7]
    assert all("tile 1, 0 (column, row) of level 0" in error.reason for error in errors.values())
    for number, (x, y) in enumerate(places):
        if number not in errors:
            np.testing.assert_array_equal(outs[number], region(reference, x, y, 0, 25, 30))
    assert mine.read_many(0, []) == {}


@needs_turbojpeg
def test_an_absent_tile_is_background_and_never_black(
    slides: dict[Any, Path], spoil_tile: Callable[..., None], tmp_path: Path
) -> None:
    path = tmp_path / "sparse.tif"
    shutil.copy(slides[(2, 2), 256], path)
    spoil_tile(path, 4, absent=True)  # 3 x 3 tiles: the one in the middle
    mine, reference = tile_reader(path), OpenSlideReader(open_slide("a", path), OUTSIDE)
    for _ in range(2):
        seen = region(mine, 200, 200, 0, 400, 400)
        np.testing.assert_array_equal(seen, region(reference, 200, 200, 0, 400, 400))
        assert (seen[56:312, 56:312] == OUTSIDE).all()
        seen[56:312, 56:312] = 99
        assert (seen != OUTSIDE).any(2).all()


@needs_turbojpeg
@pytest.mark.parametrize("damage", ["noise", "one byte"])
def test_a_damaged_tile_is_named_and_spoils_no_other(
    slides: dict[Any, Path],
    spoil_tile: Callable[..., None],
    break_tile: Callable[..., None],
    tmp_path: Path,
    damage: str,
) -> None:
    good, path = slides[(2, 2), 256], tmp_path / "bad.tif"
    shutil.copy(good, path)
    if damage == "noise":
        spoil_tile(path, 2, absent=False, page=1)  # 2 x 2 tiles: the first of the second row
    else:
        break_tile(path, 2, page=1, at=0.1)
    mine, whole = tile_reader(path, 10**6), tile_reader(good)
    for _ in range(3):
        with pytest.raises(SlideError, match=r"^a: tile 0, 1 \(column, row\) of level 1 cannot be decoded") as caught:
            region(mine, 100, 280, 1, 30, 20)
        assert "exclude column" in caught.value.remedy
        for place in ((300, 280, 1), (100, 200, 1), (100, 280, 0), (100, 120, 2)):
            np.testing.assert_array_equal(region(mine, *place, 30, 20), region(whole, *place, 30, 20))


@needs_turbojpeg
def test_damage_below_what_was_asked_for_stays_unseen_whatever_was_read_before(
    slides: dict[Any, Path], break_tile: Callable[..., None], tmp_path: Path
) -> None:
    good, path = slides[(2, 2), 256], tmp_path / "bad.tif"
    shutil.copy(good, path)
    break_tile(path, 0, at=0.7)
    mine = tile_reader(path, 10**6)
    expected = region(tile_reader(good), 50, 60, 0, 64, 64)
    for _ in range(3):
        np.testing.assert_array_equal(region(mine, 50, 60, 0, 64, 64), expected)
        with pytest.raises(SlideError, match="tile 0, 0"):
            region(mine, 50, 220, 0, 8, 36)


@needs_turbojpeg
def test_of_several_bad_tiles_the_same_is_named_whatever_else_is_read(
    slides: dict[Any, Path], spoil_tile: Callable[..., None], tmp_path: Path
) -> None:
    source = slides[next(iter(slides))]
    bad = tmp_path / "bad.tif"
    shutil.copy(source, bad)
    images = read_tiff(bad)
    assert images is not None
    (side, _), columns = images[0].tile, images[0].grid[0]
    for column, row in ((1, 0), (0, 1)):
        spoil_tile(bad, row * columns + column, absent=False)
    reader = tile_reader(bad)
    corner = (side - 4, side - 4, np.empty((8, 8, 3), np.uint8))  # of both, and of two good ones
    lower = (4, side + 4, np.empty((4, 4, 3), np.uint8))
    alone = reader.read_many(0, [corner])[0]
    assert "tile 1, 0" in alone.reason
    assert reader.read_many(0, [lower, corner])[1].reason == alone.reason


def test_a_file_that_was_cut_is_an_error_of_its_last_tiles(slides: dict[Any, Path], tmp_path: Path) -> None:
    path = tmp_path / "cut.tif"
    path.write_bytes(slides[(2, 2), 256].read_bytes())
    mine = tile_reader(path)
    images = read_tiff(path)
    assert images is not None
    last = int(np.argmax(images[2].offsets))
    path.write_bytes(path.read_bytes()[: int(images[2].offsets[last]) + 10])
    with pytest.raises(SlideError, match=r"of level 2 cannot be decoded: the file ends before it"):
        region(mine, 0, 0, 2, 175, 150)
    assert np.ptp(region(mine, 0, 0, 0, 50, 50)) > 50


def tile(value: int) -> NDArray[np.uint8]:
    return np.full((10, 10, 3), value, np.uint8)  # 300 bytes


def held(cache: TileCache, count: int) -> list[int]:
    return [k for k in range(count) if cache.get(("a", 0, k), 1)[0] is not None]


def test_the_cache_gives_up_the_least_recently_used_tile() -> None:
    cache = TileCache(950)
    for k in range(3):
        cache.put(("a", 0, k), tile(k))
    first, _ = cache.get(("a", 0, 0), 1)
    assert first is not None
    assert (first == 0).all()
    cache.put(("a", 0, 3), tile(3))
    assert held(cache, 4) == [0, 2, 3]


@pytest.mark.parametrize(
    ("size", "expected"), [(0, []), (299, []), (300, [9]), (899, [8, 9]), (10**6, list(range(10)))]
)
def test_the_cache_never_holds_more_than_its_size(size: int, expected: list[int]) -> None:
    cache = TileCache(size)
    for k in range(10):
        cache.put(("a", 0, k), tile(k))
        cache.put(("a", 0, k), tile(k))  # by another thread at the same time
        assert len(held(cache, 10)) * 300 <= size
    assert held(cache, 10) == expected


def test_a_tile_larger_than_the_cache_drives_out_no_other() -> None:
    cache = TileCache(400)
    cache.put(("a", 0, 0), tile(0))
    cache.put(("a", 0, 1), np.zeros((20, 20, 3), np.uint8))
    assert held(cache, 2) == [0]


def test_tiles_of_other_slides_and_levels_are_others() -> None:
    cache = TileCache(10**6)
    cache.put(("a", 0, 0), tile(1))
    assert cache.get(("a", 0, 0), 1)[0] is not None
    assert cache.get(("b", 0, 0), 1) == (None, False)
    assert cache.get(("a", 1, 0), 1) == (None, False)


def test_a_tile_is_worth_being_decoded_whole_at_its_third_touch() -> None:
    cache = TileCache(1000)
    assert [cache.get(("a", 0, 0), 1)[1] for _ in range(4)] == [False, False, True, True]
    cache = TileCache(0)  # which could not hold it
    assert [cache.get(("a", 0, 0), 1)[1] for _ in range(4)] == [False] * 4


def test_where_tiles_are_mostly_touched_again_they_are_worth_it_at_once() -> None:
    cache = TileCache(1000)
    for k in range(100):
        cache.get(("a", 0, k // 3), 1)
    assert cache.get(("a", 0, 1000), 1) == (None, True)
    assert cache.get(("a", 1, 1000), 1) == (None, False)  # another level is another matter
    for k in range(100):
        cache.get(("a", 0, 2000 + k), 1)
    assert cache.get(("a", 0, 3000), 1) == (None, False)


def test_a_tile_larger_than_the_cache_is_never_worth_it() -> None:
    cache = TileCache(10)
    assert [cache.get(("a", 0, 0), 11)[1] for _ in range(4)] == [False] * 4


def test_only_so_many_touches_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "REMEMBERED", 3)
    cache = TileCache(1000)
    for k in (0, 0, 1, 1, 0, 2, 3):
        cache.get(("a", 0, k), 1)
    assert cache.get(("a", 0, 0), 1) == (None, True)
    assert cache.get(("a", 0, 1), 1) == (None, False)


@needs_turbojpeg
def test_what_is_decoded_is_counted(tiny_slide: Any) -> None:
    images, tally = read_tiff(tiny_slide.path), Tally()
    geometry = open_slide("a", tiny_slide.path).geometry
    reader = TileReader("a", tiny_slide.path, geometry, images, OUTSIDE, TileCache(10**7), tally)  # type: ignore[arg-type]
    region(reader, 10, 20, 0, 100, 50)
    assert tally.decoded_px == 100 * 50
    region(reader, 240, 20, 0, 32, 10)  # of two tiles; the first is decoded whole at its second touch of three so far
    region(reader, 240, 20, 0, 32, 10)
    region(reader, 240, 20, 0, 32, 10)
    known = tally.decoded_px
    assert known <= 100 * 50 + 32 * 10 * 2 + 2 * 256 * 256
    region(reader, 240, 20, 0, 32, 10)  # both are held
    region(reader, -100, -100, 0, 50, 50)  # outside
    assert tally.decoded_px == known
