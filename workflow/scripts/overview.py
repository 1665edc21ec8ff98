from pathlib import Path

from foveate.cohort.samples import Sample
from foveate.config import parse_config
from foveate.logs import job
from foveate.stages import overview

with job(snakemake.log[0]):
    annotation = snakemake.input.get("annotation")
    sample = Sample(
        slide=snakemake.wildcards.slide,
        patient="",
        path=Path(snakemake.input.slide),
        annotation=Path(annotation) if annotation else None,
        mpp=snakemake.params.mpp,
    )
    config = parse_config(snakemake.config, "config")
    overview.survey(config, sample, Path(snakemake.output.overview), Path(snakemake.output.status))
