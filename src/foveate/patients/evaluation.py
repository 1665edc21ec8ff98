"""All metrics of a set of patients, as they stand in metrics.json."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveate.patients.bootstrap import estimate, resample_counts
from foveate.patients.calibration import (
    brier_score,
    expected_calibration_error,
    negative_log_likelihood,
    reliability,
)
from foveate.patients.metrics import accuracy, auc, confusion_by_owner, mean, quadratic_weighted_kappa, sensitivity
from foveate.patients.posterior import kappa_stage
from foveate.patients.stages import PN_STAGES, SLIDE_CLASSES
from foveate.patients.staging import POLICIES, PatientResult, SlideResult

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def evaluate(
    patients: Sequence[PatientResult], resamples: int, seed: int, policies: Sequence[str] = POLICIES
) -> dict[str, dict[str, Any]]:
    """Return the metrics for each policy: {"learned": {...}, "random": {...}}.

    Slide metrics are over predicted slides with a label, of complete and incomplete patients alike;
    patient metrics over complete patients with a known stage. Intervals come from resampling the patients
    that count for either, each with all its slides; all policies see the same resamples, so that they
    can be compared. A metric that is not defined has the value None; without ground truth all are, and
    n_patients and n_slides are 0.

    The slide scores are p_micro + p_macro for `auc_micro_macro_vs_negative`, where itc slides are left
    out, and 1 - p_negative for `auc_any_vs_negative`, where they are positive. `kappa` and
    `patient_accuracy` are those of the stage to report, `kappa_rule` that of the rule applied to the
    predicted classes. `kappa_agent` is that of the agent that looked over all slides of a patient, over the
    `n_patients_agent` of these patients that it staged. Confusion matrices have the truth in rows.

    `calibration` has the temperatures of the models that predicted the slides, and how far their probabilities are to
    be believed, `calibrated` and, as they would be with temperature 1, `uncalibrated`: negative_log_likelihood and
    brier, means over slides (`foveate.patients.calibration`), ece, and the bins of a reliability diagram. Temperatures
    are fitted under the learned policy, on validation slides: only other slides tell what they are worth.
    """
    counted = [patient for patient in patients if _has_truth(patient) or _labelled_slides(patient)]
    counts = resample_counts(len(counted), resamples, seed)
    return {
        policy: _patient_metrics(counted, policy, counts) | _slide_metrics(counted, policy, counts)
        for policy in policies
    }


def _has_truth(patient: PatientResult) -> bool:
    return patient.complete and bool(patient.true_stage)


def _labelled_slides(patient: PatientResult) -> list[SlideResult]:
    return [slide for slide in patient.slides if slide.state == "ok" and slide.label]


def _patient_metrics(patients: Sequence[PatientResult], policy: str, counts: Ints) -> dict[str, Any]:
    owner = np.array([i for i, patient in enumerate(patients) if _has_truth(patient)], dtype=np.int64)
    stagings = [patients[i].stagings[policy] for i in owner]
    true = _indices([patients[i].true_stage for i in owner], PN_STAGES)

    def confusion(stages: list[str]) -> Floats:
        predicted = _indices(stages, PN_STAGES)
        return confusion_by_owner(owner, true, predicted, len(patients), len(PN_STAGES))

    reported = confusion([staging.stage for staging in stagings])
    staged = [i for i in owner.tolist() if patients[i].agent]
    by_agent = confusion_by_owner(
        np.array(staged, dtype=np.int64),
        _indices([patients[i].true_stage for i in staged], PN_STAGES),
        _indices([kappa_stage(patients[i].agent[policy]) for i in staged], PN_STAGES),
        len(patients),
        len(PN_STAGES),
    )
    by_rule = confusion([staging.rule_stage for staging in stagings])
    return {
        "n_patients": len(owner),
        "kappa": _from_confusion(quadratic_weighted_kappa, reported, counts),
        "kappa_rule": _from_confusion(quadratic_weighted_kappa, by_rule, counts),
        "n_patients_agent": len(staged),
        "kappa_agent": _from_confusion(quadratic_weighted_kappa, by_agent, counts),
        "patient_accuracy": _from_confusion(accuracy, reported, counts),
        "confusion_patients": reported.sum(axis=0).astype(int).tolist(),
    }


def _slide_metrics(patients: Sequence[PatientResult], policy: str, counts: Ints) -> dict[str, Any]:
    owned = [(i, slide) for i, patient in enumerate(patients) for slide in _labelled_slides(patient)]
    owner = np.array([i for i, _ in owned], dtype=np.int64)
    true = _indices([slide.label for _, slide in owned], SLIDE_CLASSES)
    predictions = [slide.predictions[policy] for _, slide in owned]
    predicted = _indices([prediction.prediction for prediction in predictions], SLIDE_CLASSES)
    probabilities = _table([prediction.probabilities for prediction in predictions])

    confusion = confusion_by_owner(owner, true, predicted, len(patients), len(SLIDE_CLASSES))
    class_sensitivity = sensitivity(confusion.sum(axis=0))
    resampled_sensitivity = sensitivity(_resampled(confusion, counts))
    negative, itc, micro, macro = range(len(SLIDE_CLASSES))
    return {
        "n_slides": len(owned),
        "slide_accuracy": _from_confusion(accuracy, confusion, counts),
        "sensitivity": {
            name: estimate(float(class_sensitivity[k]), resampled_sensitivity[:, k]).as_json()
            for k, name in enumerate(SLIDE_CLASSES)
        },
        "auc_micro_macro_vs_negative": _auc(
            probabilities[:, micro] + probabilities[:, macro], true >= micro, true != itc, owner, counts
        ),
        "auc_any_vs_negative": _auc(
            1.0 - probabilities[:, negative], true != negative, np.ones(len(true), dtype=bool), owner, counts
        ),
        "confusion_slides": confusion.sum(axis=0).astype(int).tolist(),
        "calibration": {
            "temperatures": sorted({prediction.temperature for prediction in predictions}),
            "calibrated": _calibration(probabilities, true, owner, counts),
            "uncalibrated": _calibration(_table([p.uncalibrated for p in predictions]), true, owner, counts),
        },
    }


def _table(probabilities: Sequence[Sequence[float]]) -> Floats:
    return np.array(probabilities, dtype=np.float64).reshape(-1, len(SLIDE_CLASSES))


def _calibration(probabilities: Floats, true: Ints, owner: Ints, counts: Ints) -> dict[str, Any]:
    """How far probabilities (n, 4) are to be believed. counts: (resamples, patients)."""
    bins = reliability(probabilities, true)
    error = expected_calibration_error(bins)
    times = counts[:, owner]
    scores = {
        "negative_log_likelihood": negative_log_likelihood(probabilities, true),
        "brier": brier_score(probabilities, true),
    }
    return {
        **{k: estimate(float(mean(v, np.ones(len(v)))), mean(v, times)).as_json() for k, v in scores.items()},
        "ece": None if math.isnan(error) else error,
        "bins": bins,
    }


def _indices(names: Sequence[str], order: tuple[str, ...]) -> Ints:
    return np.array([order.index(name) for name in names], dtype=np.int64)


def _resampled(by_patient: Floats, counts: Ints) -> Floats:
    """Return the confusion matrices of all resamples. by_patient: (n, k, k); counts: (resamples, n)."""
    return np.tensordot(counts.astype(np.float64), by_patient, axes=1)


def _from_confusion(metric: Callable[[Floats], Floats], by_patient: Floats, counts: Ints) -> dict[str, object]:
    """Estimate a metric of confusion matrices. by_patient: (n, k, k); counts: (resamples, n)."""
    return estimate(float(metric(by_patient.sum(axis=0))), metric(_resampled(by_patient, counts))).as_json()


def _auc(
    scores: Floats, positive: NDArray[np.bool_], used: NDArray[np.bool_], owner: Ints, counts: Ints
) -> dict[str, object]:
    """Estimate the AUC over the slides where `used`. counts: (resamples, patients)."""
    scores, positive = scores[used], positive[used]
    return estimate(float(auc(scores, positive)), auc(scores, positive, counts[:, owner[used]])).as_json()
