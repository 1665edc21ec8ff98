"""The command `foveate digits`: train on a task, look at the test images once, write what came out."""

import dataclasses
import hashlib
import json
import logging
import shutil
import time
from pathlib import Path
from typing import Any

import keras

from foveate import lock
from foveate.digits.feed import TEST, fixed
from foveate.digits.marks import error_rates, ways
from foveate.digits.mnist import load
from foveate.digits.pictures import path_animation, path_figure, write_gif, write_png
from foveate.digits.tasks import Task
from foveate.digits.training import glimpse_paths, make_agent, settle, train
from foveate.files import atomic, write_json
from foveate.stages.training.checkpoint import Checkpoint

log = logging.getLogger(__name__)
SHOWN = 16


def run(name: str, task: Task, mnist: Path | None, seed: int, out: Path, *, show: bool) -> dict[str, Any]:
    """Train on a task to the end and evaluate once. Returns what results.json holds.

    Goes on where an earlier run in the same folder was stopped; what is finished is not done again; a run with other
    settings is replaced, with a warning. Writes into `out`: results.json, agent.keras, paths.png, paths.gif,
    history.json, tensorboard/, checkpoint/.
    """
    with lock.take(out / ".lock", wait=False):
        settings = described(name, task, seed)
        results = out / "results.json"
        if results.exists():
            known = json.loads(results.read_text(encoding="utf-8"))
            if known["settings"] == settings:
                log.info("%s: done before", results)
                return known
        data = load(mnist)
        key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
        checkpoint = Checkpoint(out / "checkpoint", key)
        if checkpoint.load() is None and (out / "history.json").exists():
            log.warning("%s: holds a training with other settings, which is replaced; --out keeps both", out)
            shutil.rmtree(out / "tensorboard", ignore_errors=True)  # whose curves would go through those of this one
        began = time.process_time()
        settle(seed)
        agent = make_agent(task, seed)
        looks = ways(agent)
        train(task, data, seed, looks["greedy"], checkpoint, out, show=show)
        log.info("trained in %.0f CPU seconds; the test images", time.process_time() - began)
        test = fixed(task, data.test, TEST)
        marks = error_rates(looks, test)
        paths = glimpse_paths(task, looks["greedy"], test, SHOWN)
        write_png(out / "paths.png", path_figure(paths))
        write_gif(out / "paths.gif", path_animation(paths))
        with atomic(out / "agent.keras") as partial:
            agent.save(partial)
        found = {"settings": settings, "backend": keras.backend.backend(), "test": marks, "images": len(test[1])}
        write_json(results, found)
        return found


def described(name: str, task: Task, seed: int) -> dict[str, Any]:
    """What a training depends on, as JSON has it."""
    settings = {
        "task": name,
        "text": task.text,
        "agent": task.agent,
        "recipe": dataclasses.asdict(task.recipe),
        "loss": dataclasses.asdict(task.loss),
        "seed": seed,
    }
    return json.loads(json.dumps(settings))
