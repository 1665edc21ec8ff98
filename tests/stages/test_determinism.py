import os

import keras
import numpy as np
import tensorflow as tf

from foveate.attention.learner import Learner, LossWeights
from foveate.config import Config
from foveate.stages.determinism import seeded
from foveate.stages.train import make_agent


def batches() -> list[dict[str, np.ndarray]]:
    """What nobody saw: the x of a few updates."""
    rng = np.random.default_rng(0)
    return [
        {
            "overview": rng.integers(0, 256, (4, 24, 32, 3)).astype(np.uint8),
            "tissue": np.ones((4, 3, 4), bool),
            "pixels": rng.integers(0, 256, (4, 2, 2, 16, 16, 3)).astype(np.uint8),
            "where": rng.uniform(-1, 1, (4, 2, 2)).astype(np.float32),
            "candidates": np.tile(np.arange(12, dtype=np.int32), (4, 1)),
            "choice": np.tile(np.array([0, 7], np.int32), (4, 1)),
            "label": np.arange(4, dtype=np.int32),
            "weight": np.ones(4, np.float32),
            "lesion": np.eye(4, 12, dtype=np.int32),
        }
        for _ in range(4)
    ]


def test_the_same_start_gives_the_same_weights_in_a_compiled_training(tiny_config: Config) -> None:
    seeded(5)
    agent = make_agent(tiny_config, [0.25] * 4)
    learner = Learner(agent, LossWeights(0.1, 0.5, 0.3, 0.002, 0.9))
    learner.compile(keras.optimizers.Adam(1e-2))
    learner.optimizer.build(learner.trainable_variables)
    variables = [*agent.variables, *learner.optimizer.variables]
    start, ends = [v.numpy() for v in variables], []
    for _ in range(3):
        for variable, value in zip(variables, start, strict=True):
            variable.assign(value)
        for x in batches():
            learner.train_on_batch(x)
        ends.append([v.numpy() for v in variables])
    assert not np.array_equal(ends[0][0], start[0])
    for one, two, three in zip(*ends, strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(one, three)


def test_another_seed_gives_other_weights(tiny_config: Config) -> None:
    def kernels(seed: int) -> list[np.ndarray]:
        seeded(seed)
        return [w for w in make_agent(tiny_config, [0.25] * 4).get_weights() if w.ndim > 1 and w.all()]

    for a, b, again in zip(kernels(5), kernels(6), kernels(5), strict=True):
        assert not np.array_equal(a, b)
        np.testing.assert_array_equal(a, again)


def test_operations_are_asked_to_have_no_races() -> None:
    seeded(0)
    assert os.environ["TF_NUM_INTEROP_THREADS"] == "1"
    random = [np.random.random(3), keras.random.normal((3,)).numpy(), tf.random.normal((3,)).numpy()]  # noqa: NPY002
    seeded(0)
    again = [np.random.random(3), keras.random.normal((3,)).numpy(), tf.random.normal((3,)).numpy()]  # noqa: NPY002
    np.testing.assert_array_equal(random, again)
