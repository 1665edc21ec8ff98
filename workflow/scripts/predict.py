from pathlib import Path

from foveate.config import parse_config
from foveate.lock import take
from foveate.logs import job

out = Path(snakemake.output[0])
with job(snakemake.log[0]), take(out.with_name(f".{out.stem}.lock"), wait=True):
    from foveate.stages import predict
    from foveate.stages.plan import read_plan

    config = parse_config(snakemake.config, "config")
    plan = read_plan(config)
    (planned,) = (p for p in plan.predictions if p.below(Path("results")) == out)
    predict.run(
        config,
        plan.of(planned.slides),
        Path("results/overview"),
        Path(snakemake.input.weights),
        out,
        fold=planned.fold,
        patient_weights=Path(snakemake.input.patient[0]) if snakemake.input.patient else None,
    )
