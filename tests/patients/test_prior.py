import numpy as np
import pytest

from foveate.patients.prior import ALONE, Dependence, LabelledPatient, heed

SICK = LabelledPatient("pN1", ("macro", "macro"))
WELL = LabelledPatient("pN0", ("negative", "negative"))
TWO = Dependence({"sick": SICK, "well": WELL})

# With one node added to each class 3/8 of the nodes are negative, 1/8 itc, 1/8 micro, 3/8 macro. Of two such nodes
# both are negative with 9/64; none is above itc with 16/64, above micro with 25/64; and two patients are expected so.
EXPECTED = 2 * np.array([9, 16 - 9, 25 - 16, 64 - 25, 0]) / 64


def test_the_stages_seen_against_those_of_independent_nodes() -> None:
    np.testing.assert_allclose(TWO.factors(), (np.array([1, 0, 0, 1, 0]) + 0.5) / (EXPECTED + 0.5))


def test_a_patient_does_not_speak_for_itself() -> None:
    alone = Dependence({"well": WELL}).factors()
    np.testing.assert_allclose(TWO.factors(without="sick"), alone)
    assert TWO.factors(without="sick")[3] < TWO.factors()[3]


def test_without_labelled_patients_nothing_changes() -> None:
    np.testing.assert_array_equal(Dependence({}).factors(), np.ones(5))


def test_patients_of_one_node_show_no_dependence() -> None:
    single = {"single": LabelledPatient("pN1", ("macro",)), "negative": LabelledPatient("pN0", ("negative",))}
    np.testing.assert_array_equal(Dependence(single).factors(), np.ones(5))


def test_a_node_of_unknown_class_counts_as_a_node_alone() -> None:
    factors = Dependence({"half": LabelledPatient("pN1", ("macro", ""))}).factors()
    share = np.array([1, 1, 1, 2]) / 5
    expected = [share[0] ** 2, share[:2].sum() ** 2, share[:3].sum() ** 2, 1]
    expected = np.append(np.diff(expected, prepend=0), 0)
    np.testing.assert_allclose(factors, (np.array([0, 0, 0, 1, 0]) + 0.5) / (expected + 0.5))


def test_independent_patients_change_little() -> None:
    rng = np.random.default_rng(0)
    drawn = rng.choice(["negative", "macro"], size=(2000, 2))
    labelled = {
        str(k): LabelledPatient("pN1" if "macro" in labels else "pN0", tuple(labels)) for k, labels in enumerate(drawn)
    }
    factors = Dependence(labelled).factors()
    np.testing.assert_allclose(factors[[0, 3]], 1, atol=0.05)


def test_heed() -> None:
    posterior = np.array([0.5, 0, 0, 0.5, 0])
    np.testing.assert_allclose(heed(posterior, [3, 1, 1, 1, 1]), [0.75, 0, 0, 0.25, 0])
    assert heed(posterior, ALONE) == pytest.approx(posterior)
