"""How many images a second the attention model learns from and answers, and what a larger image costs.

    python benchmarks/digits.py                            (three minutes)
    KERAS_BACKEND=jax python benchmarks/digits.py          (the same through JAX)

The model of the paper on digits of 28 px: batches of 128, 6 glimpses of 8 x 8, core of 256 with ReLU; Adam. One process
measures with one thread and one with all cores; each takes the best of its rounds, because the machine may be busy, and
between the rounds the rate of a product of two 2048 x 2048 matrices in the same library: the peak. Floating-point
operations are those of the matrix products; an update counts as three times an answer. The last table shows the time of
an update for larger images with the same glimpses, over that at 28 px, with the images' move and without. The last line
is one JSON object.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

BATCH, STEPS, PX, UNITS, BATCHES, ROUNDS = 128, 6, 8, 256, 40, 7
SIDES = (28, 100, 400)
PEAK_SIDE = 2048


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, help="measure in this process with so many threads (used by itself)")
    options = parser.parse_args()
    if options.threads:
        print(json.dumps(measured()))
        return
    cores = len(os.sched_getaffinity(0))
    one, every = (_child(threads) for threads in (1, cores))
    print(f"{one['backend']}, {one['mflop']:.2f} MFLOP an answer, {3 * one['mflop']:.2f} an update of one image")
    print(
        f"{'threads':>8} {'train/s':>9} {'infer/s':>9} {'peak GFLOP/s':>13} {'share, train':>13} {'share, infer':>13}"
    )
    for threads, found in ((1, one), (cores, every)):
        print(
            f"{threads:>8} {found['train']:>9,.0f} {found['infer']:>9,.0f} {found['peak']:>13.0f} "
            f"{_share(found, 'train'):>13.2f} {_share(found, 'infer'):>13.2f}"
        )
    print(f"{'px':>8} {'update':>8} {'without its move':>17}    (over 28 px, one thread)")
    cost = {side: _without_move(one, side) / _without_move(one, SIDES[0]) for side in SIDES}
    for side in SIDES:
        print(f"{side:>8} {one['update'][str(side)] / one['update'][str(SIDES[0])]:>8.2f} {cost[side]:>17.2f}")
    last = {"backend": one["backend"], "train_1": one["train"], "infer_1": one["infer"]}
    last |= {"train_all": every["train"], "infer_all": every["infer"], "peak_share_1": _share(one, "train")}
    last |= {f"cost_{side}": cost[side] for side in SIDES[1:]}
    print(json.dumps({name: round(v, 3) if isinstance(v, float) else v for name, v in last.items()}))


def _share(found: dict[str, Any], kind: str) -> float:
    return found[kind] * found["mflop"] * (3 if kind == "train" else 1) / 1000 / found["peak"]  # type: ignore[no-any-return]


def _without_move(found: dict[str, Any], side: int) -> float:
    return found["update"][str(side)] - found["move"][str(side)]  # type: ignore[no-any-return]


def _child(threads: int) -> dict[str, Any]:
    """Measure in a process of its own: the number of threads cannot change within one."""
    command = [sys.executable, str(Path(__file__)), "--threads", str(threads)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment |= {f"TF_NUM_{kind}_THREADS": str(threads) for kind in ("INTEROP", "INTRAOP")}
    cores = sorted(os.sched_getaffinity(0))[:threads]
    done = subprocess.run(
        command, env=environment, check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def measured() -> dict[str, Any]:
    """Images a second, peak in GFLOP/s, MFLOP an answer; by the image's side, seconds of an update and of its move."""
    import keras

    works = {side: Work(side) for side in SIDES}
    first = works[SIDES[0]]
    clocks: dict[tuple[str, int], Callable[[], float]] = {("infer", 0): first.infer, ("peak", 0): _peak()}
    for side, work in works.items():
        clocks |= {("train", side): work.train, ("move", side): work.move}
    times: dict[tuple[str, int], list[float]] = {name: [] for name in clocks}
    for _ in range(ROUNDS):
        for name, clock in clocks.items():
            times[name].append(clock())
    seconds = {name: min(found) for name, found in times.items()}
    return {
        "backend": keras.backend.backend(),
        "mflop": first.mflop,
        "peak": 2 * PEAK_SIDE**3 / seconds["peak", 0] / 1e9,
        "train": BATCH / seconds["train", SIDES[0]],
        "infer": BATCH / seconds["infer", 0],
        "update": {side: seconds["train", side] for side in SIDES},
        "move": {side: seconds["move", side] for side in SIDES},
    }


class Work:
    """An update and an answer of one batch of images `side` px wide: methods that give seconds a batch."""

    def __init__(self, side: int) -> None:
        import keras
        import numpy as np

        from foveate.attention.array_agent import ArrayAgent
        from foveate.attention.array_learner import ArrayLearner, HybridLoss, compiles

        keras.utils.set_random_seed(0)
        agent = ArrayAgent(classes=10, steps=STEPS, px=PX, core={"name": "relu", "units": UNITS})
        agent.build({"images": (None, 1, side, side, 1)})
        # each matrix is used once a glimpse
        self.mflop = 2 * STEPS * sum(math.prod(w.shape) for w in agent.trainable_weights if len(w.shape) == 2) / 1e6
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (BATCH, 1, side, side, 1)).astype(np.uint8)
        batch = {"images": images}, rng.integers(0, 10, BATCH).astype(np.int32)

        class Answers(keras.Model):
            def call(self, inputs: dict[str, Any]) -> Any:
                return agent(inputs)["logits"][:, -1]

        class Blind(keras.Model):
            def call(self, inputs: dict[str, Any]) -> Any:
                return inputs["images"][:, 0, 0, 0, 0]

        self.batches, self.learner = _repeated(batch), ArrayLearner(agent, HybridLoss())
        self.answers, self.blind = Answers(), Blind()
        how = {"jit_compile": compiles(), "steps_per_execution": 1 if compiles() else 10}
        for model in (self.answers, self.blind):
            model.compile(**how)
        self.learner.compile(optimizer=keras.optimizers.Adam(1e-3), **how)
        self.train()
        self.infer()
        self.move()

    def train(self) -> float:
        return _seconds(lambda: self.learner.fit(self.batches, verbose=0))

    def infer(self) -> float:
        return _seconds(lambda: self.answers.predict(self.batches, verbose=0))

    def move(self) -> float:
        """The same images to a model that looks at one pixel."""
        return _seconds(lambda: self.blind.predict(self.batches, verbose=0))


def _repeated(batch: Any) -> Any:
    """The same batch `BATCHES` times, in the form that costs a backend least."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.optimizer.set_experimental_options({"remapping": False})  # as in foveate.digits.training
        return tf.data.Dataset.from_tensors(batch).repeat(BATCHES)

    class Same(keras.utils.PyDataset):
        def __len__(self) -> int:
            return BATCHES

        def __getitem__(self, index: int) -> Any:
            return batch

    return Same()


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) / BATCHES


def _peak() -> Callable[[], float]:
    import numpy as np
    from keras import ops

    matrix = ops.convert_to_tensor(np.random.default_rng(0).random((PEAK_SIDE, PEAK_SIDE), np.float32))

    def seconds() -> float:
        began = time.perf_counter()
        ops.convert_to_numpy(ops.matmul(matrix, matrix)[0, 0])
        return time.perf_counter() - began

    seconds()
    return seconds


if __name__ == "__main__":
    main()
