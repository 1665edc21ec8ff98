"""What Snakemake's plan of a large cohort costs: a dry run before anything is made, and a run with nothing to do.

    python benchmarks/dag.py [--slides 100 1000 10000]

The slides are empty files, and so are the results: nothing but planning is measured. Five slides a patient. Seconds are
of wall time, CPU seconds stand beside them, memory is the most that the process held. The last line is JSON: seconds_N,
of the slower of the two, and peak_mb_N by number of slides. 10,000 slides take some minutes: Snakemake touches a job at
a time.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from foveate.config import read_config
from foveate.stages.batches import write_list
from foveate.stages.plan import Plan, read_plan

REPOSITORY = Path(__file__).parents[1]
SPLITS = ("train", "train", "train", "val", "test", "test")  # of patients, in turns
LABELS = ("negative", "negative", "itc", "micro", "macro")
BY_SLIDE = ("overview/{}.h5", "status/{}.json", "thumbnails/{}.jpg", "tissue/{}.png")
BY_JOB = ("model.keras", "patient.keras", "history.csv", "dropped.json")
AT_THE_END = (
    *("qc.tsv", "predictions/slides.tsv", "summary.txt", "patients.tsv", "submission.csv", "metrics.json"),
    *("report/index.html", "complete.txt"),
)


@dataclass(frozen=True)
class Cost:
    """Wall and CPU seconds of a process, its peak memory in MB, and the jobs that it planned."""

    seconds: float
    cpu: float
    peak_mb: float
    shown: str


def make_cohort(folder: Path, slides: int) -> Plan:
    """Write a samples sheet and empty slides. Returns its plan."""
    (folder / "config").mkdir(parents=True)
    (folder / "slides").mkdir()
    rows = ["slide\tpatient\tpath\tlabel\tsplit"]
    for number in range(slides):
        patient, node = divmod(number, 5)
        name = f"patient_{patient:05d}_node_{node}"
        (folder / "slides" / f"{name}.tif").touch()
        split, label = SPLITS[patient % len(SPLITS)], LABELS[(patient + node) % len(LABELS)]
        rows.append(f"{name}\tpatient_{patient:05d}\tslides/{name}.tif\t{label}\t{split}")
    (folder / "config" / "samples.tsv").write_text("\n".join(rows) + "\n")
    here = Path.cwd()
    os.chdir(folder)
    try:
        return read_plan(read_config(REPOSITORY / "config" / "config.yaml"))
    finally:
        os.chdir(here)


def make_results(folder: Path, plan: Plan) -> None:
    """Empty files in place of all that a run leaves behind."""
    results = folder / "results"
    names = [pattern.format(slide) for slide in plan.used for pattern in BY_SLIDE]
    names += [f"train/{fold}/{name}" for fold in plan.jobs for name in BY_JOB] + list(AT_THE_END)
    for path in [*(results / name for name in names), *(p.below(results) for p in plan.predictions)]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for stage in ("overview", "pictures"):
        for batch, own in plan.overview_batches.items():
            write_list(results / "batches" / stage / f"{batch}.tsv", dict.fromkeys(own, "0" * 64))


def snakemake(folder: Path, *arguments: str) -> Cost:
    """Run the workflow in a folder. Raises CalledProcessError, with what it showed on the terminal, if it fails."""
    command = [sys.executable, "-m", "snakemake", "-s", str(REPOSITORY / "Snakefile"), "--directory", str(folder)]
    command += ["--configfile", str(REPOSITORY / "config" / "config.yaml"), "--cores", "2", *arguments]
    with (folder / "run.log").open("w+") as log:
        begun = time.perf_counter()
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=REPOSITORY)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begun
        log.seek(0)
        shown = log.read()
    if code := os.waitstatus_to_exitcode(status):
        sys.stderr.write(shown[-4000:])
        raise subprocess.CalledProcessError(code, command)
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, shown)


def measure(slides: int) -> tuple[Cost, Cost]:
    """The dry run and the run with nothing to do of a cohort of so many slides."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "cohort")
        plan = make_cohort(folder, slides)
        dry = snakemake(folder, "--dry-run", "--quiet")
        make_results(folder, plan)
        snakemake(
            folder, "--touch", "--forceall", "--quiet", "--cores", "100000"
        )  # writes what Snakemake remembers of a run
        idle = snakemake(folder, "--quiet", "progress")
        if "Nothing to be done" not in idle.shown:
            raise RuntimeError(f"something was to be done:\n{idle.shown[-2000:]}")
        return dry, idle


def main() -> None:
    """Measure each size and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slides", type=int, nargs="+", default=[100, 1000, 10000])
    result: dict[str, float] = {}
    print("slides  dry run s  (CPU)   MB  no-op s  (CPU)   MB")
    for slides in parser.parse_args().slides:
        dry, idle = measure(slides)
        print(
            f"{slides:6d}  {dry.seconds:9.1f} {dry.cpu:6.1f} {dry.peak_mb:5.0f}"
            f"  {idle.seconds:7.1f} {idle.cpu:6.1f} {idle.peak_mb:5.0f}"
        )
        result[f"seconds_{slides}"] = round(max(dry.seconds, idle.seconds), 2)
        result[f"peak_mb_{slides}"] = round(max(dry.peak_mb, idle.peak_mb))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
