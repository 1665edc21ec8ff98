# Slides to patients: stages, the challenge's submission, and how good both are.


rule patients:
    input:
        slides="results/predictions/slides.tsv",
        predictions=PREDICTIONS,
        code=code("patients/*.py", "stages/hdf5.py", "stages/patients.py"),
    output:
        patients=report(
            "results/patients.tsv",
            caption="../report/patients.rst",
            category="Patients",
        ),
        submission=report(
            "results/submission.csv",
            caption="../report/submission.rst",
            category="Patients",
        ),
        metrics=report(
            "results/metrics.json",
            caption="../report/metrics.rst",
            category="Patients",
        ),
    log:
        "results/logs/patients.log",
    benchmark:
        "results/benchmarks/patients.tsv"
    conda:
        "../../environment.yml"
    resources:
        **growing(2000, 10),
    params:
        truth=truth(PLAN.samples),
        settings=CONFIG.patients,
    script:
        "../scripts/patients.py"
