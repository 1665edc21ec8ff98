"""Gated attention pooling (Ilse et al. 2018, equation 9), on frozen glimpse vectors.

A slide is a bag of the vectors x_n of all its cells: a = softmax(w . (tanh(V x_n) * sigmoid(U x_n))), and the logits
are W sum_n a_n x_n + b. In numpy with its gradient by hand: bags of any size compile nothing.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from foveate.progress import progress

Floats = NDArray[np.float32]
Parameters = dict[str, Floats]
Bag = Callable[[], Floats]
"""Reads the vectors (N, F) of a slide, so that one slide's are in memory at a time."""

HIDDEN, EPOCHS, RATE = 32, 40, 5e-3
DECAYS, FLOOR = (0.9, 0.999), 1e-8  # of Adam


class GatedAttention:
    """The parameters and the scale of the vectors. mean, spread: (F,)."""

    def __init__(self, parameters: Parameters, mean: Floats, spread: Floats) -> None:
        self.parameters, self._mean, self._spread = parameters, mean, spread

    def scaled(self, vectors: Floats) -> Floats:
        """Vectors (N, F) in units of the training cells' mean and deviation."""
        return ((vectors - self._mean) / self._spread).astype(np.float32)

    def probabilities(self, vectors: Floats) -> NDArray[np.float64]:
        """(K,) of the slide whose cells have these vectors (N, F)."""
        return _forward(self.parameters, self.scaled(vectors))[0].astype(np.float64)


def fit(
    bags: Sequence[Bag], labels: Sequence[int], classes: int, val: tuple[Sequence[Bag], Sequence[int]], seed: int
) -> GatedAttention:
    """Train with Adam, a slide a step; validation slides, where there are any, choose the epoch."""
    rng = np.random.default_rng(seed)
    mean, spread = _moments(bags)
    shapes = {"v": (len(mean), HIDDEN), "u": (len(mean), HIDDEN), "w": (HIDDEN,)}
    parameters: Parameters = {
        name: (rng.normal(size=shape) / np.sqrt(shape[0])).astype(np.float32) for name, shape in shapes.items()
    }
    parameters |= {"out": np.zeros((len(mean), classes), np.float32), "bias": np.zeros(classes, np.float32)}
    model = GatedAttention(parameters, mean, spread)
    first, second = ({k: np.zeros_like(v) for k, v in parameters.items()} for _ in range(2))
    best, kept, step = math.inf, {k: v.copy() for k, v in parameters.items()}, 0
    for _ in progress(range(EPOCHS), "compare: gated attention"):
        for number in rng.permutation(len(bags)):
            step += 1
            _, gradients = loss(parameters, model.scaled(bags[number]()), labels[number])
            for name, gradient in gradients.items():
                first[name] += (1 - DECAYS[0]) * (gradient - first[name])
                second[name] += (1 - DECAYS[1]) * (gradient**2 - second[name])
                rate = RATE * np.sqrt(1 - DECAYS[1] ** step) / (1 - DECAYS[0] ** step)
                parameters[name] -= (rate * first[name] / (np.sqrt(second[name]) + FLOOR)).astype(np.float32)
        losses = [_nll(_forward(parameters, model.scaled(bag()))[0], label) for bag, label in zip(*val, strict=True)]
        found = float(np.mean(losses)) if losses else -math.inf
        if found < best or not losses:
            best = found
            kept = {k: v.copy() for k, v in parameters.items()}
    return GatedAttention(kept, mean, spread)


def loss(parameters: Parameters, x: Floats, label: int) -> tuple[float, Parameters]:
    """Cross entropy (nats) of one bag x (N, F), and its gradient."""
    p, attention, tanh, gate, pooled = _forward(parameters, x)
    error = p - np.eye(len(p), dtype=np.float32)[label]
    toward = x @ (parameters["out"] @ error)  # what the loss gains by attention to each cell
    score = attention * (toward - attention @ toward)
    gated = score[:, None] * parameters["w"]
    gradients = {
        "v": x.T @ (gated * gate * (1 - tanh**2)),
        "u": x.T @ (gated * tanh * gate * (1 - gate)),
        "w": (tanh * gate).T @ score,
        "out": np.outer(pooled, error),
        "bias": error,
    }
    return _nll(p, label), gradients


def _nll(p: Floats, label: int) -> float:
    return float(-np.log(max(p[label], 1e-12)))


def _forward(parameters: Parameters, x: Floats) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Probabilities (K,), attention (N,), tanh and gate (N, HIDDEN), the pooled vector (F,)."""
    tanh = np.tanh(x @ parameters["v"])
    gate = np.float32(1) / (1 + np.exp(-np.clip(x @ parameters["u"], -30, 30)))
    attention = softmax((tanh * gate) @ parameters["w"])
    pooled = attention @ x
    return softmax(pooled @ parameters["out"] + parameters["bias"]), attention, tanh, gate, pooled


def _moments(bags: Sequence[Bag]) -> tuple[Floats, Floats]:
    """Mean and deviation (F,) of the vectors of all bags; each bag counts once, whatever its size."""
    sums = [(x.mean(axis=0), (x.astype(np.float64) ** 2).mean(axis=0)) for x in (bag() for bag in bags)]
    mean, square = (np.mean(part, axis=0) for part in zip(*sums, strict=True))
    spread = np.sqrt(np.maximum(square - mean**2, 0))
    return mean.astype(np.float32), np.where(spread > 1e-6, spread, 1).astype(np.float32)
