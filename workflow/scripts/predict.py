from pathlib import Path

from foveate.config import parse_config
from foveate.logs import job

with job(snakemake.log[0]):
    from foveate.stages import predict
    from foveate.stages.plan import read_plan

    config = parse_config(snakemake.config, "config")
    plan = read_plan(config)
    name = snakemake.wildcards.fold
    samples = plan.of(plan.jobs[name].predict)
    predict.run(
        config,
        samples,
        Path("results/overview"),
        Path(snakemake.input.weights),
        Path(snakemake.output[0]),
        fold=name,
    )
