import numpy as np
import pytest

from foveate.digits.groups import GroupRule, draw
from foveate.digits.mnist import Digits

# three images of each digit; every pixel of an image is its number, whose last decimal is the label
NUMBERS = np.arange(30)
DIGITS = Digits(np.broadcast_to(NUMBERS[:, None, None], (30, 28, 28)).astype(np.uint8), (NUMBERS % 10).astype(np.int32))
RULE = GroupRule(size=5, noise=(1, 2), counts=(3, 0, 5))


def drawn(rule: GroupRule, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The numbers (count, size) of the images, and the classes."""
    images, labels = draw(rule, DIGITS, count, np.random.default_rng(seed))
    assert images.shape == (count, rule.size, 28, 28)
    assert (images.dtype, labels.dtype, labels.shape) == (np.uint8, np.int32, (count,))
    assert np.all(images == images[..., :1, :1])
    return images[..., 0, 0], labels


def test_the_class_says_how_many_are_noise() -> None:
    numbers, labels = drawn(RULE, 500)
    assert set(labels.tolist()) == {0, 1, 2}
    noise = np.isin(numbers % 10, RULE.noise).sum(1)
    assert noise.tolist() == np.array([3, 0, 5])[labels].tolist()


def test_classes_images_and_order_are_drawn_evenly() -> None:
    rule = GroupRule(size=4, noise=(0,), counts=(2, 1))
    numbers, labels = drawn(rule, 4000)
    noisy = numbers % 10 == 0
    assert abs(labels.mean() - 0.5) < 0.04  # 5 standard deviations
    # each place is noise in 2/4 of the groups of class 0 and in 1/4 of those of class 1
    np.testing.assert_allclose(noisy[labels == 0].mean(0), 0.5, atol=0.06)
    np.testing.assert_allclose(noisy[labels == 1].mean(0), 0.25, atol=0.06)
    # about 6000 noise images among 3, and 10000 others among 27
    chosen = np.bincount(numbers.ravel(), minlength=30)
    assert np.all(np.abs(chosen[[0, 10, 20]] / noisy.sum() - 1 / 3) < 0.04)
    others = np.delete(chosen, [0, 10, 20])
    assert np.all(np.abs(others / (~noisy).sum() - 1 / 27) < 0.01)


def test_neighbours_in_a_group_are_drawn_apart() -> None:
    numbers, _ = drawn(GroupRule(size=4, noise=(0,), counts=(0,)), 500)
    assert np.mean(numbers[:, 0] == numbers[:, 1]) < 0.1  # 1/27 by chance
    assert len(np.unique(numbers, axis=0)) > 480


def test_equal_seeds_draw_equal_groups() -> None:
    assert drawn(RULE, 50, seed=1)[0].tolist() == drawn(RULE, 50, seed=1)[0].tolist()
    assert drawn(RULE, 50, seed=1)[0].tolist() != drawn(RULE, 50, seed=2)[0].tolist()


@pytest.mark.parametrize("counts", [(), (1, 1), (0, 6), (-1, 2)])
def test_counts_that_make_no_rule(counts: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="counts: expected"):
        GroupRule(5, (0,), counts)


@pytest.mark.parametrize("noise", [(), tuple(range(10))])
def test_digits_of_one_kind_only(noise: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="digits: expected some labelled"):
        draw(GroupRule(5, noise, (1, 2)), DIGITS, 3, np.random.default_rng(0))
