from pathlib import Path

from foveate.config import parse_config
from foveate.files import sha256
from foveate.logs import job
from foveate.stages import overview
from foveate.stages.plan import digest, read_plan

with job(snakemake.log[0]):
    config = parse_config(snakemake.config, "config")
    plan = read_plan(config)
    samples = plan.of(plan.overview_batches[snakemake.wildcards.batch])
    code = digest(sha256(Path(source)) for source in snakemake.input.code)
    overview.run_batch(config, samples, Path("results"), Path(snakemake.output[0]), code)
