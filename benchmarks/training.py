"""Throughput of the training on slides: end to end, against reading alone and against the model alone.

    python benchmarks/training.py                  (about 6 minutes on two cores)

Makes the overviews of the configured cohort with Snakemake if they are not there, then runs epochs of the phase
`attend`, rollouts, updates and validation, three ways that take turns, after one epoch that compiles:

whole     as in training
reading   the reads of that epoch again, two half batches under way at a time as in training, and no model
model     the same number of glimpses out of memory, and no reading

Every way begins with closed slides and empty caches. efficiency is the time of the slower half over that of the
whole. The last line is one JSON object: efficiency, glimpses_per_s, device_waited, readers_waited, medians over rounds.
"""

import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from foveate.config import Config, read_config
from foveate.logs import quiet_libraries
from foveate.slides.overview_file import StoredOverview
from foveate.slides.sensor import Glimpses, GlimpseSensor
from foveate.stages.plan import read_plan

if TYPE_CHECKING:  # Keras is imported after the libraries were asked to be quiet
    from foveate.attention.agent import Agent

Call = tuple[list[StoredOverview], NDArray[np.floating]]


class WatchedSensor(GlimpseSensor):
    """Keeps what it was asked for, and gives `canned` glimpses in place of reading where there are any."""

    def __init__(self, agent: "Agent", threads: int) -> None:
        super().__init__(**agent.sensor, threads=threads)
        self.calls: list[Call] = []
        self.canned: NDArray[np.uint8] | None = None

    def start(
        self,
        overviews: Sequence[StoredOverview],
        locations_um: NDArray[np.floating],
        out: NDArray[np.uint8] | None = None,
    ) -> Callable[[], Glimpses]:
        if self.canned is not None:
            pixels = self.canned[: len(overviews)]
            return lambda: Glimpses(pixels, {})
        self.calls.append((list(overviews), locations_um))
        return super().start(overviews, locations_um, out)

    def open_ahead(self, overviews: Iterable[StoredOverview]) -> None:
        if self.canned is None:
            super().open_ahead(overviews)


def seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def measure(config: Config, results: Path, rounds: int) -> list[dict[str, float]]:
    from foveate.stages.determinism import seeded
    from foveate.stages.train import make_agent
    from foveate.stages.training.attend import Attend
    from foveate.stages.training.session import Session

    plan = read_plan(config)
    job = next(iter(plan.jobs.values()))
    if job.fold is None:
        raise SystemExit("this benchmark needs a configuration that trains")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        session = Session(config, plan.of(job.learned), job.fold, results / "overview", Path(folder))
        seeded(config.train.seed)
        agent = make_agent(config, session.prior)
        sensor = session.sensor = WatchedSensor(agent, config.train.threads)
        attend = Attend(session, agent, context=False, sight=False)
        attend.learner.optimizer.build(attend.learner.trainable_variables)
        attend.epoch(0)
        most = config.train.batch * config.train.copies
        glimpses = np.random.default_rng(1).integers(256, size=(most, *sensor.shape), dtype=np.uint8)
        for number in range(1, rounds + 1):
            sensor.forget()
            sensor.calls, busy = [], sensor.busy_s
            begun = time.perf_counter()
            figures = attend.epoch(number)
            whole = time.perf_counter() - begun
            idle = 1 - (sensor.busy_s - busy) / whole
            sensor.forget()
            calls, sensor.calls = sensor.calls, []
            reading = seconds(lambda calls=calls: deque(sensor.read_ahead(calls), maxlen=0))
            sensor.canned = glimpses
            model = seconds(lambda number=number: attend.epoch(number))
            sensor.canned = None
            row = {
                "efficiency": max(reading, model) / whole,
                "reading": reading / whole,
                "model": model / whole,
                "glimpses_per_s": figures["glimpses"] / whole,
                "device_waited": figures["waited_s"] / whole,
                "readers_waited": idle,
            }
            print(f"round {number}: " + " ".join(f"{k}={v:.3f}" for k, v in row.items()), flush=True)
            rows.append(row)
    return rows


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--batch", type=int, help="slides an update; that of the configuration where not given")
    options.add_argument("--config", type=Path, nargs="+", default=[Path("config/config.yaml")])
    options.add_argument("--results", type=Path, default=Path("results"))
    arguments = options.parse_args()
    quiet_libraries()
    files = ["--configfile", *map(str, arguments.config)]
    snakemake = [sys.executable, "-m", "snakemake", "--cores", "all", "--quiet", "--until", "overview", *files]
    subprocess.run(snakemake, check=True)
    config = read_config(*arguments.config)
    if arguments.batch:
        config = dataclasses.replace(config, train=dataclasses.replace(config.train, batch=arguments.batch))
    rows = measure(config, arguments.results, arguments.rounds)
    print(json.dumps({key: round(statistics.median(row[key] for row in rows), 3) for key in rows[0]}))


if __name__ == "__main__":
    main()
