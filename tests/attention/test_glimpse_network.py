import numpy as np
import pytest
from keras import ops, utils

from foveate.attention.glimpse_network import GlimpseNetwork

FEATURES, SCALES, CLASSES, PX = 10, 3, 4, 16


@pytest.fixture(scope="module")
def network() -> GlimpseNetwork:
    utils.set_random_seed(0)
    made = GlimpseNetwork(FEATURES, SCALES, CLASSES)
    made.build((None, SCALES, PX, PX, 3), (None, 2))
    return made


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, SCALES, PX, PX, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def where() -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, (5, 2)).astype(np.float32)


def run(network: GlimpseNetwork, pixels: np.ndarray, where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    vector, evidence = network(ops.array(pixels), ops.array(where))
    return np.asarray(vector), np.asarray(evidence)


def test_a_vector_and_the_log_probability_of_each_class(
    network: GlimpseNetwork, pixels: np.ndarray, where: np.ndarray
) -> None:
    vector, evidence = run(network, pixels, where)
    assert (vector.shape, evidence.shape) == ((5, FEATURES), (5, CLASSES))
    np.testing.assert_allclose(np.exp(evidence).sum(1), 1, rtol=1e-5)
    seen, logits = network.see(ops.array(pixels))
    assert seen.shape == (5, FEATURES)
    np.testing.assert_allclose(np.asarray(ops.log_softmax(logits)), evidence, atol=1e-5)


def test_each_scale_has_a_place_of_its_own(network: GlimpseNetwork, pixels: np.ndarray, where: np.ndarray) -> None:
    vector, evidence = run(network, pixels, where)
    for order in ([1, 0, 2], [0, 2, 1]):
        swapped = run(network, pixels[:, order], where)
        assert np.abs(swapped[0] - vector).max() > 1e-3
        assert np.abs(swapped[1] - evidence).max() > 1e-3


def test_each_scale_has_a_tower_of_its_own(pixels: np.ndarray, where: np.ndarray) -> None:
    network = GlimpseNetwork(FEATURES, SCALES, CLASSES)
    network.build((None, SCALES, PX, PX, 3), (None, 2))
    network.towers.towers[1].set_weights([np.zeros(w.shape) for w in network.towers.towers[1].weights])
    other = pixels.copy()
    other[:, 1] = 255 - other[:, 1]
    np.testing.assert_array_equal(run(network, other, where)[0], run(network, pixels, where)[0])  # it is blind
    other[:, 2] = 255 - other[:, 2]
    assert np.abs(run(network, other, where)[1] - run(network, pixels, where)[1]).max() > 1e-4


@pytest.mark.parametrize("scale", range(SCALES))
def test_every_scale_is_seen(network: GlimpseNetwork, pixels: np.ndarray, where: np.ndarray, scale: int) -> None:
    other = pixels.copy()
    other[:, scale] = 255 - other[:, scale]
    assert (np.abs(run(network, other, where)[1] - run(network, pixels, where)[1]).max(1) > 1e-4).all()


def test_a_batch_gives_the_same_numbers_as_one_by_one(
    network: GlimpseNetwork, pixels: np.ndarray, where: np.ndarray
) -> None:
    vector, evidence = run(network, pixels, where)
    for k in range(len(pixels)):
        one = run(network, pixels[k : k + 1], where[k : k + 1])
        np.testing.assert_allclose(one[0][0], vector[k], atol=1e-5)
        np.testing.assert_allclose(one[1][0], evidence[k], atol=1e-5)


def test_the_place_is_part_of_the_vector_and_not_of_the_evidence(
    network: GlimpseNetwork, pixels: np.ndarray, where: np.ndarray
) -> None:
    here, there = run(network, pixels, where), run(network, pixels, -where)
    assert np.abs(here[0] - there[0]).max() > 1e-3
    np.testing.assert_array_equal(here[1], there[1])


def test_sight_is_all_but_the_layer_that_joins_what_and_where(network: GlimpseNetwork) -> None:
    sight = {id(v) for layer in network.sight for v in layer.variables}
    rest = {id(v) for v in network.what_and_where.variables}
    assert sight | rest == {id(v) for v in network.variables}
    assert not sight & rest


def test_settings_make_the_same_layer_again(network: GlimpseNetwork) -> None:
    made = GlimpseNetwork.from_config(network.get_config())
    assert (made.features, made.scales, made.classes) == (FEATURES, SCALES, CLASSES)
