# The demo cohort: slides of the sheet below demo.folder are made, not found.


rule demo_slide:
    input:
        code=code("cohort/demo*.py"),
    output:
        slide=f"{CONFIG.demo.folder}/images/{{slide}}.tif",
        annotation=f"{CONFIG.demo.folder}/annotations/{{slide}}.xml",
    log:
        "results/logs/demo/{slide}.log",
    benchmark:
        "results/benchmarks/demo/{slide}.tsv"
    conda:
        "../../environment.yml"
    resources:
        **growing(1500, 5),
    params:
        patients=CONFIG.demo.patients,
        seed=CONFIG.demo.seed,
    script:
        "../scripts/demo_slide.py"
