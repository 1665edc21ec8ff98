# Every slide, small: thumbnail, tissue, cells, lesions. A slide that cannot be used still gets all files.


rule overview:
    input:
        unpack(sample_files),
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
        overview="results/overview/{slide}.h5",
        status="results/status/{slide}.json",
    log:
        "results/logs/overview/{slide}.log",
    benchmark:
        "results/benchmarks/overview/{slide}.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        mpp=lambda wildcards: PLAN.used[wildcards.slide].mpp,
        settings=(CONFIG.overview, CONFIG.tissue, CONFIG.glimpse.scales_mpp),
    script:
        "../scripts/overview.py"


# A rule of its own, so that a picture that was deleted does not cost a training.
rule pictures:
    input:
        overview="results/overview/{slide}.h5",
        status="results/status/{slide}.json",
        code=code("report/pictures.py", "stages/pictures.py"),
    output:
        thumbnail="results/thumbnails/{slide}.jpg",
        tissue=report(
            "results/tissue/{slide}.png",
            caption="../report/tissue.rst",
            category="Tissue",
            labels={"slide": "{slide}"},
        ),
    log:
        "results/logs/pictures/{slide}.log",
    benchmark:
        "results/benchmarks/pictures/{slide}.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=500,
        runtime=5,
    script:
        "../scripts/pictures.py"


rule qc:
    input:
        statuses=[f"results/status/{slide}.json" for slide in SLIDES],
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
        mem_mb=500,
        runtime=5,
    script:
        "../scripts/qc.py"
