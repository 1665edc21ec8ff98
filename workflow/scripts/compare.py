from pathlib import Path

from foveate.config import parse_config
from foveate.logs import job
from foveate.stages import compare
from foveate.stages.plan import read_plan

with job(snakemake.log[0]):
    config = parse_config(snakemake.config, "config")
    plan = read_plan(config)
    compare.summarise(config, plan, [Path(p) for p in snakemake.input.folds], Path(snakemake.output[0]))
