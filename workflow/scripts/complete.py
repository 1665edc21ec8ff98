from pathlib import Path

from foveate.files import write_text
from foveate.logs import job
from foveate.stages.slides import verdict

with job(snakemake.log[0]):
    summary = verdict(Path(snakemake.input.slides), Path(snakemake.input.summary))
    write_text(snakemake.output[0], summary)
