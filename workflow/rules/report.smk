# The page for people; then the verdict: the run fails at its very end if a slide did, with nothing lost.


rule page:
    input:
        overviews=overviews(SLIDES),
        predictions=PREDICTIONS,
        slides="results/predictions/slides.tsv",
        patients="results/patients.tsv",
        metrics="results/metrics.json",
        histories=[f"results/train/{name}/history.csv" for name in TRAINED],
        code=code("report/**/*", "stages/report.py"),
    output:
        report(
            "results/report/index.html",
            caption="../report/page.rst",
            category="Report",
        ),
    log:
        "results/logs/report.log",
    benchmark:
        "results/benchmarks/report.tsv"
    conda:
        "../../environment.yml"
    resources:
        **growing(2000, 30),
    params:
        comparison=comparison,
    script:
        "../scripts/page.py"


rule complete:
    input:
        slides="results/predictions/slides.tsv",
        summary="results/summary.txt",
        page="results/report/index.html",
        submission="results/submission.csv",
        qc="results/qc.tsv",
    output:
        "results/complete.txt",
    log:
        "results/logs/complete.log",
    benchmark:
        "results/benchmarks/complete.tsv"
    retries: 0
    conda:
        "../../environment.yml"
    resources:
        **growing(500, 5),
    script:
        "../scripts/complete.py"
