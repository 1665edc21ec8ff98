from pathlib import Path

from foveate.config import parse_config
from foveate.lock import take
from foveate.logs import job

name, out = snakemake.wildcards.fold, Path(snakemake.output[0])
with job(snakemake.log[0]), take(out.with_name(f".{name}.lock"), wait=True):
    from foveate.stages import compare
    from foveate.stages.comparison.roles import roles
    from foveate.stages.plan import read_plan

    config = parse_config(snakemake.config, "config")
    plan = read_plan(config)
    weights = Path(snakemake.input.weights)
    compare.run(config, plan.used, roles(plan, name), Path("results/overview"), weights, out)
