import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from keras import ops

from foveate.attention import losses

Gradients = Callable[..., list[np.ndarray]]
# Two rows, two steps, two classes. Probabilities of class 0: row 0 1/2 then 3/4, row 1 1/4 then 1/2.
P0 = np.array([[1 / 2, 3 / 4], [1 / 4, 1 / 2]])
LOGITS = np.log(np.stack([P0, 1 - P0], -1)).astype(np.float32) + 5  # a constant changes no probability
LABEL = np.array([0, 1], np.int64)


def tensor(values: Any) -> Any:
    return ops.convert_to_tensor(np.asarray(values, np.float32))


def close(found: Any, expected: Any) -> None:
    expected = np.asarray(expected, np.float64)
    assert tuple(found.shape) == expected.shape
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-5, atol=1e-6)


def test_log_likelihood() -> None:
    found = losses.log_likelihood(tensor(LOGITS), LABEL)
    close(found, np.log([[1 / 2, 3 / 4], [3 / 4, 1 / 2]]))


def test_cross_entropy_is_the_mean_over_steps() -> None:
    close(losses.cross_entropy(tensor(LOGITS), LABEL), [-math.log(3 / 8) / 2, -math.log(3 / 8) / 2])


def test_cross_entropy_of_a_sure_answer_does_not_overflow() -> None:
    logits = tensor([[[200.0, -200.0]], [[-200.0, 200.0]]])
    close(losses.cross_entropy(logits, np.array([0, 0])), [0, 400])


def test_dense_rewards_are_gains_of_log_probability_over_chance() -> None:
    found = losses.dense_rewards(tensor(LOGITS), LABEL)
    # 1/2 -> 1/2 -> 3/4, and 1/2 -> 3/4 -> 1/2
    close(found, [[0, math.log(3 / 2)], [math.log(3 / 2), math.log(2 / 3)]])


def test_dense_rewards_add_up_to_the_whole_gain() -> None:
    logits = np.random.default_rng(0).normal(size=(3, 5, 4))
    label = np.array([0, 3, 2])
    last = np.asarray(losses.log_likelihood(tensor(logits), label))[:, -1]
    np.testing.assert_allclose(
        np.asarray(losses.dense_rewards(tensor(logits), label)).sum(1), last + math.log(4), rtol=1e-5
    )


def test_discounted_returns() -> None:
    rewards = tensor([[1, 2, 4], [0, 0, 8]])
    close(losses.discounted_returns(rewards, 0.5), [[3, 4, 4], [2, 4, 8]])
    close(losses.discounted_returns(rewards, 1.0), [[7, 6, 4], [8, 8, 8]])
    close(losses.discounted_returns(rewards, 0.0), [[1, 2, 4], [0, 0, 8]])
    close(losses.discounted_returns(tensor([[3.0]]), 0.5), [[3]])


def test_advantages_are_normalised_over_the_batch() -> None:
    returns, baseline = tensor([[4, 2], [1, 7]]), tensor([[1, 1], [2, 2]])
    # 3, 1, -1, 5: mean 2, deviation sqrt(5)
    close(losses.advantages(returns, baseline, tensor([[1], [1]])), np.array([[1, -1], [-3, 3]]) / math.sqrt(5))


def test_rows_without_weight_do_not_shift_the_advantages_of_others() -> None:
    returns = tensor([[3, 1], [1000, -1000]])
    found = losses.advantages(returns, tensor(np.zeros((2, 2))), tensor([[1], [0]]))
    close(found[:1], [[1, -1]])


@pytest.mark.parametrize("weight", [[[1], [1]], [[0], [0]]])
def test_equal_returns_and_empty_batches_give_no_advantage(weight: list[list[float]]) -> None:
    found = losses.advantages(tensor(np.full((2, 2), 3)), tensor(np.full((2, 2), 3)), tensor(weight))
    close(found, np.zeros((2, 2)))


def test_reinforce() -> None:
    log_pi, advantage = tensor([[-1, -2], [-3, -4]]), tensor([[2, -1], [0.5, 0]])
    close(losses.reinforce(log_pi, advantage), [(2 - 2) / 2, 1.5 / 2])


def test_reinforce_flows_into_the_policy_alone(gradients_of: Gradients) -> None:
    advantage = [[2.0, -1.0], [0.5, 0.0]]
    into_log_pi, into_advantage = gradients_of(losses.reinforce, [[-1.0, -2.0], [-3.0, -4.0]], advantage)
    np.testing.assert_allclose(into_log_pi, -np.array(advantage) / 2)  # the mean over two steps
    assert not into_advantage.any()


def test_rewards_and_advantages_are_detached(gradients_of: Gradients) -> None:
    def whole(logits: Any, baseline: Any, log_pi: Any) -> Any:
        returns = losses.discounted_returns(losses.dense_rewards(logits, LABEL), 0.9)
        return losses.reinforce(log_pi, losses.advantages(returns, baseline, tensor([[1], [1]])))

    into_logits, into_baseline, into_log_pi = gradients_of(
        whole, LOGITS, [[0.1, 0.2], [0.3, 0.4]], [[-1, -2], [-3, -4]]
    )
    assert not into_logits.any()
    assert not into_baseline.any()
    assert np.abs(into_log_pi).min() > 0
    (into_logits,) = gradients_of(lambda x: losses.dense_rewards(x, LABEL), LOGITS)
    assert not into_logits.any()
    weight, returns, baseline = tensor([[1], [1]]), [[1, 2], [3, 5]], [[0, 0], [0, 1]]
    # of the squares: the sum of normalised advantages does not change, whatever they depend on
    for gradient in gradients_of(lambda r, b: losses.advantages(r, b, weight) ** 3, returns, baseline):
        assert not gradient.any()


def test_the_baseline_learns_by_its_own_error_alone(gradients_of: Gradients) -> None:
    returns, baseline = [[1.0, 3.0], [0.0, 2.0]], [[0.0, 1.0], [0.0, 4.0]]
    close(losses.baseline_error(tensor(returns), tensor(baseline)), [(1 + 4) / 2, 4 / 2])
    into_returns, into_baseline = gradients_of(losses.baseline_error, returns, baseline)
    assert not into_returns.any()
    np.testing.assert_allclose(into_baseline, [[-1, -2], [0, 2]])  # 2 (b - G) / T


def test_entropy() -> None:
    even, sure = [0.25] * 4, [1, 1e-30, 1e-30, 1e-30]
    half = [0.5, 0.5, 1e-30, 1e-30]
    log_p = tensor(np.log([[even, half], [sure, sure]]))
    close(losses.entropy(log_p), [(math.log(4) + math.log(2)) / 2, 0])


def test_cells_that_are_not_allowed_add_nothing_to_the_entropy(gradients_of: Gradients) -> None:
    log_p = ops.log_softmax(tensor([[[0.0, 0.0, -1e9]]]), axis=-1)
    close(losses.entropy(log_p), [math.log(2)])
    (gradient,) = gradients_of(losses.entropy, np.asarray(log_p))
    assert np.isfinite(gradient).all()


def test_guidance_is_the_policy_s_mass_on_lesions() -> None:
    log_p = tensor(np.log([[[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]]))
    target = np.array([[[True, True, False], [False, False, True]]])
    close(losses.guidance(log_p, target), [(-math.log(0.75) - math.log(0.8)) / 2])


def test_steps_without_a_target_do_not_count(gradients_of: Gradients) -> None:
    p = [0.5, 0.25, 0.25]
    log_p = tensor(np.log([[p, p], [p, p]]))
    target = np.zeros((2, 2, 3), bool)
    target[0, 1, 1] = True  # row 0: one step of two has a target; row 1: none
    close(losses.guidance(log_p, target), [-math.log(0.25), 0])
    (gradient,) = gradients_of(lambda x: losses.guidance(x, target), np.asarray(log_p))
    assert not gradient[1].any()
    assert not gradient[0, 0].any()
    np.testing.assert_allclose(gradient[0, 1], [0, -1, 0], atol=1e-6)


def test_no_mass_on_a_lesion_is_a_large_cost_and_not_an_infinite_one(gradients_of: Gradients) -> None:
    log_p = tensor([[[0.0, -1e9]]])
    target = np.array([[[False, True]]])
    close(losses.guidance(log_p, target), [50])
    (gradient,) = gradients_of(lambda x: losses.guidance(x, target), np.asarray(log_p))
    assert np.isfinite(gradient).all()


def test_squared_error_of_sure_and_of_undecided_answers() -> None:
    logits = np.array([[[50.0, 0, 0], [0, 0, 0]]], "float32")  # right and sure, then undecided
    # 0, and (1/3)^2 + (1/3)^2 + (2/3)^2 = 2/3: their mean
    np.testing.assert_allclose(ops.convert_to_numpy(losses.squared_error(logits, np.array([0]))), [1 / 3], rtol=1e-5)
    # 2 for the sure answer when it is wrong
    np.testing.assert_allclose(ops.convert_to_numpy(losses.squared_error(logits, np.array([1]))), [4 / 3], rtol=1e-5)


def test_the_reward_of_an_answer() -> None:
    logits = tensor([[0.0, 1], [0, 1], [3, 1]])
    found = losses.correctness(logits, np.array([1, 0, 0]))
    np.testing.assert_array_equal(np.asarray(found), [1, 0, 1])


def test_the_last_answer_is_the_one_before_the_stop() -> None:
    logits = tensor(np.arange(18).reshape(3, 3, 2))
    looked = tensor([[1, 1, 1], [1, 0, 0], [1, 1, 0]])
    close(losses.last_looked(logits, looked), [[4, 5], [6, 7], [14, 15]])


def test_a_copy_is_compared_with_the_others_of_its_row() -> None:
    returns = tensor([[1, 0], [2, 0], [6, 3], [5, 1], [5, 1], [5, 4]])
    close(losses.other_copies(returns, 3), [[4, 1.5], [3.5, 1.5], [1.5, 0], [5, 2.5], [5, 2.5], [5, 1]])


def test_copies_are_averaged_as_probabilities() -> None:
    p = np.array([[0.9, 0.1], [0.3, 0.7], [0.5, 0.5], [0.5, 0.5]], "float32")[:, None]
    found = np.exp(ops.convert_to_numpy(losses.average_copies(np.log(p), 2)))
    np.testing.assert_allclose(found[:, 0], [[0.6, 0.4], [0.5, 0.5]], rtol=1e-5)


STOP = [[0.0, math.log(1 / 3), 9.0]]  # s = 1/2, 1/4, and the last, which is sure to stop


def test_the_distribution_of_the_stop() -> None:
    # 1/2; 1/2 * 1/4; 1/2 * 3/4, whatever the last logit is
    for last in (9.0, -9.0):
        close(losses.stop_distribution(tensor([[*STOP[0][:2], last]])), [[1 / 2, 1 / 8, 3 / 8]])
    close(losses.stop_distribution(tensor([[-3.0], [3.0]])), [[1], [1]])
    close(losses.stop_distribution(tensor([[200, 0, 0], [-200, 200, 0]])), [[1, 0, 0], [0, 1, 0]])


def test_cells_with_tumor_and_without_weigh_the_same() -> None:
    logits, tumor = tensor([[0.0, 2.0, -1.0], [5.0, 0.0, 9.0]]), np.array([[0, 1, 0], [-1, 0, -1]])
    with_it = math.log(1 + math.exp(-2))
    without = (math.log(2) + math.log(1 + math.exp(-1)) + math.log(2)) / 3
    close(losses.tumor_cells(logits, tumor), (with_it + without) / 2)
    close(losses.tumor_cells(logits, np.full((2, 3), -1)), 0)
    close(losses.tumor_cells(logits[:, 1:2], np.zeros((2, 1))), (math.log(1 + math.exp(2)) + math.log(2)) / 4)


def test_the_mean_number_of_glimpses() -> None:
    close(losses.mean_glimpses(losses.stop_distribution(tensor(STOP))), [1 / 2 + 2 / 8 + 9 / 8])


def test_the_cost_of_stopping_is_the_expected_one() -> None:
    p = np.array([[1 / 2, 3 / 4, 1 / 4]])  # of the label
    logits = tensor(np.log(np.stack([p, 1 - p], -1)))
    by_hand = math.log(1 / 2) / 2 + math.log(3 / 4) / 8 + 3 * math.log(1 / 4) / 8 - 0.1 * 15 / 8
    found = losses.stop_cost(losses.stop_distribution(tensor(STOP)), logits, np.array([0]), 0.1)
    close(found, [-by_hand])


def test_stopping_costs_also_what_it_is_sure_of(gradients_of: Gradients) -> None:
    logits, label = tensor([[[0.0, 0], [0, 0], [1, 0]]]), np.array([0])
    stop = [[-2.0, 1, 0]]
    cost = losses.stop_cost(losses.stop_distribution(tensor(stop)), logits, label, 0.1)
    close(losses.stopping(tensor(stop), logits, label, 0.1), np.asarray(cost) + losses.SURE * 5 / 3)
    (lost,) = gradients_of(lambda x: losses.stopping(x, logits, label, 0.1), [[-80.0, -80, 0]])
    close(lost, [[-losses.SURE * 160 / 3, -losses.SURE * 160 / 3, 0]])  # no stop is so unlikely that it is lost


def test_the_gradient_of_stopping_is_the_mean_of_reinforce(gradients_of: Gradients) -> None:
    """Over all times tau to stop: P(tau) R_tau grad log P(tau), with log P(tau) of sigmoid units (Williams 1992)."""
    rng, price = np.random.default_rng(0), 0.2
    stop, logits = rng.normal(size=(2, 4)), rng.normal(size=(2, 4, 3))
    label = np.array([2, 0])
    s = 1 / (1 + np.exp(-stop))
    log_p = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
    returns = log_p[[0, 1], :, label] - price * np.arange(1, 5)
    expected = np.zeros((2, 4))
    for tau in range(4):
        stops, on = (s[:, tau] if tau < 3 else 1.0), np.prod(1 - s[:, :tau], axis=1)
        score = np.zeros((2, 4))
        score[:, :tau] = -s[:, :tau]
        if tau < 3:
            score[:, tau] = 1 - s[:, tau]
        expected += (stops * on * returns[:, tau])[:, None] * score
    into_stop, into_logits = gradients_of(
        lambda stop, logits: losses.stop_cost(losses.stop_distribution(stop), logits, label, price), stop, logits
    )
    np.testing.assert_allclose(into_stop, -expected, atol=1e-6)
    assert np.abs(expected[:, :3]).min() > 1e-3
    assert not into_logits.any()
