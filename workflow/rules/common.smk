# The checked configuration, the plan of jobs, and which code a stage depends on
from pathlib import Path

from snakemake.exceptions import WorkflowError

from foveate.config import parse_config
from foveate.errors import FoveateError
from foveate.files import sha256
from foveate.lock import take
from foveate.stages.batches import holding, incomplete
from foveate.stages.comparison.roles import roles
from foveate.stages.plan import digest, read_plan

try:
    CONFIG = parse_config(config, ", ".join(map(str, workflow.configfiles)))
    PLAN = read_plan(CONFIG)
except FoveateError as error:
    raise WorkflowError(f"\n{error}")

SLIDES = list(PLAN.used)
PREDICTED = {str(p.below(Path("results"))): p.slides for p in PLAN.predictions}
PREDICTIONS = list(PREDICTED)
TRAINED = [name for name, job in PLAN.jobs.items() if job.fold is not None]
PACKAGE = Path(workflow.basedir) / "src" / "foveate"


HELD = []


# Snakemake's own lock outlives a kill -9; the profile turns it off.
onstart:
    try:
        HELD.append(take(Path(".snakemake/foveate.lock"), wait=False))
    except FoveateError as error:
        raise WorkflowError(str(error))


wildcard_constraints:
    slide="[A-Za-z0-9_-]+",
    batch="[A-Za-z0-9_-]+",
    fold="[A-Za-z0-9_-]+",


def code(*parts):
    """The sources that a stage runs, so that an edit makes Snakemake run it again."""
    found = {
        f
        for part in parts
        for f in sorted(PACKAGE.glob(part))
        if f.is_file() and "__pycache__" not in f.parts
    }
    return sorted(map(str, found))


# A job lists in one file what it has made of its slides, so that the workflow has as many files as jobs, not as slides.
# Nobody but this sees that one of them was deleted: a list that names what is gone goes as well, and is made again.
LISTED = {
    "overview": ["overview/{}.h5", "status/{}.json"],
    "pictures": ["thumbnails/{}.jpg", "tissue/{}.png"],
    "export": ["export/{}"],
}
if workflow.is_main_process:
    for stage, files in LISTED.items():
        lists = Path("results/batches", stage)
        for path in incomplete(lists, Path("results"), files):
            path.unlink(missing_ok=True)


def overviews(slides):
    """The lists of the batches that the overviews of some slides are in."""
    found = holding(PLAN.overview_batches, slides)
    return [f"results/batches/overview/{batch}.tsv" for batch in found]


def growing(mem_mb, minutes):
    """Memory and run time of a job: more at every attempt. minutes: a number, or a function of the wildcards."""

    def runtime(wildcards, attempt):
        first = minutes(wildcards) if callable(minutes) else minutes
        return attempt * first

    return {
        "mem_mb": lambda wildcards, attempt: attempt * mem_mb,
        "runtime": runtime,
    }


def predicted(wildcards):
    """The slides of a batch of predictions."""
    return PREDICTED[f"results/predictions/{wildcards.fold}/{wildcards.batch}.h5"]


def exported(wildcards):
    """The samples of a batch of exports."""
    return PLAN.of(PLAN.export_batches[wildcards.batch])


def exported_predictions(wildcards):
    """The predictions of the slides of a batch of exports, whichever batches they were made in."""
    return holding(PREDICTED, PLAN.export_batches[wildcards.batch])


def truth(slides):
    """Everything that the sheet says about some slides, as one short parameter."""
    return digest(
        (s.slide, s.patient, s.label, s.patient_label, s.split, s.fold, s.exclude)
        for s in slides
    )


def sample_files(wildcards):
    samples = PLAN.of(PLAN.overview_batches[wildcards.batch])
    return [
        str(path)
        for s in samples
        for path in (s.path, s.annotation)
        if path is not None
    ]


def learned(wildcards):
    """The slides that the model of a fold is trained on and chosen by."""
    return PLAN.jobs[wildcards.fold].learned


def compared(wildcards):
    """The slides of a fold on which ways to look are compared, and those that their readouts learn from."""
    fold = roles(PLAN, wildcards.fold)
    learned = [*fold.train, *fold.val] if CONFIG.compare.fit else []
    return list(dict.fromkeys([*learned, *fold.test]))


def comparison(wildcards):
    """What the comparison says, if it was made: the page shows it, and does not ask for it."""
    found = Path("results/compare/compare.tsv")
    return digest([found.read_text()] if found.exists() else [])


def content(path):
    """What a file that the user brings holds: a copy of it with another time changes nothing."""
    return sha256(Path(path)) if path and Path(path).exists() else None


def weights(wildcards):
    """The model of a fold: the configured one, or the one that is trained for it."""
    return CONFIG.predict.weights or f"results/train/{wildcards.fold}/model.keras"


def patient_weights(wildcards):
    """The patient agent of a fold, in a list, or none."""
    if CONFIG.predict.weights:
        return (
            [CONFIG.predict.patient_weights] if CONFIG.predict.patient_weights else []
        )
    return (
        [f"results/train/{wildcards.fold}/patient.keras"]
        if CONFIG.patient_agent.on
        else []
    )
