from pathlib import Path

from foveate.logs import job
from foveate.stages import pictures

with job(snakemake.log[0]):
    pictures.run(
        *(Path(snakemake.input[name]) for name in ("overview", "status")),
        *(Path(snakemake.output[name]) for name in ("thumbnail", "tissue")),
    )
