import math

import numpy as np
import pytest

from foveate.patients.temperature import SPREAD, fit_temperature, posterior_log

EVEN = [0.5, 0.5]
GRID = 0.0036  # log T of neighbours on the grid


def called(scores: float, times: int, right: int) -> tuple[list[list[float]], list[int]]:
    """`times` slides of each of two classes with the logit `scores` for one of them, rightly `right` times."""
    logits = [[scores, 0.0]] * times + [[0.0, scores]] * times
    return logits, [0] * right + [1] * (times - right) + [1] * right + [0] * (times - right)


def test_the_prior_stands_outside_of_the_temperature() -> None:
    prior = [0.8, 0.1, 0.1]
    logits = np.log([[1, 1, 1], [1, 4, 16]])
    # with T = 2 the likelihoods are 1, 1, 1 and 1, 2, 4
    expected = np.array([[0.8, 0.1, 0.1], [0.8 / 1.4, 0.2 / 1.4, 0.4 / 1.4]])
    np.testing.assert_allclose(np.exp(posterior_log(logits, prior, 2.0)), expected)
    np.testing.assert_allclose(np.exp(posterior_log(logits, prior, 1e9)), [prior, prior])
    np.testing.assert_allclose(posterior_log([[3000.0, 0.0]], EVEN, 1.0), [[0.0, -3000.0]])


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_of_many_slides_it_is_the_likeliest(temperature: float) -> None:
    # right 3 times of 4: the logit to have is log 3
    fit = fit_temperature(*called(temperature * math.log(3), 4000, 3000), EVEN)
    assert math.log(fit.temperature) == pytest.approx(math.log(temperature), abs=GRID)
    assert fit.slides == 8000
    odds = 3**temperature
    assert fit.before == pytest.approx(-0.75 * math.log(odds / (1 + odds)) - 0.25 * math.log(1 / (1 + odds)))
    assert fit.after == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25), rel=1e-5)


@pytest.mark.parametrize("slides", [1, 4, 10])
def test_few_slides_that_are_all_right_do_not_make_it_sure(slides: int) -> None:
    fit = fit_temperature(*called(2.0, slides, slides), EVEN)
    x, n = 2.0 / fit.temperature, 2 * slides
    # at the minimum the slides' pull n x / (1 + e^x) equals the prior's, -log T / SPREAD^2
    slope = n * x / (1 + math.exp(x)) + math.log(fit.temperature) / SPREAD**2
    assert abs(slope) < GRID * (n + 1 / SPREAD**2)
    assert 0.45 < fit.temperature < 1


def test_without_slides_it_is_one() -> None:
    fit = fit_temperature(np.empty((0, 4)), [], [0.25] * 4)
    assert (fit.temperature, fit.slides) == (1.0, 0)
    assert math.isnan(fit.before)
    assert math.isnan(fit.after)


def test_it_stays_within_its_bounds() -> None:
    always = fit_temperature(*called(0.1, 4000, 4000), EVEN)
    never = fit_temperature(*called(9.0, 4000, 4000 // 2), EVEN)
    assert (always.temperature, never.temperature) == (pytest.approx(0.25), pytest.approx(4.0))


def test_logits_that_say_nothing_leave_it_at_exactly_one() -> None:
    fit = fit_temperature(np.zeros((40, 4)), [0, 1, 2, 3] * 10, [0.7, 0.1, 0.1, 0.1])
    assert fit.temperature == 1.0
    # each class weighs as much as its prior: the loss is the prior's entropy
    assert fit.before == fit.after == pytest.approx(-0.7 * math.log(0.7) - 0.3 * math.log(0.1))


def test_the_validation_split_s_class_shares_do_not_matter() -> None:
    # class 0 is always right and class 1 every second time; many or few slides of class 0
    logits, labels = [[3.0, 0.0]] * 1000 + [[0.0, 3.0]] * 500 + [[3.0, 0.0]] * 500, [0] * 1000 + [1] * 1000
    more = fit_temperature(logits + [[3.0, 0.0]] * 9000, labels + [0] * 9000, [0.8, 0.2])
    even = fit_temperature(logits, labels, [0.8, 0.2])
    assert math.log(more.temperature) == pytest.approx(math.log(even.temperature), abs=2 * GRID)
    assert (more.before, more.after) == (pytest.approx(even.before), pytest.approx(even.after, rel=1e-3))
    # and the prior does: where class 1 is common, its errors are
    assert fit_temperature(logits, labels, [0.2, 0.8]).temperature > 1.2 * even.temperature


def test_a_class_without_slides_has_no_say() -> None:
    logits, labels = called(2.0, 40, 30)
    three = [[*row, -50.0] for row in logits]  # a third class that is never seen and never meant
    two = fit_temperature(logits, labels, EVEN)
    assert fit_temperature(three, labels, [0.25, 0.25, 0.5]).temperature == two.temperature
