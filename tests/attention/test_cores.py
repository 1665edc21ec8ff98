import numpy as np
import pytest
from keras import ops

from foveate.attention.registry import make

RNG = np.random.default_rng(0)
X, H, C = RNG.normal(size=(3, 5)), RNG.normal(size=(3, 4)), RNG.normal(size=(3, 4))


def step(
    name: str, x: np.ndarray, states: list[np.ndarray], *weights: np.ndarray
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Output and states of a core after one step."""
    cell = make("core", {"name": name, "units": states[0].shape[1]})
    cell.build((None, x.shape[1]))
    cell.set_weights([np.asarray(w) for w in weights])
    out, after = cell(x.astype("float32"), [ops.convert_to_tensor(s.astype("float32")) for s in states])
    return np.asarray(out), [np.asarray(state) for state in after]


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def test_the_lstm_is_that_of_the_equations() -> None:
    w, u, b = RNG.normal(size=(4, 5, 4)), RNG.normal(size=(4, 4, 4)), RNG.normal(size=(4, 4))
    i, f, candidate, o = (X @ w[k] + H @ u[k] + b[k] for k in range(4))  # in Keras' order
    c = sigmoid(f) * C + sigmoid(i) * np.tanh(candidate)
    h = sigmoid(o) * np.tanh(c)
    out, (h_found, c_found) = step("lstm", X, [H, C], np.hstack(w), np.hstack(u), np.hstack(b))
    np.testing.assert_allclose(c_found, c, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(h_found, h, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(out, h_found)


def test_an_lstm_step_in_numbers() -> None:
    # x = h = 0, c = 1, b_f = log 3, b_i = 0, b_c = 0, b_o = 0: c' = 3/4, h' = tanh(3/4) / 2
    zero, one = np.zeros((1, 1)), np.ones((1, 1))
    _, (h, c) = step("lstm", zero, [zero, one], np.ones((1, 4)), np.ones((1, 4)), np.array([0, np.log(3), 0, 0]))
    np.testing.assert_allclose([c[0, 0], h[0, 0]], [0.75, np.tanh(0.75) / 2], rtol=1e-5)


def test_the_lstm_begins_without_forgetting() -> None:
    cell = make("core", {"name": "lstm", "units": 2})
    cell.build((None, 3))
    np.testing.assert_array_equal(np.asarray(cell.bias), [0, 0, 1, 1, 0, 0, 0, 0])


def test_the_gru_is_that_of_the_equations() -> None:
    w, u = RNG.normal(size=(3, 5, 4)), RNG.normal(size=(3, 4, 4))
    b, b_of_h = RNG.normal(size=(2, 3, 4))
    of_x, of_h = (X @ w[k] + b[k] for k in range(3)), [H @ u[k] + b_of_h[k] for k in range(3)]
    keep, reset, new = of_x  # in Keras' order
    z, r = sigmoid(keep + of_h[0]), sigmoid(reset + of_h[1])
    h = z * H + (1 - z) * np.tanh(new + r * of_h[2])
    biases = np.stack([np.hstack(b), np.hstack(b_of_h)])
    _, (found,) = step("gru", X, [H], np.hstack(w), np.hstack(u), biases)
    np.testing.assert_allclose(found, h, rtol=1e-4, atol=1e-6)


def test_the_relu_core_is_that_of_the_equation() -> None:
    w, u, b = RNG.normal(size=(5, 4)), RNG.normal(size=(4, 4)), RNG.normal(size=4)
    expected = np.maximum(X @ w + H @ u + b, 0)
    assert (expected == 0).any()
    _, (found,) = step("relu", X, [H], w, u, b)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_the_relu_core_begins_as_the_identity() -> None:
    cell = make("core", {"name": "relu", "units": 3})
    cell.build((None, 2))
    h = np.array([[1.0, 0.0, 2.0]], "float32")
    (found,) = cell(np.zeros((1, 2), "float32"), [ops.convert_to_tensor(h)])[1]
    np.testing.assert_allclose(np.asarray(found), h)


@pytest.mark.parametrize("name", ["lstm", "gru", "relu"])
def test_a_core_has_256_units_unless_it_is_told_otherwise(name: str) -> None:
    assert make("core", name).units == 256
