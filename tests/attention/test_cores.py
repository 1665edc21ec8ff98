import numpy as np
import pytest
from keras import ops

from foveate.attention import cores  # noqa: F401 - registers them
from foveate.attention.registry import make, names
from foveate.errors import FoveateError


def step(name: str, x: np.ndarray, states: list[np.ndarray], weights: list[np.ndarray]) -> list[np.ndarray]:
    cell = make("core", name, units=1)
    cell.build((None, 1))
    cell.set_weights(weights)
    return [ops.convert_to_numpy(state) for state in cell(x, [ops.convert_to_tensor(s) for s in states])[1]]


def sigmoid(x: float) -> float:
    return 1 / (1 + np.exp(-x))


def test_the_lstm_is_that_of_the_equations() -> None:
    # gates in Keras' order: i, f, c, o; x = 2, h = 0.5, c = 0.25
    w, u, b = [0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8], [0.01, 0.02, 0.03, 0.04]
    i, f, candidate, o = (2 * w[k] + 0.5 * u[k] + b[k] for k in range(4))
    c = sigmoid(f) * 0.25 + sigmoid(i) * np.tanh(candidate)
    weights = [np.array([w]), np.array([u]), np.array(b)]
    h_found, c_found = step("lstm", np.array([[2.0]]), [np.array([[0.5]]), np.array([[0.25]])], weights)
    np.testing.assert_allclose(c_found, [[c]], rtol=1e-5)
    np.testing.assert_allclose(h_found, [[sigmoid(o) * np.tanh(c)]], rtol=1e-5)


def test_the_relu_core_begins_as_the_identity() -> None:
    cell = make("core", "relu", units=3)
    cell.build((None, 2))
    h = np.array([[1.0, 0.0, 2.0]], "float32")
    (found,) = cell(np.zeros((1, 2), "float32"), [ops.convert_to_tensor(h)])[1]
    np.testing.assert_allclose(ops.convert_to_numpy(found), h)


@pytest.mark.parametrize(("name", "states"), [("lstm", 2), ("gru", 1), ("relu", 1)])
def test_every_core_is_a_cell(name: str, states: int) -> None:
    cell = make("core", name, units=4)
    start = cell.get_initial_state(batch_size=3)
    start = list(start) if isinstance(start, (list, tuple)) else [start]
    out, after = cell(np.ones((3, 2), "float32"), start)
    assert out.shape == (3, 4)
    assert len(start) == len(after) == states


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    assert {"gru", "lstm", "relu"} <= set(names("core"))
    with pytest.raises(FoveateError, match="core: no 'rnn'; known: gru, lstm, relu"):
        make("core", "rnn", units=1)
