from pathlib import Path

from foveate.config import parse_config
from foveate.logs import job
from foveate.stages import export
from foveate.stages.batches import write_list
from foveate.stages.plan import read_plan

with job(snakemake.log[0]):
    plan = read_plan(parse_config(snakemake.config, "config"))
    digests = export.run(
        plan.of(plan.export_batches[snakemake.wildcards.batch]),
        Path("results/overview"),
        [Path(p) for p in snakemake.input.predictions],
        Path("results/export"),
    )
    write_list(Path(snakemake.output[0]), digests, "file")
