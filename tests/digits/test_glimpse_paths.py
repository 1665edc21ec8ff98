import numpy as np
import pytest
from keras import ops

from foveate.attention.array_sensor import ArraySensor
from foveate.digits.glimpse_paths import GlimpsePaths


def paths(images: np.ndarray, where: np.ndarray, picked: np.ndarray, px: int, scales: int) -> GlimpsePaths:
    chances = np.full((*picked.shape, 2), 0.5)
    taken, labels = np.full(len(images), picked.shape[1]), np.zeros(len(images), int)
    return GlimpsePaths(images, where, picked, chances, taken, labels, ("a", "b"), px, scales)


def test_a_glimpse_by_hand() -> None:
    images = np.zeros((1, 2, 4, 4), np.uint8)
    images[0, 1] = 10 * np.arange(16).reshape(4, 4)
    # x 0.5 is column 3 of 4, y -0.5 is row 1
    seen = paths(images, np.array([[[0.5, -0.5]]]), np.array([[1]]), 2, 2)
    assert seen.square(0, 0, 0) == (2, 0, 2)
    assert seen.square(0, 0, 1) == (1, -1, 4)
    # coarse: rows -1 to 2, columns 1 to 4; means of 10 and 20, of 30 alone, of 50, 60, 90, 100, and of 70, 110
    assert seen.seen(0, 0).tolist() == [[[20, 30], [60, 70]], [[8, 8], [75, 45]]]


def test_a_glimpse_is_what_the_sensor_sees() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(4, 3, 9, 14), dtype=np.uint8)
    where, picked = rng.uniform(-1, 1, (4, 20, 2)).astype("float32"), rng.integers(3, size=(4, 20))
    where[:, :4] = [(-1, -1), (1, 1), (0, 0), (-1, 1)]  # corners, and halves of pixels, which are rounded to even
    found = paths(images, where, picked, 5, 3)
    sensor = ArraySensor(5, 3)
    for b in range(4):
        seen = sensor(sensor.focus(ops.convert_to_tensor(images[b, ..., None])), picked[b].astype("int32"), where[b])
        wanted = 255 * ops.convert_to_numpy(seen)[..., 0]
        for t in range(20):
            np.testing.assert_allclose(found.seen(b, t), wanted[t], atol=0.501)


def test_the_answer_is_the_most_probable_class() -> None:
    chances = np.array([[[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]])
    images, where, picked = np.zeros((1, 1, 4, 4), np.uint8), np.zeros((1, 2, 2)), np.zeros((1, 2), int)
    found = GlimpsePaths(images, where, picked, chances, np.array([2]), np.array([0]), ("a", "b", "c"), 2, 1)
    assert (found.answer(0, 0), found.answer(0, 1)) == ((0, 0.7), (2, 0.6))
    assert found.steps == 2


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("images", (2, 1, 4, 4)),
        ("images", (3, 4, 4)),
        ("where", (3, 5, 3)),
        ("where", (3, 4, 2)),
        ("probabilities", (3, 5, 3)),
        ("taken", (3, 5)),
        ("labels", (2,)),
    ],
)
def test_shapes_that_do_not_belong_together(name: str, shape: tuple[int, ...]) -> None:
    shapes = {"images": (3, 1, 4, 4), "where": (3, 5, 2), "picked": (3, 5), "probabilities": (3, 5, 2)}
    shapes |= {"taken": (3,), "labels": (3,)}
    made = {key: np.zeros(shape if key == name else size) for key, size in shapes.items()}
    with pytest.raises(ValueError, match=f"{name}: expected the shape"):
        GlimpsePaths(**made, names=("a", "b"), px=2, scales=1)
