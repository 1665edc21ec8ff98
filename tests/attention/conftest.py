"""Agents that are built in a moment, rollouts that nobody made, and gradients on either backend."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from foveate.attention.agent import Agent
from foveate.attention.array_agent import ArrayAgent

JAX = keras.backend.backend() == "jax"
# every small program is compiled: without optimisation in half the time
QUICKLY = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
if JAX:
    os.environ.setdefault("XLA_FLAGS", QUICKLY)

SETTINGS: dict[str, Any] = {
    "scales_mpp": [1.0, 4.0],
    "glimpse_px": 16,
    "overview_mpp": 32.0,
    "cell_um": 128.0,  # 4 px
    "classes": ["negative", "itc", "micro", "macro"],
    "features": 8,
    "state": 8,
    "context": 8,
}


DENSE = {"name": "dense", "hidden": 8, "features": 8}
PLAIN: dict[str, Any] = {
    "classes": 3,
    "steps": 3,
    "px": 4,
    "scales": 2,
    "glimpse": DENSE,
    "core": {"name": "lstm", "units": 6},
    "location": {"name": "gaussian", "hidden": 8, "std": 0.3},
    "picker": {"name": "categorical", "hidden": 8},
    "note": 4,
}
# the deep model with everything there is, over groups
FULL: dict[str, Any] = {
    **PLAIN,
    "glimpse": {"name": "convolutional", "filters": [4, 4], "features": 8},
    "location": {"name": "cells", "rows": 2, "columns": 3, "hidden": 8},
    "path": {"name": "gru", "units": 5},
    "context": {"name": "convolutional", "units": 5, "px": 8, "filters": [4, 4]},
    "stop": {"name": "bernoulli", "hidden": 8, "start": 0.3},
}


def tiny_agent(seed: int = 0, **settings: Any) -> Agent:
    """An agent with random weights, also those that begin as zeros."""
    keras.utils.set_random_seed(seed)
    made = Agent(**SETTINGS | settings)
    made.build()
    rng = np.random.default_rng(seed)
    for variable in made.trainable_variables:
        if len(variable.shape) == 1 or (np.asarray(variable) == 0).any():
            variable.assign_add(0.3 * rng.normal(size=variable.shape))
    return made


def tiny_array_agent(group: int = 1, full: bool = False, **settings: Any) -> ArrayAgent:
    """An agent for images of 12 x 16 px with random weights, the same on every backend."""
    made = ArrayAgent(**(FULL if full else PLAIN) | settings)
    made.build({"images": (None, group, 12, 16, 1)})
    rng = np.random.default_rng(3)
    for variable in made.trainable_variables:
        inputs = np.prod(variable.shape[:-1]) if len(variable.shape) > 1 else 9
        variable.assign(rng.normal(size=variable.shape) / inputs**0.5)
    return made


def made_up_groups(rows: int, group: int) -> dict[str, Any]:
    """The inputs of an ArrayAgent: images that differ; the first group is one image, and half of the cells are open."""
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 180, (rows, group, 3, 4, 1)).repeat(4, 2).repeat(4, 3)
    images = (coarse + rng.integers(0, 76, coarse.shape)).astype(np.uint8)
    present, allowed = np.ones((rows, group), bool), rng.random((rows, group, 6)).argsort(-1) < 3
    present[0, 1:] = False
    return {"images": images, "present": present, "allowed": allowed}


def made_up_rollout(rows: int = 3, steps: int = 3, grid: tuple[int, int] = (3, 4), seed: int = 0) -> dict[str, Any]:
    """The x of a Learner: `rows` slides that differ; every cell is a candidate, the choices of a row all different."""
    rng = np.random.default_rng(seed)
    overview = rng.integers(0, 256, (rows, *grid, 3)).repeat(4, 1).repeat(4, 2)
    return {
        "overview": (overview * 0.7 + rng.integers(0, 77, overview.shape)).astype(np.uint8),
        "tissue": np.ones((rows, *grid), bool),
        "pixels": rng.integers(0, 256, (rows, steps, 2, 16, 16, 3)).astype(np.uint8),
        "where": rng.uniform(-1, 1, (rows, steps, 2)).astype(np.float32),
        "candidates": np.tile(np.arange(grid[0] * grid[1], dtype=np.int32), (rows, 1)),
        "choice": rng.random((rows, grid[0] * grid[1])).argsort(1)[:, :steps].astype(np.int32),
        "label": (np.arange(rows) % 4).astype(np.int32),
        "weight": np.ones(rows, np.float32),
        "lesion": np.zeros((rows, grid[0] * grid[1]), np.int32),
    }


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keras' variables do not know NumPy 2's copy argument; with JAX as little as with TensorFlow."""
    known = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(known)


def run_model(model: keras.Model, inputs: Any, **options: Any) -> Any:
    """What a model gives, as NumPy arrays. It leaves no state behind: random numbers are the same in every call."""
    trainable, others = ([v.value for v in each] for each in (model.trainable_variables, model.non_trainable_variables))
    found = _stateless(model, tuple(sorted(options.items())))(trainable, others, inputs)
    return keras.tree.map_structure(ops.convert_to_numpy, found)


@functools.cache
def _stateless(model: keras.Model, options: tuple[tuple[str, Any], ...]) -> Callable[..., Any]:
    def call(trainable: list[Any], others: list[Any], inputs: Any) -> Any:
        return model.stateless_call(trainable, others, inputs, **dict(options))[0]

    if JAX:  # as one program, because many small ones take long to compile
        import jax

        return jax.jit(call)
    return call


def gradients(of: Callable[..., Any], *values: Any) -> list[np.ndarray]:
    """Gradients of the sum of what a function gives with respect to each of its arguments; 0 where nothing flows."""
    tensors = [ops.convert_to_tensor(np.asarray(value, np.float32)) for value in values]
    found = _gradient(lambda tensors: ops.sum(of(*tensors)))(tensors)
    return [ops.convert_to_numpy(gradient) for gradient in found]


def weight_gradients(of: Callable[..., Any], model: keras.Model, *inputs: Any) -> dict[str, np.ndarray]:
    """Gradients of the sum of `of(model, *inputs)` with respect to the model's weights, by path; 0 where nothing flows.

    It leaves no state behind: random numbers are the same in every call. With JAX it is compiled once for a function.
    """
    variables, others = model.trainable_variables, [v.value for v in model.non_trainable_variables]
    found = _weight_gradient(of, model)([v.value for v in variables], others, *inputs)
    return {v.path: ops.convert_to_numpy(gradient) for v, gradient in zip(variables, found, strict=True)}


@functools.cache
def _weight_gradient(of: Callable[..., Any], model: keras.Model) -> Callable[..., Any]:
    variables = [*model.trainable_variables, *model.non_trainable_variables]

    def scalar(values: list[Any], others: list[Any], *inputs: Any) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(variables, [*values, *others], strict=True))):
            return ops.sum(of(model, *inputs))

    return _gradient(scalar)


def _gradient(scalar: Callable[..., Any]) -> Callable[..., Any]:
    """Gradients of a scalar with respect to a list of tensors, the first argument."""
    if JAX:
        import jax

        return jax.jit(jax.grad(scalar))
    import tensorflow as tf

    def taped(tensors: list[Any], *inputs: Any) -> list[Any]:
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = scalar(tensors, *inputs)
        return tape.gradient(value, tensors, unconnected_gradients="zero")

    return taped


@pytest.fixture(scope="session")
def quickly_compiled() -> str:
    """XLA_FLAGS for JAX in tests."""
    return QUICKLY


@pytest.fixture(scope="session")
def run() -> Callable[..., Any]:
    """`run_model`."""
    return run_model


@pytest.fixture(scope="session")
def gradients_of() -> Callable[..., list[np.ndarray]]:
    """`gradients`."""
    return gradients


@pytest.fixture(scope="session")
def weight_gradients_of() -> Callable[..., dict[str, np.ndarray]]:
    """`weight_gradients`."""
    return weight_gradients


@pytest.fixture(scope="session")
def make_agent() -> Callable[..., Agent]:
    """`tiny_agent`."""
    return tiny_agent


@pytest.fixture(scope="session")
def make_array_agent() -> Callable[..., ArrayAgent]:
    """`tiny_array_agent`."""
    return tiny_array_agent


@pytest.fixture(scope="session")
def make_groups() -> Callable[..., dict[str, Any]]:
    """`made_up_groups`."""
    return made_up_groups


@pytest.fixture(scope="session")
def make_rollout() -> Callable[..., dict[str, Any]]:
    """`made_up_rollout`."""
    return made_up_rollout


@pytest.fixture(scope="session")
def agent() -> Agent:
    """A tiny agent. Not to be changed."""
    return tiny_agent()
