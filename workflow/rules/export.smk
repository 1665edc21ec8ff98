# Files for QuPath and ASAP: `snakemake export`. Not part of `rule all`: three files a slide that most runs never open.


rule export:
    input:
        expand("results/batches/export/{batch}.tsv", batch=PLAN.export_batches),


rule export_batch:
    input:
        overviews=lambda wildcards: overviews(s.slide for s in exported(wildcards)),
        annotations=lambda wildcards: [
            str(s.annotation) for s in exported(wildcards) if s.annotation
        ],
        predictions=exported_predictions,
        code=code(
            "patients/stages.py",
            "report/drawn.py",
            "report/palette.py",
            "report/sources.py",
            "slides/annotations.py",
            "slides/asap.py",
            "slides/geojson.py",
            "slides/geometry.py",
            "slides/marks.py",
            "slides/ncrf.py",
            "slides/ometiff.py",
            "slides/outlines.py",
            "slides/overview_file.py",
            "slides/polygons.py",
            "stages/export.py",
        ),
    output:
        "results/batches/export/{batch}.tsv",
    log:
        "results/logs/export/{batch}.log",
    benchmark:
        "results/benchmarks/export/{batch}.tsv"
    conda:
        "../../environment.yml"
    resources:
        **growing(2000, 240),
    params:
        slides=lambda wildcards: digest(
            (s.slide, s.annotation) for s in exported(wildcards)
        ),
    script:
        "../scripts/export.py"
