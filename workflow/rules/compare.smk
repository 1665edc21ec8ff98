# What looking in the right place is worth: `snakemake compare`, then `snakemake` puts it into the report. Not part of
# `rule all`, because exhaustive reading takes long.


rule compare_fold:
    input:
        overviews=lambda wildcards: overviews(compared(wildcards)),
        weights=weights,
        code=code(
            "attention/*.py",
            "slides/coverage.py",
            "slides/sensor.py",
            "slides/stain.py",
            "stages/augment.py",
            "stages/batch.py",
            "stages/cohort.py",
            "stages/compare.py",
            "stages/comparison/*.py",
            "stages/determinism.py",
            "stages/keras_file.py",
            "stages/looks.py",
            "stages/predict.py",
            "stages/rollout.py",
            "stages/scouting.py",
        ),
    output:
        "results/compare/{fold}.h5",
    log:
        "results/logs/compare/{fold}.log",
    benchmark:
        "results/benchmarks/compare/{fold}.tsv"
    conda:
        "../../environment.yml"
    threads: 8
    resources:
        **growing(8000, 1440),
        gpu=1,
    params:
        truth=lambda wildcards: truth(PLAN.of(compared(wildcards))),
        settings=(
            CONFIG.tissue,
            CONFIG.glimpse.count,
            CONFIG.predict,
            CONFIG.compare,
            CONFIG.train.seed,
        ),
    script:
        "../scripts/compare_fold.py"


rule compare:
    input:
        folds=[f"results/compare/{name}.h5" for name in PLAN.jobs],
        code=code(
            "patients/*.py",
            "stages/compare.py",
            "stages/comparison/*.py",
            "stages/hdf5.py",
        ),
    output:
        report(
            "results/compare/compare.tsv",
            caption="../report/compare.rst",
            category="Comparison",
        ),
    log:
        "results/logs/compare.log",
    benchmark:
        "results/benchmarks/compare.tsv"
    conda:
        "../../environment.yml"
    resources:
        **growing(2000, 10),
    params:
        truth=truth(PLAN.samples),
        settings=CONFIG.patients,
    script:
        "../scripts/compare.py"
