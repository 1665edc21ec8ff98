# Every slide, small: thumbnail, tissue, cells, lesions. A slide that cannot be used still gets all files.


def sample_files(wildcards):
    sample = PLAN.used[wildcards.slide]
    files = {"slide": str(sample.path)}
    if sample.annotation is not None:
        files["annotation"] = str(sample.annotation)
    return files


rule overview:
    input:
        unpack(sample_files),
        code=code(
            "slides/*.py", "stages/overview.py", "report/pictures.py", "files.py"
        ),
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
    params:
        mpp=lambda wildcards: PLAN.used[wildcards.slide].mpp,
        settings=(CONFIG.overview, CONFIG.tissue),
    log:
        "results/logs/overview/{slide}.log",
    benchmark:
        "results/benchmarks/overview/{slide}.tsv"
    resources:
        mem_mb=2000,
        runtime=10,
    conda:
        "../../environment.yml"
    script:
        "../scripts/overview.py"
