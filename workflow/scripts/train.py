from pathlib import Path

from foveate.config import parse_config
from foveate.lock import take
from foveate.logs import job

out = Path(snakemake.output.model).parent
with job(snakemake.log[0]), take(out / ".lock", wait=True):
    from foveate.stages import train
    from foveate.stages.plan import read_plan

    config = parse_config(snakemake.config, "config")
    plan = read_plan(config)
    job = plan.jobs[snakemake.wildcards.fold]
    train.run(config, plan.of(job.learned), job.fold, Path("results/overview"), out)
