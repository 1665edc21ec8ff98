import dataclasses

import numpy as np

from foveate.digits.feed import TEST, VALIDATION, Feed, fixed
from foveate.digits.mnist import Digits
from foveate.digits.tasks import TASKS, Recipe

RNG = np.random.default_rng(0)
DIGITS = Digits(RNG.integers(1, 256, (10, 28, 28)).astype(np.uint8), np.arange(10, dtype=np.int32))
PLAIN, MOVED = (
    dataclasses.replace(TASKS[name], recipe=Recipe(epochs=3, epoch=10, batch=5)) for name in ("mnist28", "translated60")
)


def labels(feed: Feed) -> list[int]:
    return [int(label) for k in range(len(feed)) for label in feed[k][1]]


def test_an_epoch_shows_every_digit_once_in_an_order_of_its_own() -> None:
    first, second = (labels(Feed(PLAIN, DIGITS, seed=1, epoch=epoch)) for epoch in (0, 1))
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second


def test_images_follow_seed_epoch_and_batch() -> None:
    image = {
        (seed, epoch, batch): Feed(MOVED, DIGITS, seed, epoch)[batch][0]["images"]
        for seed, epoch, batch in ((1, 0, 0), (1, 0, 1), (1, 1, 0), (2, 0, 0))
    }
    np.testing.assert_array_equal(Feed(MOVED, DIGITS, 1, 0)[0][0]["images"], image[1, 0, 0])
    assert len({pixels.tobytes() for pixels in image.values()}) == 4


def test_a_longer_epoch_begins_again_with_the_first_digit() -> None:
    feed = Feed(dataclasses.replace(PLAIN, recipe=Recipe(epochs=1, epoch=20, batch=5)), DIGITS, seed=1, epoch=0)
    assert labels(feed)[:10] == labels(feed)[10:]


def test_validation_and_test_images_are_always_the_same_and_differ() -> None:
    images, found = fixed(MOVED, DIGITS, TEST)
    assert found.tolist() == list(range(10))
    np.testing.assert_array_equal(images["images"], fixed(MOVED, DIGITS, TEST)[0]["images"])
    assert (images["images"] != fixed(MOVED, DIGITS, VALIDATION)[0]["images"]).any()


def test_training_images_are_moved_where_the_recipe_says_so() -> None:
    moved = dataclasses.replace(PLAIN, recipe=Recipe(epochs=3, epoch=10, batch=5, shift=1))
    images = [Feed(task, DIGITS, seed=1, epoch=0)[0][0]["images"] for task in (PLAIN, moved)]
    inner = [image[:, 0, 1:-1, 1:-1, 0].astype(int).sum() for image in images]
    assert inner[0] != inner[1]
    assert images[0].shape == images[1].shape
    np.testing.assert_array_equal(fixed(moved, DIGITS, TEST)[0]["images"], fixed(PLAIN, DIGITS, TEST)[0]["images"])


def test_digits_are_warped_another_way_in_every_epoch_where_the_recipe_says_so() -> None:
    recipe = Recipe(epochs=3, epoch=10, batch=10, warp=0.2)
    task = dataclasses.replace(PLAIN, recipe=recipe)
    batches = [Feed(task, DIGITS, seed=1, epoch=epoch)[0] for epoch in (0, 1, 0)]
    by_label = [batch["images"][np.argsort(labels)] for batch, labels in batches]
    np.testing.assert_array_equal(by_label[0], by_label[2])
    assert (by_label[0] != by_label[1]).any(axis=(1, 2, 3, 4)).all()
    assert (by_label[0][:, 0, ..., 0] != DIGITS.images).any(axis=(1, 2)).all()
    np.testing.assert_array_equal(fixed(task, DIGITS, TEST)[0]["images"], fixed(PLAIN, DIGITS, TEST)[0]["images"])
