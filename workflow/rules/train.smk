# One model a fold. Checkpoints live beside the outputs, undeclared, so that a kill does not lose them.

PATIENT_AGENT = (
    {"patient": "results/train/{fold}/patient.keras"} if CONFIG.patient_agent.on else {}
)


rule train:
    input:
        overviews=lambda wildcards: overviews(learned(wildcards)),
        encoder=ancient(CONFIG.model.encoder.path or []),
        code=code(
            "attention/*.py",
            "patients/posterior.py",
            "patients/prior.py",
            "patients/stages.py",
            "patients/temperature.py",
            "slides/sensor.py",
            "slides/stain.py",
            "stages/augment.py",
            "stages/batch.py",
            "stages/cohort.py",
            "stages/determinism.py",
            "stages/keras_file.py",
            "stages/looks.py",
            "stages/patient_rollout.py",
            "stages/rollout.py",
            "stages/scouting.py",
            "stages/train.py",
            "stages/training/*.py",
        ),
    output:
        **PATIENT_AGENT,
        model="results/train/{fold}/model.keras",
        history=report(
            "results/train/{fold}/history.csv",
            caption="../report/history.rst",
            category="Training",
            labels={"fold": "{fold}"},
        ),
        dropped="results/train/{fold}/dropped.json",
    log:
        "results/logs/train/{fold}.log",
    benchmark:
        "results/benchmarks/train/{fold}.tsv"
    conda:
        "../../environment.yml"
    threads: 8
    resources:
        **growing(12000, 720),
        gpu=1,
    params:
        truth=lambda wildcards: truth(PLAN.of(learned(wildcards))),
        val=lambda wildcards: digest(PLAN.jobs[wildcards.fold].fold.val),
        encoder=lambda wildcards: content(CONFIG.model.encoder.path),
        settings=(
            CONFIG.overview,
            CONFIG.tissue,
            CONFIG.glimpse,
            CONFIG.scout,
            CONFIG.model,
            CONFIG.train,
            CONFIG.patient_agent,
        ),
    script:
        "../scripts/train.py"
