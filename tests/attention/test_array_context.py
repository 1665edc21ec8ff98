import numpy as np
import pytest

from foveate.attention.array_context import ArrayContext
from foveate.errors import FoveateError


def test_it_sees_the_brightest_block_of_each_4_x_4() -> None:
    # 16 x 32 px, about 8 wide: blocks of 4 x 4 px, a small image of 4 x 8, maxima of 4 x 4 blocks
    context = ArrayContext(units=2, px=8, filters=(1, 1))
    context.build((None, 16, 32, 1))
    centre = np.zeros((3, 3, 1, 1))
    centre[1, 1] = 1
    for layer in (context.inner, context.outer):  # that pass on what they get
        layer.set_weights([centre, np.zeros(1)])
    context.out.set_weights([np.eye(2), np.zeros(2)])
    image = np.zeros((2, 16, 32, 1), "uint8")
    image[0, 12:, 8:12] = 102  # a whole block of the left half
    image[0, :4, 28:30] = 204  # half a block of the right one
    image[1, 5, 17] = 255  # a single pixel of 16
    expected = np.tanh([[0.4, 0.4], [0, 1 / 16]])
    np.testing.assert_allclose(np.asarray(context(image)), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("height", "width", "block"), [(100, 100, 4), (28, 28, 1), (60, 100, 4), (110, 50, 4)])
def test_blocks_make_the_longer_side_about_25_px(height: int, width: int, block: int) -> None:
    context = ArrayContext(units=5, filters=(4, 6))
    context.build((None, height, width, 1))
    assert tuple(context.out.kernel.shape) == ((height // block // 4) * (width // block // 4) * 6, 5)
    images = np.random.default_rng(0).integers(0, 256, (2, height, width, 1)).astype("uint8")
    found = np.asarray(context(images))
    assert found.shape == (2, 5)
    assert np.abs(found).max() < 1
    assert np.abs(found[0] - found[1]).max() > 1e-4


def test_an_image_of_which_nothing_would_be_left_is_refused() -> None:
    with pytest.raises(FoveateError, match=r"^context: it sees 60 x 12 px as 15 x 3; expected at least 4 x 4$"):
        ArrayContext(px=15).build((None, 12, 60, 1))
