# Files for QuPath and ASAP: `snakemake export`. Not part of `rule all`: three files a slide that most runs never open.


rule export:
    input:
        overviews=overviews(SLIDES),
        annotations=[str(s.annotation) for s in PLAN.used.values() if s.annotation],
        predictions=[f"results/predictions/{name}.h5" for name in PLAN.jobs],
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
        directory("results/export"),
    log:
        "results/logs/export.log",
    benchmark:
        "results/benchmarks/export.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=2000,
        runtime=240,
    params:
        slides=digest((s.slide, s.annotation) for s in PLAN.used.values()),
    script:
        "../scripts/export.py"
