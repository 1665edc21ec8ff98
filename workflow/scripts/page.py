from pathlib import Path

from foveate.logs import job
from foveate.stages import report

with job(snakemake.log[0]):
    report.run(
        overviews=Path("results/overview"),
        statuses=Path("results/status"),
        predictions=[Path(p) for p in snakemake.input.predictions],
        slides_tsv=Path(snakemake.input.slides),
        patients_tsv=Path(snakemake.input.patients),
        metrics_json=Path(snakemake.input.metrics),
        histories={Path(p).parent.name: Path(p) for p in snakemake.input.histories},
        comparison=Path("results/compare/compare.tsv"),
        out=Path(snakemake.output[0]),
    )
