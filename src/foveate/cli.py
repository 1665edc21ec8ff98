"""The command line: every stage as a command. Models are imported only by the commands that use one."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from foveate.cohort import command as sheet
from foveate.cohort.samples import Sample, patient_labels
from foveate.config import Config, read_config
from foveate.digits import command as digits
from foveate.errors import FoveateError
from foveate.logs import LINE, quiet_libraries
from foveate.stages.plan import Plan, read_plan

STOPPED = 130  # as a shell says it of Ctrl-C
log = logging.getLogger("foveate")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Returns the exit status: 0, or 1 after an error that the user can mend, 2 for bad usage,
    130 after Ctrl-C."""
    quiet_libraries()
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING if options.quiet else logging.INFO, format=LINE, stream=sys.stderr)
    try:
        return int(options.run(options) or 0)
    except FoveateError as error:
        print(f"foveate {options.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"foveate {options.command}: stopped; what is finished is kept", file=sys.stderr)
        return STOPPED


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    whole = argparse.ArgumentParser(
        prog="foveate",
        description="Classify whole-slide images of lymph nodes by recurrent visual attention, and stage patients. "
        "The workflow (snakemake --cores 8) runs these commands' stages in order and only where something changed.",
    )
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--config",
        nargs="+",
        type=Path,
        default=[Path("config/config.yaml")],
        metavar="FILE",
        help="configuration; later files go over earlier ones (default: config/config.yaml)",
    )
    common.add_argument("--results", type=Path, default=Path("results"), metavar="DIR", help="default: results")
    quiet = argparse.ArgumentParser(add_help=False)
    quiet.add_argument("--quiet", action="store_true", help="only warnings and errors")

    def add(name: str, run: object, text: str, *, stage: bool = True) -> argparse.ArgumentParser:
        parents = [common, quiet] if stage else [quiet]
        command = commands.add_parser(name, parents=parents, help=text, description=text)
        command.set_defaults(run=run)
        return command

    text = "write a samples sheet for a challenge's folder or for the demo cohort"
    sheet.add_options(add("samples", sheet.run_command, text, stage=False))
    overview = add("overview", _overview, "read slides at low resolution: thumbnail, tissue, status")
    overview.add_argument("slides", nargs="*", metavar="SLIDE", help="names in the sheet (default: all)")
    for name, run, text in (
        ("train", _train, "train the model of each fold; goes on where it was stopped"),
        ("predict", _predict, "predict slides with the trained or given model"),
        ("compare", _compare, "compare learned looking with random places, a static ranking, and everything"),
    ):
        add(name, run, text).add_argument("--fold", metavar="NAME", help="one fold (default: all)")
    add("stage", _stage, "bring slides together: slides.tsv, patients.tsv, submission.csv, metrics.json")
    add("report", _report, "write the page report/index.html")
    add("view", _view, "show slides and fixation paths in the browser, from a server on this machine only", stage=False)
    view = commands.choices["view"]
    view.add_argument("results", nargs="?", type=Path, default=Path("results"), metavar="DIR", help="default: results")
    view.add_argument("--port", type=int, default=0, help="default: one that is free")
    view.add_argument("--no-browser", action="store_true", help="only print the page's address")
    export = add("export", _export, "write what is known of slides for QuPath (GeoJSON, OME-TIFF) and ASAP (XML)")
    export.add_argument("slides", nargs="*", metavar="SLIDE", help="names in the sheet (default: all)")
    text = "train the attention model on MNIST tasks; goes on where it was stopped"
    digits.add_options(add("digits", digits.run_command, text, stage=False))
    return whole


def _plan(options: argparse.Namespace) -> tuple[Config, Plan]:
    config = read_config(*options.config)
    return config, read_plan(config)


def _overview(options: argparse.Namespace) -> int:
    from foveate.progress import progress
    from foveate.stages import overview
    from foveate.stages.outputs import Outputs

    config, plan = _plan(options)
    good = [
        overview.run(config, sample, Outputs.of(sample.slide, options.results))
        for sample in progress(_named(options, config, plan), "overview")
    ]
    return 0 if all(good) else 1


def _named(options: argparse.Namespace, config: Config, plan: Plan) -> list[Sample]:
    """The samples of the slides that the command names, or all."""
    unknown = sorted(set(options.slides) - set(plan.used))
    if unknown:
        raise FoveateError(f"{config.samples}: no slide {', '.join(unknown)} that is not excluded")
    return plan.of(options.slides or plan.used)


def _jobs(plan: Plan, fold: str | None) -> list[str]:
    if fold is not None and fold not in plan.jobs:
        raise FoveateError(f"no fold {fold!r}; the sheet has {', '.join(plan.jobs)}")
    return list(plan.jobs) if fold is None else [fold]


def _train(options: argparse.Namespace) -> None:
    config, plan = _plan(options)
    names = _jobs(plan, options.fold)
    folds = {name: fold for name in names if (fold := plan.jobs[name].fold) is not None}
    if not folds:
        raise FoveateError(f"nothing to train: predict.weights names {config.predict.weights}")
    from foveate.stages import train

    for name, fold in folds.items():
        samples = plan.of(plan.jobs[name].learned)
        train.run(config, samples, fold, options.results / "overview", options.results / "train" / name)


def _predict(options: argparse.Namespace) -> None:
    config, plan = _plan(options)
    names = _jobs(plan, options.fold)
    from foveate.stages import predict

    for name in names:
        trained = options.results / "train" / name
        weights = Path(config.predict.weights or trained / "model.keras")
        over_patients = config.predict.patient_weights or (
            trained / "patient.keras" if config.patient_agent.on and not config.predict.weights else None
        )
        for planned in (p for p in plan.predictions if p.fold == name):
            predict.run(
                config,
                plan.of(planned.slides),
                options.results / "overview",
                weights,
                planned.below(options.results),
                fold=name,
                patient_weights=Path(over_patients) if over_patients else None,
            )


def _compare(options: argparse.Namespace) -> None:
    config, plan = _plan(options)
    names = _jobs(plan, options.fold)
    from foveate.stages import compare
    from foveate.stages.comparison.roles import roles

    folder: Path = options.results / "compare"
    for name in names:
        weights = Path(config.predict.weights or options.results / "train" / name / "model.keras")
        compare.run(config, plan.used, roles(plan, name), options.results / "overview", weights, folder / f"{name}.h5")
    files = [folder / f"{name}.h5" for name in plan.jobs]
    if all(path.exists() for path in files):
        compare.summarise(config, plan, files, folder / "compare.tsv")
        log.info("%s", folder / "compare.tsv")


def _stage(options: argparse.Namespace) -> int:
    from foveate.stages import patients, slides

    config, plan = _plan(options)
    results: Path = options.results
    table, summary = results / "predictions" / "slides.tsv", results / "summary.txt"
    trained = [name for name, job in plan.jobs.items() if job.fold is not None]
    predictions = [planned.below(results) for planned in plan.predictions]
    slides.run(
        plan,
        results / "status",
        predictions,
        [results / "train" / name / "dropped.json" for name in trained],
        table,
        summary,
    )
    files = [results / name for name in ("patients.tsv", "submission.csv", "metrics.json")]
    labels, bootstrap = patient_labels(plan.samples), config.patients.bootstrap
    patients.run(table, labels, *files, predictions=predictions, bootstrap=bootstrap)
    print(slides.verdict(table, summary), end="")
    return 0


def _report(options: argparse.Namespace) -> None:
    from foveate.stages import report

    _, plan = _plan(options)
    results: Path = options.results
    report.run(
        overviews=results / "overview",
        statuses=results / "status",
        predictions=[planned.below(results) for planned in plan.predictions],
        slides_tsv=results / "predictions" / "slides.tsv",
        patients_tsv=results / "patients.tsv",
        metrics_json=results / "metrics.json",
        histories={n: results / "train" / n / "history.csv" for n, job in plan.jobs.items() if job.fold is not None},
        comparison=results / "compare" / "compare.tsv",
        out=results / "report" / "index.html",
        progress=sys.stderr.isatty(),
    )


def _view(options: argparse.Namespace) -> None:
    from foveate.view.server import serve

    serve(options.results, options.port, browser=not options.no_browser)


def _export(options: argparse.Namespace) -> None:
    from foveate.stages import export

    config, plan = _plan(options)
    results: Path = options.results
    samples = _named(options, config, plan)
    wanted = {sample.slide for sample in samples}
    files = [planned.below(results) for planned in plan.predictions if not wanted.isdisjoint(planned.slides)]
    for path in files:
        if not path.exists():
            log.warning("%s does not exist; of slides in no other file only tissue and annotations are written", path)
    export.run(samples, results / "overview", [path for path in files if path.exists()], results / "export")
