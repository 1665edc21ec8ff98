"""`foveate digits`: its options, and what it prints. The model is imported when it runs."""

import argparse
import sys
from pathlib import Path

from foveate.options import seed

TASK_NAMES = ("mnist28", "translated60", "cluttered60", "cluttered100", "group1", "group2", "group3")


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options to the command's parser."""
    command.add_argument("task", metavar="TASK", choices=TASK_NAMES, help=", ".join(TASK_NAMES))
    command.add_argument("--mnist", type=Path, metavar="FILE", help="mnist.npz (default: Keras downloads it)")
    command.add_argument("--out", type=Path, metavar="DIR", help="default: results/digits/TASK/SEED")
    command.add_argument("--seed", type=seed, default=1, help="0 to 4294967295 (default: 1)")
    for name, what in (
        ("agent", 'the model\'s settings, for example \'{"steps": 7, "core": "gru"}\''),
        ("recipe", "how it is trained, for example '{\"epochs\": 2}'"),
        ("loss", 'parts of the hybrid loss, for example \'{"reward": "dense"}\''),
    ):
        command.add_argument(f"--{name}", metavar="JSON", default="{}", help=f"change {what}")


def run_command(options: argparse.Namespace) -> None:
    """Train on a task, and print how often its ways to look are wrong. Raises FoveateError for what it cannot train."""
    from foveate.digits import run
    from foveate.digits.tasks import TASKS, changed

    task = changed(TASKS[options.task], **{name: getattr(options, name) for name in ("agent", "recipe", "loss")})
    out = options.out or Path("results/digits") / options.task / str(options.seed)
    show = sys.stderr.isatty() and not options.quiet
    found = run.run(options.task, task, options.mnist, options.seed, out, show=show)
    print(f"{options.task}, seed {options.seed}, {found['images']} test images: error in %, glimpses")
    for way, mark in found["test"].items():
        print(f"{way:>10}  {100 * mark['error']:6.2f}  {mark['glimpses']:6.1f}")
    print(f"{out}: results.json, paths.png, paths.gif, tensorboard/")
