import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from foveate.slides.annotations import rasterize, read_annotation
from foveate.slides.handle import open_slide
from foveate.slides.tissue import Tissue, TissueSettings, cell_shares, find_tissue, has_dark_background

SHARED = os.environ.get("FOVEATE_SHARED")
needs_shared = pytest.mark.skipif(not SHARED, reason="FOVEATE_SHARED is not set")

MPP = 16.0
PURPLE, PALE, GLASS = (160, 90, 170), (238, 215, 235), (244, 242, 246)
# at 16 um/px: pieces up to 195 px are dropped, holes up to 390 px are filled
SETTINGS = TissueSettings(min_area_um2=50_000, hole_area_um2=100_000)


def glass(height: int = 200, width: int = 300) -> np.ndarray:
    """Bright, slightly tinted, with a scanner's noise."""
    noise = np.random.default_rng(0).integers(-2, 3, (height, width, 1))
    return (np.array(GLASS) + noise).astype(np.uint8)


def found(image: np.ndarray, mpp: float = MPP) -> Tissue:
    return find_tissue(image, np.ones(image.shape[:2], bool), mpp, SETTINGS)


def stroke(image: np.ndarray, ink: tuple[int, int, int], points: list[tuple[int, int]]) -> tuple[np.ndarray, ...]:
    """The image with a pen's stroke 20 px wide, its core, and all that it reached: soft edges, uneven strength."""
    cover = Image.new("L", image.shape[1::-1])
    ImageDraw.Draw(cover).line(points, fill=255, width=20)
    share = np.asarray(cover.filter(ImageFilter.GaussianBlur(1.2)))[..., None] / 255
    share = share * (1 - 0.1 * np.random.default_rng(1).random(share.shape))
    drawn = image * (1 - share) + np.array(ink) * share
    return drawn.round().astype(np.uint8), share[..., 0] > 0.85, share[..., 0] > 0.02


def test_glass_alone_has_no_tissue() -> None:
    assert not found(glass()).mask.any()
    assert not found(glass()).pale


def test_uneven_light_and_noise_of_each_channel_are_no_tissue() -> None:
    light = np.linspace(1, 0.8, 200)[:, None, None]
    noise = np.random.default_rng(0).normal(0, 2, (200, 300, 3))
    assert not found((np.array(GLASS) * light + noise).round().clip(0, 255).astype(np.uint8)).mask.any()


@pytest.mark.parametrize("value", [0, 255])
def test_an_even_picture_has_no_tissue(value: int) -> None:
    assert not found(np.full((50, 60, 3), value, np.uint8)).mask.any()


def test_a_slide_of_which_nothing_was_scanned() -> None:
    nothing = find_tissue(glass(), np.zeros((200, 300), bool), MPP, SETTINGS)
    assert not nothing.mask.any()
    assert not nothing.pen.any()


@pytest.mark.parametrize("colour", [PURPLE, PALE, (120, 120, 125), (120, 124, 122)])
def test_stained_pale_and_grey_tissue_is_found_where_it_is(colour: tuple[int, int, int]) -> None:
    image = glass()
    image[40:120, 60:200] = colour
    seen = found(image)
    assert seen.mask.shape == (200, 300)
    assert seen.mask[43:117, 63:197].all()
    assert not seen.pen.any()
    assert not seen.pale
    seen.mask[38:122, 58:202] = False
    assert not seen.mask.any()


@pytest.mark.parametrize(("pink", "kept"), [((230, 180, 215), True), ((235, 202, 228), False)])
def test_beside_dark_tissue_pale_tissue_is_kept_by_a_bound_on_the_threshold(
    pink: tuple[int, int, int], kept: bool
) -> None:
    image = glass()
    image[20:180, 20:150] = PURPLE  # saturation 120: Otsu alone would ask for some 60
    image[40:100, 180:220] = pink  # saturation 55 or 36; the bound is 45
    mask = found(image).mask
    assert mask[25:175, 25:145].all()
    assert mask[44:96, 184:216].all() == kept
    assert mask[44:96, 184:216].any() == kept


@pytest.mark.parametrize("dust", [False, True])
def test_a_slide_too_pale_for_the_first_threshold_gets_a_second(dust: bool) -> None:
    image = np.full((600, 900, 3), (240, 240, 241), np.uint8)  # saturation 1
    image[100:300, 100:500] = (236, 228, 237)  # saturation 9, under the first threshold's lower bound of 12
    if dust:
        image[500:518, 700:718] = (120, 118, 119)  # dark: 324 px are kept as tissue, and must not hide the section
    seen = found(image)
    assert seen.pale
    assert seen.mask[105:295, 105:495].all()
    assert seen.mask.mean() == pytest.approx(200 * 400 / (600 * 900), rel=0.05)


def test_a_coloured_fleck_hides_no_pale_section() -> None:
    image = np.full((600, 900, 3), (240, 240, 241), np.uint8)
    image[100:160, 100:200] = (236, 228, 237)
    image[400:416, 400:416] = PURPLE  # strong enough to draw Otsu's threshold to itself
    seen = found(image)
    assert seen.pale
    assert seen.mask[105:155, 105:195].all()


def test_a_slide_that_is_all_tissue() -> None:
    noise = np.random.default_rng(0).integers(-10, 11, (100, 120, 1))
    assert found((np.array(PURPLE) + noise).astype(np.uint8)).mask.all()
    assert found(np.full((50, 60, 3), PURPLE, np.uint8)).mask.all()


@pytest.mark.parametrize("soft", [0, 1, 6])
def test_a_black_edge_is_neither_tissue_nor_pen(soft: int) -> None:
    image = glass()
    image[:, :40] = 0
    for k in range(soft):  # pixels that the edge covers in part
        image[:, 40 + k] = 244 * (k + 1) // (soft + 1)
    image[60:140, 150:250] = PURPLE
    seen = found(image)
    assert not seen.mask[:, :50].any()
    assert not seen.pen.any()
    assert seen.mask[65:135, 155:245].all()


def test_only_what_was_scanned_is_tissue() -> None:
    image = glass()
    image[40:160, 60:200] = PURPLE
    scanned = np.ones((200, 300), bool)
    scanned[:, 90:93] = False  # narrow enough to be closed
    mask = find_tissue(image, scanned, MPP, SETTINGS).mask
    assert not mask[:, 90:93].any()
    assert mask[45:155, 95:195].all()


def test_what_was_not_scanned_has_no_say_in_the_threshold() -> None:
    image = glass()
    image[40:80, 60:120] = PALE
    image[:, 150:] = (250, 200, 250)
    scanned = np.broadcast_to(np.arange(300) < 150, (200, 300))
    assert find_tissue(image, scanned, MPP, SETTINGS).mask[45:75, 65:115].all()


def test_a_cold_tint_of_the_glass_is_neither_tissue_nor_pen() -> None:
    image = glass() - np.array((26, 6, 6), np.uint8)  # greenish: (218, 236, 240)
    image[40:120, 60:200] = PALE
    seen = found(image)
    assert not seen.pen.any()
    assert seen.mask[43:117, 63:197].all()
    assert not seen.mask[:, 210:].any()


def test_a_smear_too_pale_for_ink_is_no_tissue() -> None:
    image = glass()
    image[40:120, 60:160] = PALE  # saturation 23
    image[40:120, 200:260] = (220, 240, 234)  # saturation 21, but green
    seen = found(image)
    assert not seen.pen.any()
    assert seen.mask[43:117, 63:157].all()
    assert not seen.mask[:, 170:].any()


INKS = {
    "blue": (45, 79, 177), "light blue": (120, 140, 205), "green": (30, 110, 75), "dark green": (20, 60, 40),
    "black": (38, 36, 40), "grey-black": (60, 58, 62), "red": (200, 35, 50),
}  # fmt: skip


@pytest.mark.parametrize("ink", INKS.values(), ids=INKS)
def test_felt_pen_on_glass_is_no_tissue(ink: tuple[int, int, int]) -> None:
    image = glass()
    image[60:140, 60:240] = PURPLE
    drawn, core, reached = stroke(image, ink, [(20, 20), (280, 20), (280, 180)])
    seen = found(drawn)
    assert seen.pen[core].mean() > 0.98
    assert not seen.mask[reached].any()
    assert seen.mask[63:137, 63:237].all()
    assert not seen.pen[60:140, 60:240].any()


def test_ink_over_tissue_is_pen_and_the_rest_stays_tissue() -> None:
    image = glass()
    image[60:140, 60:240] = PURPLE
    drawn, core, _ = stroke(image, INKS["blue"], [(150, 0), (150, 199)])
    drawn[95:105, 200:210] = INKS["green"]  # a dot, with its halo smaller than a hole that would be filled
    seen = found(drawn)
    assert seen.pen[core].mean() > 0.98
    assert seen.pen[95:105, 200:210].all()
    assert not (seen.mask & seen.pen).any()
    assert seen.mask[65:135, 65:130].all()
    assert seen.mask[65:135, 170:190].all()


@pytest.mark.parametrize(
    "stain",
    [
        (90, 71, 178),  # bluest lymphoid tissue of the centres' tiles, darkened
        (57, 51, 131),  # haematoxylin alone at optical density 1: Ruifrok and Johnston's 0.65, 0.70, 0.29
        (70, 35, 75),  # darkest of the tiles
        (186, 85, 100),  # blood
        (230, 130, 170),  # eosin
    ],
)
def test_stains_that_come_near_to_ink_are_tissue(stain: tuple[int, int, int]) -> None:
    image = glass()
    noise = np.random.default_rng(0).integers(-3, 4, (80, 140, 3))
    image[40:120, 60:200] = np.array(stain) + noise
    seen = found(image)
    assert not seen.pen.any()
    assert seen.mask[43:117, 63:197].all()


@pytest.mark.parametrize(("side", "kept"), [(12, False), (18, True)])
def test_crumbs_are_dropped_by_area(side: int, kept: bool) -> None:
    image = glass()
    image[50 : 50 + side, 60 : 60 + side] = PURPLE  # 144 px or 324 px
    assert found(image).mask.any() == kept
    # the same crumb on a coarser overview is a larger piece
    assert found(image, 2 * MPP).mask.any()


@pytest.mark.parametrize(("side", "filled"), [(14, True), (26, False)])
def test_holes_are_filled_by_area(side: int, filled: bool) -> None:
    image = glass()
    image[20:180, 20:280] = PURPLE
    image[80 : 80 + side, 100 : 100 + side] = GLASS  # 196 px or 676 px
    middle = 80 + side // 2, 100 + side // 2
    assert found(image).mask[middle] == filled


def test_a_gap_at_the_border_is_not_closed() -> None:
    image = glass()
    image[2:150, 100:200] = PURPLE
    mask = found(image).mask
    assert not mask[0].any()
    assert mask[3:147, 103:197].all()


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


@needs_shared
def test_a_real_annotated_slide_all_lesions_are_tissue_and_glass_is_not() -> None:
    data = Path(SHARED or "", "data")
    slide = open_slide("tumor_072", data / "slides" / "camelyon16_tumor_072_level7.dcm")
    with slide.handle as handle:
        image = np.asarray(handle.read_region((0, 0), 0, handle.dimensions).convert("RGB"))
    mpp = slide.geometry.mpp[0]
    seen = find_tissue(image, np.ones(image.shape[:2], bool), mpp, TissueSettings(50_000, 50_000))
    lesions = rasterize(
        read_annotation(data / "annotations" / "camelyon16_tumor_072.json"), (700, 1152), (0, 0), (128, 128)
    )
    assert (lesions > 0).sum() > 7000
    assert seen.mask[lesions > 0].all()
    assert not seen.pen.any()
    assert not seen.pale
    # glass, twice: by colour (bright in all channels, and within 8 grey levels of grey: 60 % of the slide), and in
    # rectangles picked by eye (left, top, right, bottom) between and around the two sections
    by_colour = (image.min(2) > 205) & (np.ptp(image, axis=2) <= 8)
    by_eye = np.zeros_like(by_colour)
    for x0, y0, x1, y1 in [(20, 20, 90, 60), (420, 10, 760, 60), (860, 10, 1100, 60), (540, 60, 600, 560),
                           (10, 300, 45, 600), (30, 650, 700, 690), (800, 640, 1000, 690)]:  # fmt: skip
        by_eye[y0:y1, x0:x1] = True
    assert by_colour.mean() > 0.5
    assert seen.mask[by_colour].mean() < 0.02
    assert seen.mask[by_eye].mean() < 0.02


@needs_shared
@pytest.mark.parametrize("fading", [0.06, 0.08])  # all under the first threshold's lower bound, or all but the darkest
def test_a_real_slide_that_has_faded_is_found_by_the_second_threshold(fading: float) -> None:
    slide = open_slide("tumor_072", Path(SHARED or "", "data/slides/camelyon16_tumor_072_level7.dcm"))
    with slide.handle as handle:
        image = np.asarray(handle.read_region((0, 0), 0, handle.dimensions).convert("RGB"))
    whitened = np.clip(image / (227, 223, 229) * 240, 1, 240)  # glass without a tint
    faded = (240 * (whitened / 240) ** fading).round().astype(np.uint8)  # Beer and Lambert
    full, pale = (found(x, slide.geometry.mpp[0]) for x in (image, faded))
    assert pale.pale
    assert (full.mask & pale.mask).sum() / (full.mask | pale.mask).sum() > 0.8


@needs_shared
def test_stains_of_five_centres_are_tissue_and_no_ink() -> None:
    for path in sorted(Path(SHARED or "", "data", "centre_tiles").glob("*.jpeg")):
        with Image.open(path) as tile:
            small = np.asarray(tile.convert("RGB").resize((31, 31), Image.Resampling.BOX))  # 2048 px of 0.243 um
        image = np.tile(glass(31, 31), (1, 8, 1))
        image[:, :93] = np.tile(small, (1, 3, 1))
        seen = found(image)
        assert seen.mask[:, :91].mean() > 0.99, path.name
        assert not seen.pen.any(), path.name


def test_glass_in_a_corner_is_no_hole() -> None:
    image = glass()
    image[:, :] = PURPLE
    image[:12, :12] = GLASS  # 144 px, less than a hole that is filled
    image[80:92, 100:112] = GLASS
    mask = found(image).mask
    assert not mask[:8, :8].any()
    assert mask[80:92, 100:112].all()
