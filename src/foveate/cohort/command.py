"""`foveate samples`: its options, and the sheet that it writes. What makes cohorts is imported when it runs."""

import argparse
import logging
from pathlib import Path

from foveate.cohort.samples import Sample, write_samples
from foveate.config import Config, read_config
from foveate.errors import FoveateError
from foveate.options import seed

log = logging.getLogger(__name__)


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options to the command's parser."""
    sources = command.add_mutually_exclusive_group(required=True)
    for name, metavar, text in (
        ("camelyon17", "DIR", "folder with images/ or center_*/, annotations/, stage_labels.csv"),
        ("camelyon16", "DIR", "folder with training/, testing/, reference.csv"),
        ("demo", "CONFIG", "the demo cohort as a configuration file describes it"),
    ):
        sources.add_argument(f"--{name}", type=Path, metavar=metavar, help=text)
    command.add_argument("--out", type=Path, default=Path("config/samples.tsv"), help="default: config/samples.tsv")
    command.add_argument("--force", action="store_true", help="replace an existing sheet")
    shares = command.add_argument_group("how labelled patients of a challenge are divided, stage by stage")
    shares.add_argument("--test", type=float, metavar="SHARE", help="of CAMELYON17's, to test on (default: 0.3)")
    shares.add_argument("--val", type=float, metavar="SHARE", help="to choose the model by (default: 0.15)")
    shares.add_argument("--seed", type=seed, help="of the draw (default: 0)")


def run_command(options: argparse.Namespace) -> None:
    """Write the sheet. Raises FoveateError when it exists, and for options that do not go together."""
    if options.out.exists() and not options.force:
        raise FoveateError(f"{options.out} exists; --force replaces it, --out writes elsewhere")
    samples = _samples(options)
    write_samples(samples, options.out)
    log.info("%s: %d slides of %d patients", options.out, len(samples), len({s.patient for s in samples}))


def _samples(options: argparse.Namespace) -> list[Sample]:
    from foveate.cohort.camelyon import camelyon16, camelyon17

    given = {name: getattr(options, name) for name in ("test", "val", "seed")}
    given = {name: value for name, value in given.items() if value is not None}
    if options.camelyon17:
        return camelyon17(options.camelyon17, **given)
    fixed = sorted(given.keys() - ({"val", "seed"} if options.camelyon16 else set()))
    if fixed:
        cohort = "CAMELYON16" if options.camelyon16 else "the demo cohort"
        raise FoveateError(f"--{fixed[0]}: {cohort} says itself which slides it is tested on")
    return camelyon16(options.camelyon16, **given) if options.camelyon16 else demo_samples(read_config(options.demo))


def demo_samples(config: Config) -> list[Sample]:
    """The rows of the demo cohort's sheet."""
    from foveate.cohort.demo import plan

    folder = Path(config.demo.folder)
    return [
        Sample(
            slide=s.name,
            patient=s.patient,
            path=folder / "images" / f"{s.name}.tif",
            label=s.label,
            annotation=folder / "annotations" / f"{s.name}.xml",
            patient_label=s.patient_label,
            split=s.split,
            center=str(s.center),
        )
        for s in plan(config.demo.patients, config.demo.seed)
    ]
