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
include: "workflow/rules/compare.smk"
include: "workflow/rules/export.smk"
include: "workflow/rules/report.smk"


# A moment each, from small files: where others run on a cluster, these run beside Snakemake and wait in no queue.
localrules:
    all,
    compare,
    complete,
    export,
    page,
    patients,
    qc,
    slides,


# Every output, so that one that was deleted is missed.
rule all:
    input:
        overviews(SLIDES),
        expand("results/batches/pictures/{batch}.tsv", batch=PLAN.overview_batches),
        expand("results/train/{fold}/model.keras", fold=TRAINED),
        expand(list(PATIENT_AGENT.values()), fold=TRAINED),
        expand("results/train/{fold}/history.csv", fold=TRAINED),
        expand("results/train/{fold}/dropped.json", fold=TRAINED),
        PREDICTIONS,
        "results/qc.tsv",
        "results/predictions/slides.tsv",
        "results/summary.txt",
        "results/patients.tsv",
        "results/submission.csv",
        "results/metrics.json",
        "results/report/index.html",
        "results/complete.txt",


report: "workflow/report/workflow.rst"
