# Every slide, small: thumbnail, tissue, cells, lesions. A slide that cannot be used still gets all files.
# A batch of slides a job; slides that stand as they were made are not read again.


rule overview:
    input:
        sample_files,
        code=code(
            "files.py",
            "slides/annotations.py",
            "slides/area.py",
            "slides/asap.py",
            "slides/focus.py",
            "slides/geojson.py",
            "slides/geometry.py",
            "slides/handle.py",
            "slides/jpeg.py",
            "slides/marks.py",
            "slides/ncrf.py",
            "slides/outlines.py",
            "slides/overview.py",
            "slides/overview_file.py",
            "slides/raster.py",
            "slides/reader.py",
            "slides/readers.py",
            "slides/tiff.py",
            "slides/tiles.py",
            "slides/tissue.py",
            "slides/view.py",
            "stages/overview.py",
        ),
    output:
        "results/batches/overview/{batch}.tsv",
    log:
        "results/logs/overview/{batch}.log",
    benchmark:
        "results/benchmarks/overview/{batch}.tsv"
    conda:
        "../../environment.yml"
    resources:
        **growing(
            2000, lambda wildcards: 10 + len(PLAN.overview_batches[wildcards.batch])
        ),
    params:
        slides=lambda wildcards: digest(
            (s.slide, s.path, s.annotation, s.mpp)
            for s in PLAN.of(PLAN.overview_batches[wildcards.batch])
        ),
        settings=(CONFIG.overview, CONFIG.tissue, CONFIG.glimpse.scales_mpp),
    script:
        "../scripts/overview.py"


# A rule of its own, so that a picture that was deleted does not cost a training.
rule pictures:
    input:
        overviews="results/batches/overview/{batch}.tsv",
        code=code("report/pictures.py", "stages/pictures.py"),
    output:
        "results/batches/pictures/{batch}.tsv",
    log:
        "results/logs/pictures/{batch}.log",
    benchmark:
        "results/benchmarks/pictures/{batch}.tsv"
    conda:
        "../../environment.yml"
    resources:
        **growing(500, 5),
    script:
        "../scripts/pictures.py"


rule qc:
    input:
        overviews=overviews(SLIDES),
        code=code("stages/qc.py"),
    output:
        "results/qc.tsv",
    log:
        "results/logs/qc.log",
    benchmark:
        "results/benchmarks/qc.tsv"
    conda:
        "../../environment.yml"
    resources:
        **growing(500, 5),
    params:
        slides=digest(SLIDES),
    script:
        "../scripts/qc.py"
