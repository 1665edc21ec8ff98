import numpy as np
import pytest

from foveate.slides.tissue import TissueSettings, cell_shares, has_dark_background, tissue_mask

MPP = 16.0
PURPLE, PALE, GLASS = (160, 90, 170), (238, 215, 235), (244, 242, 246)
# at 16 um/px: pieces up to 195 px are dropped, holes up to 390 px are filled
SETTINGS = TissueSettings(min_area_um2=50_000, hole_area_um2=100_000)


def glass(height: int = 200, width: int = 300) -> np.ndarray:
    """Bright, slightly tinted, with a scanner's noise."""
    noise = np.random.default_rng(0).integers(-2, 3, (height, width, 1))
    return (np.array(GLASS) + noise).astype(np.uint8)


def test_glass_alone_has_no_tissue() -> None:
    assert not tissue_mask(glass(), MPP, SETTINGS).any()


def test_an_even_picture_has_no_tissue() -> None:
    assert not tissue_mask(np.full((50, 60, 3), 255, np.uint8), MPP, SETTINGS).any()


@pytest.mark.parametrize("colour", [PURPLE, PALE, (120, 120, 125)])
def test_stained_pale_and_grey_tissue_is_found_where_it_is(colour: tuple[int, int, int]) -> None:
    image = glass()
    image[40:120, 60:200] = colour
    mask = tissue_mask(image, MPP, SETTINGS)
    assert mask.shape == (200, 300)
    assert mask[43:117, 63:197].all()
    mask[38:122, 58:202] = False
    assert not mask.any()


def test_pale_tissue_beside_dark_tissue_is_kept() -> None:
    image = glass()
    image[40:120, 20:100] = PURPLE
    image[40:120, 150:250] = (230, 180, 215)  # chroma 50; Otsu alone would ask for more than that of the purple
    mask = tissue_mask(image, MPP, SETTINGS)
    assert mask[45:115, 25:95].all()
    assert mask[45:115, 155:245].all()


def test_a_slide_that_is_all_tissue() -> None:
    noise = np.random.default_rng(0).integers(-10, 11, (100, 120, 1))
    assert tissue_mask((np.array(PURPLE) + noise).astype(np.uint8), MPP, SETTINGS).all()


@pytest.mark.parametrize("soft", [False, True])
def test_a_black_edge_is_no_tissue(soft: bool) -> None:
    image = glass()
    image[:, :40] = 0
    if soft:
        image[:, 40] = 122  # a pixel that the edge covers by half
    image[60:140, 150:250] = PURPLE
    mask = tissue_mask(image, MPP, SETTINGS)
    assert not mask[:, :50].any()
    assert mask[65:135, 155:245].all()


@pytest.mark.parametrize(("side", "kept"), [(12, False), (18, True)])
def test_crumbs_are_dropped_by_area(side: int, kept: bool) -> None:
    image = glass()
    image[50 : 50 + side, 60 : 60 + side] = PURPLE  # 144 px or 324 px
    assert tissue_mask(image, MPP, SETTINGS).any() == kept
    # the same crumb on a coarser overview is a larger piece
    assert tissue_mask(image, 2 * MPP, SETTINGS).any()


@pytest.mark.parametrize(("side", "filled"), [(14, True), (26, False)])
def test_holes_are_filled_by_area(side: int, filled: bool) -> None:
    image = glass()
    image[20:180, 20:280] = PURPLE
    image[80 : 80 + side, 100 : 100 + side] = GLASS  # 196 px or 676 px
    middle = 80 + side // 2, 100 + side // 2
    assert tissue_mask(image, MPP, SETTINGS)[middle] == filled


def test_a_dark_background_is_one_that_covers_most_of_the_slide() -> None:
    image = np.full((100, 100, 3), (8, 8, 20), np.uint8)
    image[:20] = (60, 60, 200)
    assert has_dark_background(image)
    image[:30] = GLASS
    assert not has_dark_background(image)
    assert not has_dark_background(glass())


def test_cell_shares_of_cells_that_stick_out_count_as_full_size() -> None:
    mask = np.zeros((6, 10), bool)
    mask[:4, :2] = True
    mask[4:, 8:] = True
    np.testing.assert_array_equal(cell_shares(mask, 4), [[0.5, 0, 0], [0, 0, 0.25]])
    assert cell_shares(mask, 4).dtype == np.float32
