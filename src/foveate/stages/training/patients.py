"""Phase 5: all slides of a patient. Which slide to look at, where on it, and what follows for the patient."""

import logging
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from foveate.attention.patient_agent import PatientAgent
from foveate.attention.patient_learner import PatientLearner
from foveate.cohort.samples import Sample, patient_labels
from foveate.patients.prior import Dependence, LabelledPatient
from foveate.patients.stages import PN_STAGES, pn_stage, true_stage
from foveate.progress import progress
from foveate.slides.overview_file import StoredOverview
from foveate.stages.augment import variety
from foveate.stages.patient_rollout import PatientBatch, PatientRoller, patient_batch
from foveate.stages.rollout import halves, side_by_side
from foveate.stages.training.best import Best
from foveate.stages.training.session import Phase, Session, mean_of

log = logging.getLogger(__name__)
STREAM = 3
BEST = "patient.weights.h5"
Slides = dict[str, list[StoredOverview]]  # by patient


class Patients(Phase):
    """Rolls out over patients, goes through it again, updates; the epoch with the lowest validation loss is kept.

    The first candidate is what has learned nothing yet. A patient whose slides cannot all be read takes no part; with
    fewer than two stages among the training patients nothing is learned.
    """

    name = "patients"

    def __init__(self, session: Session, agent: PatientAgent) -> None:
        self._session, self._agent = session, agent
        settings, train = session.config.patient_agent, session.config.train
        self.stage = true_stages(list(session.samples.values()))
        enrolled = self._complete(session.enrolled)
        self._most = max(map(len, (enrolled | self._complete(session.enrolled_val)).values()), default=0)
        self._size = min(settings.batch, max(1, len(enrolled)))
        found = {self.stage[patient] for patient in enrolled}
        self.epochs = settings.epochs if len(found) > 1 else 0
        if not self.epochs:
            log.info("the patient agent is not trained: %d patients with the stages %s", len(enrolled), sorted(found))
        self.learner = PatientLearner(agent, settings.copies, train.reinforce, train.entropy, train.discount)
        steps = settings.epochs * -(-max(1, len(enrolled)) // self._size)
        self._rate = keras.optimizers.schedules.CosineDecay(settings.learning_rate, steps, alpha=0.05)
        self.learner.compile(keras.optimizers.Adam(self._rate, global_clipnorm=5.0))
        a_slide = settings.budget * session.config.glimpse.count
        self._rollers = {
            "sampled": PatientRoller(agent, session.sensor, "sampled", a_slide, settings.copies),
            "greedy": PatientRoller(agent, session.sensor, "greedy", a_slide),
        }
        self._best = Best(session, agent, BEST, untrained=True)

    def epoch(self, number: int) -> dict[str, float]:
        """One pass over the training patients, then the validation patients."""
        session = self._session
        rng = np.random.default_rng([session.config.train.seed, STREAM, number])
        self._best.first(self.name, self._validate)
        waited, glimpses, done = self._waited_s(), 0, []
        for patients in progress(self._batches(rng), f"patients {number + 1}/{self.epochs}"):
            figures, looked = self._update(patients, rng)
            done.append(figures)
            glimpses += looked
        val = self._validate()
        self._best.offer(val)
        rate = float(self._rate(self.learner.optimizer.iterations))
        extra = {"learning_rate": rate, "glimpses": float(glimpses), "waited_s": self._waited_s() - waited}
        return {**mean_of(done), **val, **extra}

    def _waited_s(self) -> float:
        return sum(roller.waited_s for roller in self._rollers.values())

    def _complete(self, overviews: Sequence[StoredOverview]) -> Slides:
        """The patients with a stage, all of whose slides are among these."""
        samples = self._session.samples
        found: Slides = {patient: [] for patient in self.stage}
        for overview in overviews:
            if (patient := samples[overview.slide].patient) in found:
                found[patient].append(overview)
        whole = [s.patient for s in samples.values()]
        return {patient: own for patient, own in found.items() if own and len(own) == whole.count(patient)}

    def _batches(self, rng: np.random.Generator) -> list[list[list[StoredOverview]]]:
        """Full batches of all training patients in random order; the first ones fill the last batch up."""
        patients = list(self._complete(self._session.train).items())
        order = rng.permutation(len(patients))
        count = -(-len(order) // self._size)
        filled = np.resize(order, count * self._size).reshape(count, self._size)
        return [[patients[k][1] for k in batch] for batch in filled]

    def _update(self, patients: list[list[StoredOverview]], rng: np.random.Generator) -> tuple[dict[str, float], int]:
        """One update on rollouts of two halves of a batch, in turns."""
        parts, work = halves(patients), []
        for part in parts:
            change = variety(len(part) * self._most, rng)
            batch = self._batch(part, change.orientation)
            work.append(self._rollers["sampled"].turns(batch, rng.spawn(1)[0], change, record=True))
        seen = list(side_by_side(work))
        failed = self._session.drop_failed((len(p), one.errors) for p, one in zip(parts, seen, strict=True))
        record = keras.tree.map_structure(lambda *v: ops.concatenate(v, axis=0), *(one.record for one in seen))
        x = {
            **record,
            "looking": np.concatenate([one.looking for one in seen]),
            "label": np.array([self._label(own) for own in patients], np.int32),
            "weight": np.array([k not in failed for k in range(len(patients))], np.float32),
        }
        return self.learner.train_on_batch(x, return_dict=True), int(x["looking"].sum())

    def _batch(
        self, patients: Sequence[list[StoredOverview]], orientation: NDArray[np.int64] | None = None
    ) -> PatientBatch:
        session = self._session
        return patient_batch(patients, session.shape, session.config.tissue.cell_share, self._most, orientation)

    def _label(self, own: list[StoredOverview]) -> int:
        return self.stage[self._session.samples[own[0].slide].patient]

    def _validate(self) -> dict[str, float]:
        """Cross entropy and accuracy of the greedy policy's last answers; empty without validation patients."""
        patients = list(self._complete(self._session.val).values())
        parts = [patients[k : k + self._size] for k in range(0, len(patients), self._size)]
        losses, right = [], []
        work = (self._rollers["greedy"].turns(self._batch(part)) for part in parts)
        for part, one in zip(parts, side_by_side(work), strict=True):
            failed = self._session.drop_failed([(len(part), one.errors)])
            for row in set(range(len(part))) - failed:
                answer, label = one.answer[row, -1], self._label(part[row])
                losses.append(-answer[label])
                right.append(answer.argmax() == label)
        return {"val_loss": float(np.mean(losses)), "val_accuracy": float(np.mean(right))} if losses else {}


def true_stages(samples: Sequence[Sample]) -> dict[str, int]:
    """Patient to the number of its stage in `PN_STAGES`: of the sheet, or by the rule from the slides' labels.

    Where these disagree the patient has slides that are not here; it is left out.
    """
    labels: dict[str, list[str]] = {}
    given: dict[str, str] = {}
    for s in samples:
        labels.setdefault(s.patient, []).append(s.label)
        given[s.patient] = s.patient_label or given.get(s.patient, "")
    by_rule = {patient: pn_stage(own) for patient, own in labels.items() if all(own)}
    odd = sorted(p for p, stage in by_rule.items() if given[p] not in ("", stage))
    if odd:
        log.warning("the patient agent does not learn from %s: labels of slides are missing", ", ".join(odd))
    return {patient: PN_STAGES.index(stage) for patient, stage in by_rule.items() if patient not in odd}


def stage_factors(samples: Sequence[Sample]) -> list[float]:
    """How the slides of one patient go together, by these, which are learned from; see `foveate.patients.prior`."""
    slides: dict[str, list[Sample]] = {}
    for s in samples:
        slides.setdefault(s.patient, []).append(s)
    labels, labelled = patient_labels(samples), {}
    for patient, own in slides.items():
        classes = tuple(s.label for s in own)
        if stage := true_stage(labels.get(patient, ""), classes):
            labelled[patient] = LabelledPatient(stage, classes)
    return Dependence(labelled).factors().tolist()
