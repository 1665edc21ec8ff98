import numpy as np
import pytest

from foveate.patients.metrics import accuracy, auc, confusion_by_owner, mean, quadratic_weighted_kappa, sensitivity


def test_confusion_by_owner() -> None:
    owner, true, predicted = np.array([0, 0, 2]), np.array([0, 1, 1]), np.array([0, 0, 1])
    tables = confusion_by_owner(owner, true, predicted, 3, 2)
    assert tables.tolist() == [[[1, 0], [1, 0]], [[0, 0], [0, 0]], [[0, 0], [0, 1]]]


def test_confusion_of_nothing() -> None:
    none = np.array([], dtype=np.int64)
    assert confusion_by_owner(none, none, none, 0, 2).shape == (0, 2, 2)
    assert confusion_by_owner(none, none, none, 1, 2).tolist() == [[[0, 0], [0, 0]]]


def test_accuracy_and_sensitivity() -> None:
    table = [[3, 1, 0], [0, 2, 2], [0, 0, 0]]
    assert accuracy(table) == pytest.approx(5 / 8)
    np.testing.assert_allclose(sensitivity(table), [0.75, 0.5, np.nan])


def test_kappa_by_hand() -> None:
    # O: one item two off, weight 4; margins (2, 1, 1) and (1, 1, 2):
    # sum w E = (2*1*1 + 2*2*4 + 1*1*1 + 1*2*1 + 1*1*4 + 1*1*1) / 4 = 26 / 4
    assert quadratic_weighted_kappa([[1, 0, 1], [0, 1, 0], [0, 0, 1]]) == pytest.approx(1 - 4 / 6.5)


def test_kappa_of_two_classes_is_the_unweighted_one() -> None:
    # Cohen's own case: observed agreement 0.7, by chance 0.5
    assert quadratic_weighted_kappa([[20, 5], [10, 15]]) == pytest.approx((0.7 - 0.5) / 0.5)


def test_kappa_at_its_ends() -> None:
    assert quadratic_weighted_kappa(np.diag([3, 1, 2])) == 1.0
    assert quadratic_weighted_kappa([[0, 1], [1, 0]]) == -1.0
    assert quadratic_weighted_kappa(np.ones((4, 4))) == pytest.approx(0.0)


def test_kappa_when_truth_is_one_class() -> None:
    assert quadratic_weighted_kappa([[2, 3], [0, 0]]) == 0.0
    assert np.isnan(quadratic_weighted_kappa([[5, 0], [0, 0]]))
    assert np.isnan(quadratic_weighted_kappa(np.zeros((5, 5))))


def test_a_stack_is_each_table_for_itself() -> None:
    tables = np.random.default_rng(0).integers(0, 5, (7, 4, 4))
    for metric in (accuracy, sensitivity, quadratic_weighted_kappa):
        np.testing.assert_array_equal(metric(tables), [metric(table) for table in tables])


def test_auc_by_hand() -> None:
    # pairs: 0.8 > 0.3, 0.8 > 0.5, 0.5 > 0.3, 0.5 = 0.5
    assert auc([0.3, 0.5, 0.8, 0.5], [False, True, True, False]) == pytest.approx(3.5 / 4)
    assert auc([0.1, 0.2], [False, True]) == 1.0
    assert auc([0.2, 0.1], [False, True]) == 0.0
    assert auc([0.5, 0.5, 0.5], [False, True, True]) == 0.5


def test_auc_needs_both_sides() -> None:
    assert np.isnan(auc([0.1, 0.2], [True, True]))
    assert np.isnan(auc([], []))
    assert np.isnan(auc([0.1, 0.2], [True, False], [1, 0]))


def test_mean() -> None:
    found = mean([1.0, 4.0], [[1, 1], [2, 1], [0, 0]])
    np.testing.assert_allclose(found, [2.5, 2.0, np.nan])


def test_weights_of_auc_are_repetitions() -> None:
    rng = np.random.default_rng(1)
    scores, positive = rng.integers(0, 6, 20) / 5, rng.random(20) < 0.4
    weights = rng.integers(0, 4, (5, 20))
    repeated = [auc(scores.repeat(row), positive.repeat(row)) for row in weights]
    np.testing.assert_allclose(auc(scores, positive, weights), repeated)
