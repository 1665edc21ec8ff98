# The checked configuration, the plan of jobs, and which code a stage depends on
from pathlib import Path

from snakemake.exceptions import WorkflowError

from foveate.config import parse_config
from foveate.errors import FoveateError
from foveate.lock import take
from foveate.stages.comparison.roles import roles
from foveate.stages.plan import digest, read_plan

try:
    CONFIG = parse_config(config, ", ".join(map(str, workflow.configfiles)))
    PLAN = read_plan(CONFIG)
except FoveateError as error:
    raise WorkflowError(f"\n{error}")

SLIDES = list(PLAN.used)
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


def overviews(slides):
    return [f"results/overview/{slide}.h5" for slide in slides]


def truth(slides):
    """Everything that the sheet says about some slides, as one short parameter."""
    return digest(
        (s.slide, s.patient, s.label, s.patient_label, s.split, s.fold, s.exclude)
        for s in slides
    )


def sample_files(wildcards):
    sample = PLAN.used[wildcards.slide]
    files = {"slide": str(sample.path)}
    if sample.annotation is not None:
        files["annotation"] = str(sample.annotation)
    return files


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
