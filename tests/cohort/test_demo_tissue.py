import numpy as np
import pytest

from foveate.cohort.demo_anatomy import LAYERS
from foveate.cohort.demo_texture import BLOCK, SIDE, Plane, Stain, Texture, blocks
from foveate.cohort.demo_tissue import FRAY, LUMA, stain, tissues

Drawn = tuple[Stain, dict[str, Texture], Plane]


@pytest.fixture(scope="module", params=range(5))
def drawn(request: pytest.FixtureRequest) -> Drawn:
    rng = np.random.default_rng(request.param)
    own = stain(rng, request.param)
    textures, edge = tissues(rng, own)
    return own, textures, edge


def luma(drawn: Drawn, name: str) -> Plane:
    return drawn[0].colour(drawn[1][name].haematoxylin, drawn[1][name].eosin) @ LUMA


def busyness(plane: Plane) -> Plane:
    """The contrast of each 64 px square between blurs of 2 and of 3 px: large where nuclei are small and many."""
    square = np.fft.rfftfreq(SIDE)[None] ** 2 + np.fft.fftfreq(SIDE)[:, None] ** 2
    band = np.exp(-2 * (np.pi * 2) ** 2 * square) - np.exp(-2 * (np.pi * 3) ** 2 * square)
    filtered = np.fft.irfft2(np.fft.rfft2(plane) * band, s=plane.shape)
    return filtered.reshape(12, 64, 12, 64).std(axis=(1, 3)).ravel()


def test_there_is_a_texture_for_every_layer(drawn: Drawn) -> None:
    _, textures, edge = drawn
    assert set(textures) == set(LAYERS)
    for texture in textures.values():
        for plane in (texture.haematoxylin, texture.eosin):
            assert plane.shape == (SIDE, SIDE)
            assert plane.dtype == np.float32
            assert plane.min() >= 0
    assert np.abs(edge).max() <= FRAY


def test_tumor_and_germinal_centre_look_alike_from_afar(drawn: Drawn) -> None:
    own, textures, _ = drawn
    pair = [textures["centre"], textures["tumor"]]
    means = [own.colour(texture.haematoxylin, texture.eosin).mean(axis=(0, 1)) for texture in pair]
    assert means[0] == pytest.approx(means[1], abs=0.8)
    for side in (BLOCK, 2 * BLOCK):
        spreads = [blocks(luma(drawn, name), side).std() for name in ("centre", "tumor")]
        assert spreads[0] == pytest.approx(spreads[1], rel=0.15)


def test_tumor_and_germinal_centre_differ_near(drawn: Drawn) -> None:
    centre, tumor = busyness(luma(drawn, "centre")), busyness(luma(drawn, "tumor"))
    auc = (centre[:, None] > tumor).mean()
    assert auc > 0.97


def test_both_are_paler_than_the_tissue_around(drawn: Drawn) -> None:
    around, centre, tumor = (luma(drawn, name).mean() for name in ("lymph", "centre", "tumor"))
    assert centre > around + 8
    assert tumor > around + 8


def test_centres_stain_differently() -> None:
    one, other = (stain(np.random.default_rng(1), center) for center in (0, 3))
    assert np.abs(one.vectors - other.vectors).max() > 0.1
    assert np.array_equal(one.vectors, stain(np.random.default_rng(1), 0).vectors)
