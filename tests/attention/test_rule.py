from collections.abc import Callable

import keras
import numpy as np
import pytest
from keras import ops

from foveate.attention.rule import RulePosterior
from foveate.patients.posterior import FOLLOWING, STAGE_OF, stage_posterior


@pytest.fixture(scope="module")
def rule() -> RulePosterior:
    return RulePosterior(FOLLOWING, STAGE_OF)


def test_equals_the_posterior_over_stages(rule: RulePosterior) -> None:
    nodes = np.random.default_rng(0).dirichlet(np.full(4, 0.5), size=(6, 7)).astype(np.float32)
    found = ops.convert_to_numpy(rule(nodes, np.ones((6, 7), bool)))
    np.testing.assert_allclose(found, [stage_posterior(patient) for patient in nodes], atol=1e-6)


def test_items_that_are_not_there_do_not_count(rule: RulePosterior) -> None:
    nodes = np.random.default_rng(1).dirichlet(np.ones(4), size=(1, 5)).astype(np.float32)
    present = np.array([[True, False, True, True, False]])
    found = ops.convert_to_numpy(rule(nodes, present))
    np.testing.assert_allclose(found[0], stage_posterior(nodes[0, present[0]]), atol=1e-6)


def test_gradients_reach_the_probabilities(gradients_of: Callable[..., list[np.ndarray]]) -> None:
    # a rule that asks whether any item is of class 1: 1 - (1 - 0.2) (1 - 0.5), and its slope in each of them
    any_one = RulePosterior([[0, 1], [1, 1]], [0, 1])
    nodes = np.array([[[0.8, 0.2], [0.5, 0.5]]])
    present = np.ones((1, 2), bool)
    np.testing.assert_allclose(ops.convert_to_numpy(any_one(nodes.astype(np.float32), present)), [[0.4, 0.6]], 1e-6)
    (slope,) = gradients_of(lambda p: any_one(p, present)[:, 0], nodes)
    np.testing.assert_allclose(slope, [[[0.5, 0], [0.8, 0]]], atol=1e-6)


def test_the_table_is_saved_with_it(rule: RulePosterior) -> None:
    again = RulePosterior.from_config(rule.get_config())
    assert (again.following, again.outcome, again.outcomes) == (rule.following, rule.outcome, 5)
    assert keras.saving.get_registered_name(RulePosterior) == "foveate>RulePosterior"
