from pathlib import Path

from foveate.config import parse_config
from foveate.logs import job
from foveate.stages import pictures
from foveate.stages.plan import read_plan

with job(snakemake.log[0]):
    plan = read_plan(parse_config(snakemake.config, "config"))
    slides = plan.overview_batches[snakemake.wildcards.batch]
    pictures.run_batch(slides, Path("results"), Path(snakemake.output[0]))
