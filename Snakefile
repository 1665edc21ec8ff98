# foveate: whole-slide images in, pN stages out.
from snakemake.utils import min_version

min_version("9.0")


configfile: "config/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/demo.smk"
include: "workflow/rules/overview.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/predict.smk"
include: "workflow/rules/patients.smk"
include: "workflow/rules/report.smk"


rule all:
    input:
        "results/patients.tsv",
        "results/submission.csv",
        "results/metrics.json",
        "results/report/index.html",
        "results/complete.txt",


report: "workflow/report/workflow.rst"
