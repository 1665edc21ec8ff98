from pathlib import Path

from foveate.logs import job
from foveate.stages import qc

with job(snakemake.log[0]):
    qc.run([Path(p) for p in snakemake.input.statuses], Path(snakemake.output[0]))
