from pathlib import Path

from foveate.cohort.demo import make_slide
from foveate.logs import job

with job(snakemake.log[0]):
    make_slide(
        snakemake.wildcards.slide,
        Path(snakemake.output.slide).parent.parent,
        patients=snakemake.params.patients,
        seed=snakemake.params.seed,
    )
