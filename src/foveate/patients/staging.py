"""From the predictions of a patient's slides to the patient's stage."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from foveate.errors import FoveateError
from foveate.patients.posterior import kappa_stage, stage_posterior
from foveate.patients.prior import ALONE, Dependence, LabelledPatient, heed
from foveate.patients.stages import PN_STAGES, pn_stage, true_stage

LEARNED_FROM = ("train", "cv")
"""Splits whose truth may be used: that of a cross-validation's patient for others."""

POLICIES = ("learned", "random")
"""Ways to choose where to look: by the learned policy, or at random with the same model and budget."""


@dataclass(frozen=True)
class SlidePrediction:
    """The class predicted for a slide, and the probabilities of `SLIDE_CLASSES`.

    uncalibrated: the probabilities before the model's temperature.
    """

    prediction: str
    probabilities: tuple[float, ...]
    uncalibrated: tuple[float, ...]
    temperature: float


@dataclass(frozen=True)
class SlideResult:
    """What is known of a slide after prediction.

    split: train, val, test, cv or ""; label: the true class or ""; state: ok, failed, excluded or unused;
    predictions: by policy, one each when the state is ok, none otherwise.
    """

    slide: str
    patient: str
    split: str
    label: str
    state: str
    predictions: Mapping[str, SlidePrediction]


@dataclass(frozen=True)
class Staging:
    """stage: what to report; rule_stage: the rule applied to the predicted classes; posterior: (5,), see `prior`."""

    stage: str
    rule_stage: str
    posterior: NDArray[np.float64]


@dataclass(frozen=True)
class PatientResult:
    """A patient, with the slides that are not excluded, by name.

    true_stage: a pN stage, or "" when it is not known; stagings: by policy; none when incomplete. agent: by policy,
    the probabilities (5,) of the stages by the agent that looked over all slides of the patient; none without one.
    """

    patient: str
    split: str
    slides: tuple[SlideResult, ...]
    true_stage: str
    stagings: Mapping[str, Staging]
    agent: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every slide was predicted. Only then is there a stage."""
        return bool(self.stagings)

    @property
    def n_predicted(self) -> int:
        """Number of slides that were predicted."""
        return sum(slide.state == "ok" for slide in self.slides)

    @property
    def missing(self) -> list[str]:
        """Names of the slides that failed."""
        return [slide.slide for slide in self.slides if slide.state == "failed"]


Agents = Mapping[str, Mapping[str, NDArray[np.float64]]]
"""What patient agents say: patient to policy to the probabilities (5,) of the stages."""


def stage_patients(
    slides: Iterable[SlideResult],
    patient_labels: Mapping[str, str],
    policies: Sequence[str] = POLICIES,
    agents: Agents | None = None,
) -> list[PatientResult]:
    """Stage all patients of which a slide was to be predicted, in the order of their names, by each policy.

    patient_labels: patient to true pN stage; a patient without one, or with "", gets the stage that the
    slide labels give, when all slides have one. agents: of the patients that one looked over, if any.

    The posteriors heed how the nodes of a patient go together, by the patients of the splits `LEARNED_FROM` among
    the slides (`foveate.patients.prior`). Excluded slides are left out as if they were not there. A patient with none
    but excluded slides, or slides used for training, is not in the result. Raises FoveateError for a patient in two
    splits and for an unknown stage in `patient_labels`.
    """
    by_patient: dict[str, list[SlideResult]] = defaultdict(list)
    for slide in slides:
        if slide.state != "excluded":
            by_patient[slide.patient].append(slide)
    patients = [_patient(name, members, patient_labels.get(name, "")) for name, members in sorted(by_patient.items())]
    dependence = Dependence(
        {
            p.patient: LabelledPatient(p.true_stage, tuple(s.label for s in p.slides))
            for p in patients
            if p.true_stage and p.split in LEARNED_FROM
        }
    )
    return [
        _staged(patient, dependence, policies, (agents or {}).get(patient.patient, {}))
        for patient in patients
        if any(slide.state != "unused" for slide in patient.slides)
    ]


def _patient(name: str, members: list[SlideResult], patient_label: str) -> PatientResult:
    slides = sorted(members, key=lambda slide: slide.slide)
    splits = sorted({slide.split for slide in slides})
    if len(splits) > 1:
        raise FoveateError(f"patient {name}: split: slides are in more than one: {', '.join(splits)}")
    if patient_label and patient_label not in PN_STAGES:
        raise FoveateError(f"patient {name}: patient_label: {patient_label!r} is not one of {', '.join(PN_STAGES)}")
    known = true_stage(patient_label, [slide.label for slide in slides])
    return PatientResult(name, splits[0], tuple(slides), known, stagings={})


def _staged(
    patient: PatientResult, dependence: Dependence, policies: Sequence[str], agent: Mapping[str, NDArray[np.float64]]
) -> PatientResult:
    if any(slide.state != "ok" for slide in patient.slides):
        return patient
    factors = dependence.factors(without=patient.patient) if len(patient.slides) > 1 else ALONE
    stagings = {policy: _staging(patient.slides, policy, factors) for policy in policies}
    return replace(patient, stagings=stagings, agent=agent)


def _staging(slides: Sequence[SlideResult], policy: str, factors: NDArray[np.float64]) -> Staging:
    predictions = [slide.predictions[policy] for slide in slides]
    posterior = heed(stage_posterior([prediction.probabilities for prediction in predictions]), factors)
    rule_stage = pn_stage([prediction.prediction for prediction in predictions])
    return Staging(kappa_stage(posterior), rule_stage, posterior)
