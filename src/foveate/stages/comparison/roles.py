"""Which slides a comparison tests one model on, and which its readouts may learn from."""

from foveate.cohort.folds import Fold
from foveate.stages.plan import Plan


def roles(plan: Plan, name: str) -> Fold:
    """The slides of a job. `outside` is empty: slides in no fold have no one model.

    A trained model is tested on its fold's test slides; readouts learn from the slides that it learned from, and are
    chosen by those that it was chosen by. A given model is tested on the slides that the sheet does not call train or
    val; readouts use those, where they are labelled. Patients of whom no truth is known are left out.
    """
    job, splits = plan.jobs[name], plan.splits
    if job.fold is not None:
        train, val, tested = job.fold.train, job.fold.val, job.fold.test
    else:
        by_split = {s.slide: splits[s.patient] for s in plan.used.values()}
        train, val = (
            [s for s, found in by_split.items() if found == part and plan.used[s].label] for part in ("train", "val")
        )
        tested = [s for s, found in by_split.items() if found not in ("train", "val")]
    known = {s.patient for s in plan.used.values() if s.label or s.patient_label}
    return Fold(name, train, val, [s for s in tested if plan.used[s].patient in known], [])
