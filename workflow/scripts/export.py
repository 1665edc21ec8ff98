from pathlib import Path

from foveate.config import parse_config
from foveate.logs import job
from foveate.stages import export
from foveate.stages.plan import read_plan

with job(snakemake.log[0]):
    plan = read_plan(parse_config(snakemake.config, "config"))
    export.run(
        list(plan.used.values()),
        Path("results/overview"),
        [Path(p) for p in snakemake.input.predictions],
        Path(snakemake.output[0]),
    )
