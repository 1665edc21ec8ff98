from pathlib import Path

from foveate.config import parse_config
from foveate.logs import job
from foveate.stages import slides
from foveate.stages.plan import read_plan

with job(snakemake.log[0]):
    slides.run(
        read_plan(parse_config(snakemake.config, "config")),
        Path("results/status"),
        [Path(p) for p in snakemake.input.predictions],
        [Path(p) for p in snakemake.input.dropped],
        Path(snakemake.output.table),
        Path(snakemake.output.summary),
    )
