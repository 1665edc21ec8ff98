import numpy as np
import pytest

from foveate.report.pictures import LESION_COLOUR, card, outline

COLOUR = (0, 90, 200)


def grey(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 200, np.uint8)


def drawn(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return (picture == colour).all(axis=2)


def test_the_inner_border_is_drawn_and_nothing_else():
    mask = np.zeros((9, 9), bool)
    mask[2:7, 2:7] = True
    border = mask.copy()
    border[3:6, 3:6] = False
    picture = outline(grey(9, 9), mask, COLOUR, width=1)
    np.testing.assert_array_equal(drawn(picture, COLOUR), border)
    assert (picture[~border] == 200).all()


def test_the_line_is_as_wide_as_asked_and_closes_along_the_edge():
    picture = outline(grey(10, 12), np.ones((10, 12), bool), COLOUR, width=3)
    expected = np.ones((10, 12), bool)
    expected[3:7, 3:9] = False
    np.testing.assert_array_equal(drawn(picture, COLOUR), expected)


def test_the_thumbnail_is_left_as_it_was():
    thumbnail = grey(5, 5)
    outline(thumbnail, np.ones((5, 5), bool), COLOUR)
    assert (thumbnail == 200).all()


def test_no_tissue_draws_nothing():
    assert (outline(grey(5, 5), np.zeros((5, 5), bool), COLOUR) == 200).all()


def test_lesions_are_dashed():
    lesions = np.zeros((60, 60), np.uint16)
    lesions[10:50, 10:50] = 3
    picture = outline(grey(60, 60), np.zeros((60, 60), bool), COLOUR, width=1, lesions=lesions)
    upper_edge = drawn(picture, LESION_COLOUR)[8:12, 12:48].any(axis=0)
    assert 0.5 < upper_edge.mean() < 0.9
    assert not drawn(picture, LESION_COLOUR)[15:45, 15:45].any()


def test_a_lesion_of_one_pixel_shows():
    lesions = np.zeros((9, 9), bool)
    lesions[4, 4] = True
    assert drawn(outline(grey(9, 9), np.zeros((9, 9), bool), COLOUR, lesions=lesions), LESION_COLOUR).any()


@pytest.mark.parametrize("name", ["mask", "lesions"])
def test_shapes_have_to_agree(name):
    shapes = {"mask": (4, 4), "lesions": (4, 4)} | {name: (4, 5)}
    masks = {key: np.zeros(shape, bool) for key, shape in shapes.items()}
    with pytest.raises(ValueError, match=rf"{name}: expected the shape \(4, 4\).*Received: \(4, 5\)"):
        outline(grey(4, 4), masks["mask"], COLOUR, lesions=masks["lesions"])


def test_a_card_has_the_asked_size_and_text_inside_its_margins():
    picture = card(320, 200, "patient_000_node_1", "cannot be opened: " + "/a-path-without-any-spaces" * 6)
    assert picture.shape == (200, 320, 3)
    ink = (picture != picture[0, 0]).any(axis=2)
    assert ink.any()
    assert not ink[:, :8].any()
    assert not ink[:, -8:].any()


def test_more_text_takes_more_lines():
    def lowest_ink(text):
        picture = card(320, 200, "slide", text)
        return np.flatnonzero((picture != picture[0, 0]).any(axis=(1, 2))).max()

    assert lowest_ink("short") < lowest_ink("a sentence that is too long for one line of the card, " * 2)
