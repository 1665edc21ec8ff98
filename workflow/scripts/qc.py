from pathlib import Path

from foveate.config import parse_config
from foveate.logs import job
from foveate.stages import qc
from foveate.stages.plan import read_plan

with job(snakemake.log[0]):
    plan = read_plan(parse_config(snakemake.config, "config"))
    qc.run([Path(f"results/status/{slide}.json") for slide in plan.used], Path(snakemake.output[0]))
