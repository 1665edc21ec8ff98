import numpy as np
import pytest

from foveate.cohort.demo_anatomy import RIM, SIZES, TILE, close, draw, plan_regions
from foveate.cohort.demo_shapes import CELL, Outline

LIMITS = {"itc": (0, 200), "micro": (200, 2000), "macro": (2000, 5000)}


@pytest.mark.parametrize("label", ["itc", "micro", "macro"])
def test_the_largest_lesion_has_the_size_of_its_class_and_lies_in_a_node(label: str) -> None:
    for seed in range(25):
        size, nodes, lesions, _ = plan_regions(np.random.default_rng(seed), label)
        largest = max(lesion.diameter for lesion in lesions)
        assert SIZES[label][0] * 0.999 <= largest <= SIZES[label][1] * 1.001
        assert LIMITS[label][0] < largest < LIMITS[label][1]
        for lesion in lesions:
            assert max(node.depth(lesion.vertices).min() for node in nodes) >= RIM
            assert (lesion.vertices > 0).all()
            assert (lesion.vertices < size).all()


def test_every_slide_has_look_alikes_also_large_ones_on_slides_without_a_macrometastasis() -> None:
    largest = []
    for seed in range(25):
        _, _, lesions, centres = plan_regions(np.random.default_rng(seed), "negative")
        assert lesions == []
        assert 3 <= len(centres) <= 7
        largest.append(max(centre.diameter for centre in centres))
    assert sum(size > 2000 for size in largest) >= 3
    assert sum(size < 2000 for size in largest) >= 10


def test_the_size_of_the_slide_tells_nothing_of_its_class() -> None:
    sizes = {plan_regions(np.random.default_rng(5), label)[0] for label in ("negative", "itc", "macro")}
    assert len(sizes) == 1


def test_close_sees_a_region_inside_another() -> None:
    large, small = (Outline((0.0, 0.0), np.full(180, radius)) for radius in (1000.0, 50.0))
    assert close(large, small)
    assert close(small, large)
    assert close(large, small.at(1090, 0))
    assert not close(large, small.at(1120, 0))


def test_draw_paints_lesions_and_centres_into_their_layers() -> None:
    anatomy = draw(np.random.default_rng(11), "micro")
    shape = anatomy.h_gain.shape
    assert anatomy.size[0] % TILE == anatomy.size[1] % TILE == 0
    assert shape == (anatomy.size[1] // CELL, anatomy.size[0] // CELL)
    for layer, outlines in (("tumor", anatomy.lesions), ("centre", anatomy.centres)):
        mask = anatomy.layers[layer] > 0
        area = sum(0.5 * np.pi * (outline.radius**2).mean() * 2 for outline in outlines) / CELL**2
        assert 0.75 * area < mask.sum() < 1.15 * area
    tissue = (anatomy.layers["stroma"] > 0).mean()
    assert 0.3 < tissue < 0.8
