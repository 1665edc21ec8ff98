# Every slide, small: thumbnail, tissue, cells, lesions. A slide that cannot be used still gets all files.


rule overview:
    input:
        unpack(sample_files),
        code=code("slides/*.py", "stages/overview.py", "report/pictures.py", "files.py"),
    output:
        overview="results/overview/{slide}.h5",
        thumbnail="results/thumbnails/{slide}.jpg",
        tissue=report(
            "results/tissue/{slide}.png",
            caption="../report/tissue.rst",
            category="Tissue",
            labels={"slide": "{slide}"},
        ),
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
        settings=(CONFIG.overview, CONFIG.tissue),
    script:
        "../scripts/overview.py"
