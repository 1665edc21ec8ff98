"""How well the demo's model does, over three seeds, beside the same model with random locations.

    python benchmarks/demo.py                  (about 25 minutes on two cores)

Makes the demo cohort's overviews with Snakemake if they are not there, then trains, predicts and stages once a
seed. The last line is one JSON object: kappa_median, slide_accuracy_median, kappa_random_median, and more.
"""

import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from foveate.cohort.samples import patient_labels
from foveate.config import Config, read_config
from foveate.logs import quiet_libraries
from foveate.stages.plan import Plan, read_plan

MARKS = {"kappa": "kappa", "kappa_rule": "kappa_rule", "slide_accuracy": "slide_accuracy"}


def measure(config: Config, plan: Plan, overviews: Path, statuses: Path, out: Path) -> dict[str, float]:
    """Train, predict and stage; the marks of the test split by policy."""
    from foveate.stages import patients, predict, slides, train

    (name, job), *rest = plan.jobs.items()
    if rest or job.fold is None:
        raise SystemExit("this benchmark needs a sheet with a split column and no predict.weights")
    begun = time.perf_counter()
    train.run(config, plan.of(job.learned), job.fold, overviews, out)
    seconds = time.perf_counter() - begun
    predictions, table = out / "predictions.h5", out / "slides.tsv"
    predict.run(config, plan.of(job.predict), overviews, out / "model.keras", predictions, fold=name)
    slides.run(plan, statuses, [predictions], [out / "dropped.json"], table, out / "summary.txt")
    files = [out / f for f in ("patients.tsv", "submission.csv", "metrics.json")]
    patients.run(table, patient_labels(plan.samples), *files, bootstrap=config.patients.bootstrap)
    test = json.loads(files[2].read_text())["test"]
    marks = {f"{m}_{policy}": test[policy][m]["value"] for m in MARKS for policy in ("learned", "random")}
    return {**marks, "train_seconds": seconds}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    options.add_argument("--config", type=Path, nargs="+", default=[Path("config/config.yaml")])
    options.add_argument("--results", type=Path, default=Path("results"))
    arguments = options.parse_args()
    quiet_libraries()
    subprocess.run([sys.executable, "-m", "snakemake", "--cores", "all", "--quiet", "--until", "overview"], check=True)
    rows = []
    for seed in arguments.seeds:
        config = read_config(*arguments.config)
        config = dataclasses.replace(config, train=dataclasses.replace(config.train, seed=seed))
        out = arguments.results / "benchmarks" / "demo" / f"seed_{seed}"
        results = arguments.results
        row = measure(config, read_plan(config), results / "overview", results / "status", out)
        print(f"seed {seed}: " + " ".join(f"{k}={v:.3f}" for k, v in row.items()), flush=True)
        rows.append(row)
    median = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
    print(
        json.dumps(
            {
                "kappa_median": median["kappa_learned"],
                "slide_accuracy_median": median["slide_accuracy_learned"],
                "kappa_random_median": median["kappa_random"],
                "slide_accuracy_random_median": median["slide_accuracy_random"],
                "kappa_rule_median": median["kappa_rule_learned"],
                "train_seconds_median": round(median["train_seconds"]),
                "seeds": arguments.seeds,
            }
        )
    )


if __name__ == "__main__":
    main()
