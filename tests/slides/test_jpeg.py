import io
from concurrent.futures import ThreadPoolExecutor

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from foveate.slides import jpeg
from foveate.slides.jpeg import JpegError, RegionDecoder

pytestmark = pytest.mark.skipif(jpeg.library() is None, reason="TurboJPEG 3 is not installed")
WIDTH, HEIGHT = 241, 198  # neither a multiple of any block
KINDS = ("444", "422", "420", "440", "411")


def picture() -> np.ndarray:
    """Coloured blobs with noise: every row, column and channel differs."""
    rng = np.random.default_rng(0)
    blobs = np.kron(rng.integers(0, 200, (HEIGHT // 6 + 1, WIDTH // 6 + 1, 3)), np.ones((6, 6, 1)))[:HEIGHT, :WIDTH]
    return (blobs + rng.integers(0, 56, blobs.shape)).astype(np.uint8)


def encoded(subsampling: str) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(picture(), level=85, subsampling=subsampling))


def by_pillow(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


ENCODED = {kind: encoded(kind) for kind in KINDS}
WHOLE = {kind: by_pillow(data) for kind, data in ENCODED.items()}


@pytest.fixture(scope="module")
def decoder() -> RegionDecoder:
    return RegionDecoder()


def broken(data: bytes, at: float) -> bytes:
    """One byte after a share `at` of the data changed: an escaped 0xFF becomes a marker, at which libjpeg warns."""
    byte = data.index(b"\xff\x00", round(len(data) * at)) + 1
    return data[:byte] + b"\xd0" + data[byte + 1 :]


@pytest.mark.parametrize("kind", KINDS)
def test_the_whole_image_is_what_another_decoder_gives(decoder: RegionDecoder, kind: str) -> None:
    seen = decoder.decode(ENCODED[kind], 0, 0, WIDTH, HEIGHT, WIDTH)
    assert seen.shape == (HEIGHT, WIDTH, 3)
    np.testing.assert_array_equal(seen, WHOLE[kind])


@given(kind=st.sampled_from(KINDS), edges=st.data())
def test_any_region_is_a_crop_of_the_whole_image(kind: str, edges: st.DataObject) -> None:
    x, y = edges.draw(st.integers(0, WIDTH - 1)), edges.draw(st.integers(0, HEIGHT - 1))
    width, height = edges.draw(st.integers(1, WIDTH - x)), edges.draw(st.integers(1, HEIGHT - y))
    seen = RegionDecoder().decode(ENCODED[kind], x, y, width, height, WIDTH)
    np.testing.assert_array_equal(seen, WHOLE[kind][y : y + height, x : x + width])


@pytest.mark.parametrize("kind", KINDS)
def test_single_pixels_at_corners_and_at_the_edges_of_blocks(decoder: RegionDecoder, kind: str) -> None:
    for x in (0, 7, 8, 15, 16, 31, 32, 239, 240):
        for y in (0, 7, 8, 15, 16, 31, 32, 191, 192, 197):
            seen = decoder.decode(ENCODED[kind], x, y, 1, 1, WIDTH)
            np.testing.assert_array_equal(seen[0, 0], WHOLE[kind][y, x], err_msg=f"{x}, {y}")


def test_data_that_is_not_converted_to_luma_stays_as_it_is(decoder: RegionDecoder) -> None:
    data = bytes(imagecodecs.jpeg8_encode(picture(), level=85, colorspace="RGB", outcolorspace="RGB"))
    np.testing.assert_array_equal(decoder.decode(data, 50, 60, 20, 30, WIDTH), by_pillow(data)[60:90, 50:70])


@pytest.mark.parametrize(
    "box", [(-1, 0, 10, 10), (232, 0, 10, 10), (0, -1, 10, 10), (0, 189, 10, 10), (0, 0, 0, 10), (0, 0, 10, 0)]
)
def test_a_region_that_is_not_within_the_image_is_an_error(
    decoder: RegionDecoder, box: tuple[int, int, int, int]
) -> None:
    with pytest.raises(JpegError):
        decoder.decode(ENCODED["420"], *box, WIDTH)
    np.testing.assert_array_equal(decoder.decode(ENCODED["420"], 231, 188, 10, 10, WIDTH), WHOLE["420"][188:, 231:])


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"no image", bytes(1000)])
def test_data_that_is_no_jpeg_is_an_error_and_leaves_no_trace(decoder: RegionDecoder, data: bytes) -> None:
    with pytest.raises(JpegError):
        decoder.decode(data, 0, 0, 8, 8, WIDTH)
    np.testing.assert_array_equal(decoder.decode(ENCODED["422"], 0, 0, 8, 8, WIDTH), WHOLE["422"][:8, :8])


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_an_error_where_others_go_on_in_grey_and_above_it_all_is_well(
    decoder: RegionDecoder, kind: str
) -> None:
    bad = broken(ENCODED[kind], 0.5)
    grey = imagecodecs.jpeg8_decode(bad)
    assert np.ptp(grey[-1], 0).max() == 0  # its last row is all of one colour, without a word
    with pytest.raises(JpegError, match="Corrupt JPEG data"):
        decoder.decode(bad, 0, 0, WIDTH, HEIGHT, WIDTH)
    with pytest.raises(JpegError, match="Corrupt JPEG data"):
        decoder.decode(bad, 0, HEIGHT - 1, 1, 1, WIDTH)
    np.testing.assert_array_equal(decoder.decode(bad, 30, 10, 99, 40, WIDTH), WHOLE[kind][10:50, 30:129])
    np.testing.assert_array_equal(decoder.decode(ENCODED[kind], 0, 0, WIDTH, HEIGHT, WIDTH), WHOLE[kind])


def test_data_that_was_cut(decoder: RegionDecoder) -> None:
    with pytest.raises(JpegError):
        decoder.decode(ENCODED["420"][: len(ENCODED["420"]) // 2], 0, HEIGHT - 9, WIDTH, 9, WIDTH)


def test_threads_may_share_a_decoder(decoder: RegionDecoder) -> None:
    rng = np.random.default_rng(1)
    boxes = [
        (int(x), int(y), 40, 30) for x, y in zip(rng.integers(0, 200, 200), rng.integers(0, 160, 200), strict=True)
    ]

    def right(row: int) -> bool:
        (x, y, width, height), kind = boxes[row], KINDS[row % len(KINDS)]
        seen = decoder.decode(ENCODED[kind], x, y, width, height, WIDTH)
        return bool((seen == WHOLE[kind][y : y + height, x : x + width]).all())

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(right, range(len(boxes))))


def test_without_the_library_there_is_no_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jpeg, "library", lambda: None)
    with pytest.raises(JpegError, match="TurboJPEG 3 is not installed"):
        RegionDecoder()
