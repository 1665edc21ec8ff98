"""The parts of the hybrid loss, as pure functions (Mnih et al. 2014, section 3.2; Williams 1992).

Shapes: B rows, T fixations, N cells, K classes. Every function returns one number a row, (B,), so that the
caller can weigh rows. Sums over steps are means over steps, so that a weight means the same for every T.
"""

import math
from typing import Any

from keras import ops

SURE = 1e-3  # price of a stop network's being sure, for the mean square of its logits
LEAST_LOG_P = -50.0  # what has no mass at all costs much, and not infinitely much


def cross_entropy(logits_t: Any, label: Any) -> Any:
    """-log p_t(label), mean over steps: every fixation must be ready to answer (Mnih et al. 2014, section 3.2).

    logits_t (B, T, K), label (B,).
    """
    return -ops.mean(log_likelihood(logits_t, label), axis=1)


def log_likelihood(logits_t: Any, label: Any) -> Any:
    """log p_t(label), (B, T), of logits (B, T, K) and integer labels (B,)."""
    log_p = ops.log_softmax(logits_t, axis=-1)
    return ops.take_along_axis(log_p, ops.cast(label, "int32")[:, None, None], axis=-1)[..., 0]


def squared_error(logits_t: Any, label: Any) -> Any:
    """sum_k (p_t(k) - [k = label])^2, mean over steps: Brier's score (1950). logits_t (B, T, K), label (B,)."""
    truth = ops.one_hot(ops.cast(label, "int32"), logits_t.shape[-1], dtype=logits_t.dtype)
    return ops.mean(ops.sum((ops.softmax(logits_t, axis=-1) - truth[:, None]) ** 2, axis=-1), axis=1)


def correctness(logits: Any, label: Any) -> Any:
    """1 where the likeliest class is the label, else 0: the reward of Mnih et al. 2014, section 3.2. (B,) of (B, K)."""
    answer = ops.cast(ops.argmax(logits, axis=-1), "int32")
    return ops.cast(ops.equal(answer, ops.cast(label, "int32")), logits.dtype)


def last_looked(x_t: Any, looked_t: Any) -> Any:
    """Of each row of x_t (B, T, K) the step after which it stopped, (B, K). looked_t (B, T): 1 up to it, then 0."""
    last = ops.concatenate([looked_t[:, :-1] - looked_t[:, 1:], looked_t[:, -1:]], axis=1)
    return ops.sum(x_t * last[..., None], axis=1)


def tumor_cells(logits: Any, tumor: Any) -> Any:
    """Cross entropy of cells with tumor, and of those without, each as a mean, and the mean of the two: one number.

    So logits are how much likelier what is seen is with tumor than without (Gneiting and Raftery 2007 for the proper
    score; the odds of the draws drop out). logits (...); tumor (...) 1 with, 0 without, -1 where it is not known.
    """
    total = 0.0
    for truth, sign in ((1, -1.0), (0, 1.0)):
        here = ops.cast(ops.equal(ops.cast(tumor, "int32"), truth), logits.dtype)
        total += ops.sum(ops.softplus(sign * logits) * here) / ops.maximum(ops.sum(here), 1.0)
    return total / 2


def dense_rewards(logits_t: Any, label: Any) -> Any:
    """r_t = log p_t(label) - log p_{t-1}(label), (B, T), with p_0 uniform: a potential's change (Ng et al. 1999).

    logits_t (B, T, K), label (B,). Detached.
    """
    log_p = ops.stop_gradient(log_likelihood(logits_t, label))
    before = ops.full_like(log_p[:, :1], -math.log(logits_t.shape[-1]))
    return log_p - ops.concatenate([before, log_p[:, :-1]], axis=1)


def discounted_returns(r_t: Any, discount: float) -> Any:
    """G_t = r_t + discount * G_{t+1}, (B, T) (Sutton and Barto 2018, eq. 3.9). r_t is what the fixation t brought."""
    steps = [r_t[:, -1]]
    for t in range(r_t.shape[1] - 2, -1, -1):
        steps.append(r_t[:, t] + discount * steps[-1])
    return ops.stack(steps[::-1], axis=1)


def stop_distribution(stop_t: Any) -> Any:
    """P(stop after fixation t) = s_t prod_{u<t} (1 - s_u), (B, T), with s = sigmoid(stop_t) and s_T = 1.

    stop_t (B, T): logits of stopping. Each row sums to 1.
    """
    on = ops.concatenate([ops.zeros_like(stop_t[:, :1]), -ops.softplus(stop_t[:, :-1])], axis=1)
    stopped = ops.concatenate([-ops.softplus(-stop_t[:, :-1]), ops.zeros_like(stop_t[:, :1])], axis=1)
    return ops.exp(ops.cumsum(on, axis=1) + stopped)


def mean_glimpses(p_stop_t: Any) -> Any:
    """Expected number of fixations, (B,). p_stop_t (B, T): see `stop_distribution`."""
    return ops.sum(p_stop_t * _numbers(p_stop_t), axis=1)


def stop_cost(p_stop_t: Any, logits_t: Any, label: Any, price: float) -> Any:
    """-J, (B,): J = sum_t P(stop after t) (log p_t(label) - price t), with t = 1 ... T and the price in nats.

    It is the expected return of stopping with a price per glimpse (Yarin 2017). REINFORCE (Williams 1992) estimates
    its gradient from sampled stops; here every rollout is made to its end, so that the return of every stop is known,
    and the gradient is exact: that of the estimator on average, without its variance. The answers are detached: the
    gradient flows into p_stop_t alone. logits_t (B, T, K), label (B,). An expectation over T, no mean over steps.
    """
    returns = ops.stop_gradient(log_likelihood(logits_t, label)) - price * _numbers(p_stop_t)
    return -ops.sum(p_stop_t * returns, axis=1)


def stopping(stop_t: Any, logits_t: Any, label: Any, price: float) -> Any:
    """What the stop network learns from, (B,): `stop_cost` of its logits (B, T), and `SURE` times their mean square.

    As long as answers get better with every glimpse, a stop is a loss, and nothing holds its logits: they fell to -80
    on `group2`, where their gradient is 0 for good. The square lets them come back when the answers are good.
    """
    held = SURE * ops.mean(stop_t**2, axis=1)
    return stop_cost(stop_distribution(stop_t), logits_t, label, price) + held


def _numbers(x_t: Any) -> Any:
    """1 ... T, (T,), of x_t (B, T)."""
    return ops.arange(1, x_t.shape[1] + 1, dtype=x_t.dtype)


def advantages(returns_t: Any, baseline_t: Any, weight: Any) -> Any:
    """(G_t - b_t), detached, normalised to mean 0 and deviation 1 over what has weight 1. (B, T).

    The baseline is Williams' (1992), the normalisation Mnih and Gregor's (2014).
    weight: (B, T) or (B, 1).
    """
    raw = ops.stop_gradient(returns_t - baseline_t)
    mask = ops.broadcast_to(weight, ops.shape(raw))
    count = ops.maximum(ops.sum(mask), 1.0)
    mean = ops.sum(raw * mask) / count
    deviation = ops.sqrt(ops.sum(mask * (raw - mean) ** 2) / count)
    return (raw - mean) / (deviation + 1e-6)


def reinforce(log_pi_t: Any, advantage_t: Any) -> Any:
    """-A_t log pi(a_t), mean over steps (Williams 1992). The gradient flows into log pi alone. Both (B, T)."""
    return -ops.mean(log_pi_t * ops.stop_gradient(advantage_t), axis=1)


def baseline_error(returns_t: Any, baseline_t: Any) -> Any:
    """(G_t - b_t)^2, mean over steps (Mnih et al. 2014, section 3.2). The gradient flows into b alone. Both (B, T)."""
    return ops.mean((ops.stop_gradient(returns_t) - baseline_t) ** 2, axis=1)


def entropy(log_p_t: Any) -> Any:
    """-sum_n p log p of each step's distribution over cells, mean over steps (Williams and Peng 1991).

    log_p_t (B, T, N).
    """
    return -ops.mean(ops.sum(ops.exp(log_p_t) * log_p_t, axis=-1), axis=1)


def guidance(log_p_t: Any, target_t: Any) -> Any:
    """-log of the policy's mass on the cells of `target_t`, mean over the steps that have any; 0 where none has.

    log_p_t (B, T, N); target_t (B, T, N) bool: annotated lesion cells that were not visited yet.
    """
    mass = ops.logsumexp(ops.where(target_t, log_p_t, LEAST_LOG_P), axis=-1)
    has = ops.cast(ops.any(target_t, axis=-1), log_p_t.dtype)
    cost = -ops.maximum(mass, LEAST_LOG_P) * has
    return ops.sum(cost, axis=1) / ops.maximum(ops.sum(has, axis=1), 1.0)


def average_copies(logits_t: Any, copies: int) -> Any:
    """log of the mean probability over copies (Ba et al. 2015, Monte-Carlo averaging).

    (B * M, T, K), the copies of a row side by side, to (B, T, K).
    """
    log_p = ops.log_softmax(logits_t, axis=-1)
    grouped = ops.reshape(log_p, (-1, copies, *logits_t.shape[1:]))
    return ops.logsumexp(grouped, axis=1) - math.log(copies)


def other_copies(returns_t: Any, copies: int) -> Any:
    """Mean return of the other rollouts of the same row, a baseline that no network has to learn (Kool et al. 2019).

    (B * M, T), the copies of a row side by side, M at least 2; the same shape.
    """
    grouped = ops.reshape(returns_t, (-1, copies, returns_t.shape[1]))
    others = (ops.sum(grouped, axis=1, keepdims=True) - grouped) / (copies - 1)
    return ops.reshape(others, (-1, returns_t.shape[1]))
