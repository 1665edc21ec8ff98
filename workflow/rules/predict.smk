# Many slides a job, so that the model is loaded once; then one table over all jobs.


rule predict:
    input:
        overviews=lambda wildcards: overviews(predicted(wildcards)),
        weights=weights,
        patient=patient_weights,
        code=code(
            "attention/*.py",
            "slides/sensor.py",
            "slides/stain.py",
            "stages/augment.py",
            "stages/batch.py",
            "stages/cohort.py",
            "stages/determinism.py",
            "stages/keras_file.py",
            "stages/looks.py",
            "stages/patient_rollout.py",
            "stages/predict.py",
            "stages/predict_patients.py",
            "stages/prediction_file.py",
            "stages/rollout.py",
            "stages/scouting.py",
        ),
    output:
        "results/predictions/{fold}/{batch}.h5",
    log:
        "results/logs/predict/{fold}/{batch}.log",
    benchmark:
        "results/benchmarks/predict/{fold}/{batch}.tsv"
    conda:
        "../../environment.yml"
    threads: 8
    resources:
        **growing(8000, 240),
        gpu=1,
    params:
        slides=lambda wildcards: digest(predicted(wildcards)),
        settings=(
            CONFIG.tissue,
            CONFIG.glimpse.count,
            CONFIG.predict,
            CONFIG.train.seed,
            CONFIG.patient_agent.budget,
        ),
    script:
        "../scripts/predict.py"


rule slides:
    input:
        overviews=overviews(SLIDES),
        predictions=PREDICTIONS,
        dropped=[f"results/train/{name}/dropped.json" for name in TRAINED],
        code=code("stages/hdf5.py", "stages/slides.py"),
    output:
        table="results/predictions/slides.tsv",
        summary="results/summary.txt",
    log:
        "results/logs/slides.log",
    benchmark:
        "results/benchmarks/slides.tsv"
    conda:
        "../../environment.yml"
    resources:
        **growing(2000, 10),
    params:
        truth=truth(PLAN.samples),
        folds=CONFIG.folds,
    script:
        "../scripts/slides.py"
