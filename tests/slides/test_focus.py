import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter
from scipy.ndimage import gaussian_filter

from foveate.slides.focus import BLURRED, blurred_share, focus, is_blurred

SHARED = os.environ.get("FOVEATE_SHARED")
needs_shared = pytest.mark.skipif(not SHARED, reason="FOVEATE_SHARED is not set")


def cells(side: int = 80, seed: int = 0) -> np.ndarray:
    """Dark round nuclei of 6 px on pink, with edges as sharp as the grid."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    image = np.full((side, side, 3), (220, 160, 200), np.uint8)
    for cy, cx in rng.uniform(0, side, (side * side // 60, 2)):
        image[(y - cy) ** 2 + (x - cx) ** 2 < 9] = (90, 60, 140)
    return image


def blurred(field: np.ndarray, sigma_px: float) -> np.ndarray:
    return np.asarray(Image.fromarray(field).filter(ImageFilter.GaussianBlur(sigma_px)))


def test_focus_falls_as_blur_grows() -> None:
    values = [focus(cells())] + [focus(blurred(cells(), sigma)) for sigma in (1, 2, 3)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 2 * BLURRED
    assert values[2] < BLURRED / 2


def test_focus_is_the_ratio_of_two_bands_of_gaussians() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (40, 50), np.uint8)
    field = np.repeat(grey[..., None], 3, axis=2)
    fine, coarse = (gaussian_filter(grey.astype(float), sigma) for sigma in (1, 4))
    expected = (grey - fine)[2:-2, 2:-2].var() / (fine - coarse)[2:-2, 2:-2].var()
    assert focus(field) == pytest.approx(expected, rel=1e-4)


def test_focus_does_not_depend_on_the_strength_of_the_stain() -> None:
    pale = (255 - (255 - cells().astype(float)) / 3).round().astype(np.uint8)
    assert focus(pale) == pytest.approx(focus(cells()), rel=0.05)


def test_the_edge_of_tissue_in_a_field_hides_no_blur_and_makes_none() -> None:
    for sigma in (0, 3):
        field = cells()
        field[:, :40] = 244
        assert is_blurred(blurred(field, sigma) if sigma else field) == (sigma > 0)


def test_an_even_field_has_nothing_sharp_in_it() -> None:
    assert focus(np.full((64, 64, 3), 200, np.uint8)) == 0
    assert is_blurred(np.full((64, 64, 3), 200, np.uint8))


def test_the_share_counts_fields() -> None:
    fields = [cells(seed=k) for k in range(3)] + [blurred(cells(seed=3), 3)]
    assert blurred_share(fields) == 0.25
    assert blurred_share(np.stack(fields)) == 0.25  # type: ignore[arg-type]  # an array of fields will do
    with pytest.raises(ValueError, match="at least one field"):
        blurred_share([])


@pytest.mark.parametrize("shape", [(15, 64, 3), (64, 64)])
def test_a_field_that_is_none_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="Received"):
        focus(np.zeros(shape, np.uint8))


@needs_shared
def test_real_patches_sharp_and_blurred_are_told_apart() -> None:
    with np.load(Path(SHARED or "", "data", "pcam_patches.npz")) as file:
        jpeg, offsets = file["jpeg"], file["offsets"]
    sharp = []
    for k in range(0, len(offsets) - 1, 30):
        with Image.open(io.BytesIO(jpeg[offsets[k] : offsets[k + 1]].tobytes())) as patch:
            sharp.append(np.asarray(patch.convert("RGB")))
    assert len(sharp) == 219
    assert blurred_share(sharp) <= 0.02
    assert blurred_share([blurred(field, 2) for field in sharp]) >= 0.98


@needs_shared
def test_sharp_fields_of_five_centres_are_sharp_and_blurred_ones_blurred() -> None:
    for path in sorted(Path(SHARED or "", "data", "centre_tiles").glob("*.jpeg")):
        with Image.open(path) as tile:  # 2048 px of 0.243 um to 512 px of 0.972 um
            small = np.asarray(tile.convert("RGB").resize((512, 512), Image.Resampling.BOX))
        fields = [small[y : y + 80, x : x + 80] for y in range(0, 480, 80) for x in range(0, 480, 80)]
        assert blurred_share(fields) == 0, path.name
        assert blurred_share([blurred(field, 2) for field in fields]) == 1, path.name
