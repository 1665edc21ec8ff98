from pathlib import Path

from foveate.cohort.samples import patient_labels
from foveate.config import parse_config
from foveate.logs import job
from foveate.stages import patients
from foveate.stages.plan import read_plan

with job(snakemake.log[0]):
    config = parse_config(snakemake.config, "config")
    patients.run(
        Path(snakemake.input.slides),
        patient_labels(read_plan(config).samples),
        *(Path(snakemake.output[name]) for name in ("patients", "submission", "metrics")),
        predictions=[Path(p) for p in snakemake.input.predictions],
        bootstrap=config.patients.bootstrap,
    )
