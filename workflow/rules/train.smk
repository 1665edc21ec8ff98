# One model a fold. Checkpoints live beside the outputs, undeclared, so that a kill does not lose them.


def learned(wildcards):
    fold = PLAN.jobs[wildcards.fold].fold
    return [*fold.train, *fold.val]


rule train:
    input:
        overviews=lambda wildcards: overviews(learned(wildcards)),
        code=code("attention/*.py", "slides/sensor.py", "stages/train.py")
        + code("stages/rollout.py", "stages/patches.py", "stages/checkpoint.py"),
    output:
        model="results/train/{fold}/model.keras",
        history=report(
            "results/train/{fold}/history.csv",
            caption="../report/history.rst",
            category="Training",
            labels={"fold": "{fold}"},
        ),
        dropped="results/train/{fold}/dropped.json",
    params:
        truth=lambda wildcards: truth(PLAN.of(learned(wildcards))),
        settings=(CONFIG.overview, CONFIG.tissue, CONFIG.glimpse, CONFIG.model, CONFIG.train),
    log:
        "results/logs/train/{fold}.log",
    benchmark:
        "results/benchmarks/train/{fold}.tsv"
    threads: 8
    resources:
        mem_mb=12000,
        runtime=720,
        gpu=1,
    conda:
        "../../environment.yml"
    script:
        "../scripts/train.py"
