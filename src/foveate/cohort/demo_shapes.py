"""Outlines and smooth random fields of the demo slides: plain geometry, no pixels of tissue.

Everything is in micrometres of the slide, which are level-0 pixels (1 um/px), order (x, y). Fields live on a
coarse grid of `CELL` um, order (row, column): the value at [r, c] belongs to the centre of its cell,
((c + 0.5) * CELL, (r + 0.5) * CELL).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CELL = 8
VERTICES = 180
Field = NDArray[np.float32]


@dataclass(frozen=True)
class Outline:
    """A closed curve around `center` (x, y): `radius[k]` um at the angle 2 pi k / len(radius)."""

    center: tuple[float, float]
    radius: NDArray[np.float64]

    @property
    def vertices(self) -> NDArray[np.float64]:
        """(n, 2) points (x, y) of the curve."""
        angle = np.arange(len(self.radius)) * (2 * np.pi / len(self.radius))
        unit = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        return np.asarray(self.center) + self.radius[:, None] * unit

    @property
    def diameter(self) -> float:
        """Longest distance between two vertices, um."""
        points = self.vertices
        return float(np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1)).max())

    def at(self, x: float, y: float) -> "Outline":
        """The same curve around (x, y)."""
        return Outline((x, y), self.radius)

    def depth(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far each of (..., 2) points lies inside the curve along its ray, um; negative outside."""
        dx, dy = points[..., 0] - self.center[0], points[..., 1] - self.center[1]
        turn = np.arctan2(dy, dx) * (len(self.radius) / (2 * np.pi))
        period = np.arange(len(self.radius) + 1)
        closed = np.append(self.radius, self.radius[0])
        return np.interp(turn % len(self.radius), period, closed) - np.hypot(dx, dy)

    def paint(self, field: Field, reach: float = 200.0) -> tuple[tuple[slice, slice], Field]:
        """The window of `field` within `reach` um of the curve, and the depth of its cells."""
        low, high = self.vertices.min(axis=0) - reach, self.vertices.max(axis=0) + reach
        first = np.maximum(low // CELL, 0).astype(int)
        last = np.minimum(high // CELL + 1, field.shape[::-1]).astype(int)
        x, y = ((np.arange(a, b) + 0.5) * CELL for a, b in zip(first, last, strict=True))
        points = np.stack(np.meshgrid(x, y), axis=-1)
        return (slice(first[1], last[1]), slice(first[0], last[0])), self.depth(points).astype(np.float32)


def blob(rng: np.random.Generator, diameter: float, elongation: float, roughness: float) -> Outline:
    """An irregular, smooth, roughly elliptic outline around (0, 0) whose `Outline.diameter` is `diameter`.

    The logarithm of the radius is a random Fourier series, so the curve never crosses itself. roughness: the
    standard deviation of its second harmonic; those above fall off as 1 / k ** 1.3.
    """
    angle = np.arange(VERTICES) * (2 * np.pi / VERTICES)
    order = np.arange(2, 22)[:, None]
    weight = rng.normal(size=(20, 1)) * roughness * (2 / order) ** 1.3
    series = (weight * np.cos(order * angle + rng.uniform(0, 2 * np.pi, (20, 1)))).sum(axis=0)
    tilted = angle - rng.uniform(0, np.pi)
    ellipse = 1 / np.hypot(np.cos(tilted), np.sin(tilted) * elongation)
    shape = Outline((0.0, 0.0), ellipse * np.exp(series))
    return Outline((0.0, 0.0), shape.radius * (diameter / shape.diameter))


def kidney(rng: np.random.Generator, center: tuple[float, float], width: float, height: float) -> Outline:
    """The outline of a lymph node: an ellipse of about `width` x `height` um with a notch, the hilum."""
    angle = np.arange(2 * VERTICES) * (np.pi / VERTICES)
    order = np.arange(2, 14)[:, None]
    weight = rng.normal(size=(12, 1)) * 0.05 * (2 / order) ** 1.1
    series = (weight * np.cos(order * angle + rng.uniform(0, 2 * np.pi, (12, 1)))).sum(axis=0)
    power = 2.4  # a little squarer than an ellipse, as sections of nodes are
    ellipse = (np.abs(np.cos(angle) * 2 / width) ** power + np.abs(np.sin(angle) * 2 / height) ** power) ** (-1 / power)
    hilum = rng.choice([0.5, 1.5]) * np.pi + rng.normal() * 0.35
    away = np.angle(np.exp(1j * (angle - hilum)))
    notch = 1 - rng.uniform(0.08, 0.26) * np.exp(-((away / rng.uniform(0.22, 0.4)) ** 2))
    return Outline(center, ellipse * notch * np.exp(series))


def spots(
    rng: np.random.Generator, shape: Outline, hosts: list[Outline], margin: float, tries: int
) -> Iterator[Outline]:
    """Up to `tries` random places where `shape` lies inside one of `hosts` by at least `margin` um."""
    share = np.array([host.radius.mean() ** 2 for host in hosts])
    for _ in range(tries):
        host = hosts[rng.choice(len(hosts), p=share / share.sum())]
        angle, far = rng.uniform(0, 2 * np.pi), np.sqrt(rng.uniform())
        reach = far * host.radius[int(angle / (2 * np.pi) * len(host.radius))]
        moved = shape.at(host.center[0] + reach * np.cos(angle), host.center[1] + reach * np.sin(angle))
        if host.depth(moved.vertices).min() >= margin:
            yield moved


def noise(rng: np.random.Generator, shape: tuple[int, int], feature: float) -> Field:
    """Smooth noise of unit variance and about `feature` um from hill to hill, on a grid of `shape`."""
    rows, columns = (max(4, int(n * CELL / feature) + 3) for n in shape)
    coarse = Image.fromarray(rng.normal(size=(rows, columns)).astype(np.float32))
    smooth = np.asarray(coarse.resize((shape[1], shape[0]), Image.Resampling.BICUBIC))
    return smooth / smooth.std()
