"""What a look costs as slides grow, the overview being there: ratios between cohorts of the same slides in sizes.

    python benchmarks/size.py MODEL OVERVIEWS OVERVIEWS...     (seconds a round)

Each OVERVIEWS is a folder `results/overview`, the smallest slides first; MODEL a model.keras. All of a folder's slides
are one batch, read with cold caches of ours. The folders take turns. A line a folder: medians over rounds of
milliseconds a slide for the first glimpse and the look at the overview before it, for the other glimpses, and for all;
and of the ratios to the first folder of the same round, with the lowest and highest.
"""

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from foveate.config import read_config
from foveate.logs import quiet_libraries

PARTS = ("first", "others", "all")


def measure(model: Path, folders: Sequence[Path], glimpses: int, rounds: int) -> np.ndarray:
    """(rounds, folders, 3) seconds a slide of `PARTS`."""
    from foveate.slides.overview_file import read_overview
    from foveate.stages.comparison.looking import Looker
    from foveate.stages.keras_file import load_agent

    config = read_config(Path("config/config.yaml"))
    looker = Looker(load_agent(model), config.predict.threads, [1, glimpses], 1, config.tissue.cell_share)
    cohorts = [[o for path in sorted(folder.glob("*.h5")) if (o := read_overview(path))] for folder in folders]
    for folder, slides in zip(folders, cohorts, strict=True):
        if not slides:
            raise SystemExit(f"{folder}: no overview of a slide with tissue, {{slide}}.h5")
    taken = np.empty((rounds, len(folders), len(PARTS)))
    with looker.sensor:
        for number in range(rounds + 1):  # the first compiles
            for k, slides in enumerate(cohorts):
                looks = looker.look("learned", slides, np.random.default_rng(0))
                if looks.errors:
                    raise SystemExit("\n".join(looks.errors.values()))
                first, whole = looks.costs[:, 0, :, 0].mean(0)
                if number:
                    taken[number - 1, k] = first, whole - first, whole
    return taken


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("model", type=Path)
    options.add_argument("overviews", type=Path, nargs="+")
    options.add_argument("--glimpses", type=int, default=16)
    options.add_argument("--rounds", type=int, default=25)
    given = options.parse_args()
    quiet_libraries()
    taken = measure(given.model, given.overviews, given.glimpses, given.rounds)
    for k, folder in enumerate(given.overviews):
        shown = [f"{folder}:"]
        for part, seconds, ratio in zip(PARTS, taken[:, k].T, (taken[:, k] / taken[:, 0]).T, strict=True):
            shown.append(
                f"{part} {1e3 * statistics.median(seconds):.1f} ms, {statistics.median(ratio):.2f} times "
                f"({ratio.min():.2f} to {ratio.max():.2f});"
            )
        print(" ".join(shown))


if __name__ == "__main__":
    main()
