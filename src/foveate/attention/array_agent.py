"""The recurrent attention model for arrays: one image, or a group of images with one label.

The whole rollout is one graph: the agent picks an image and a place in it, sees a glimpse, and remembers.
"""

from typing import Any

import keras
from keras import ops

from foveate.attention import parts  # noqa: F401 - their names are registered
from foveate.attention.array_memory import Memory, detached, recall, remember
from foveate.attention.array_sensor import ArraySensor
from foveate.attention.policy import NEVER
from foveate.attention.registry import PACKAGE, Spec, make
from foveate.attention.settings import at_least, whole
from foveate.errors import FoveateError

EXPLORE = ("sampled", "greedy", "random")


@keras.saving.register_keras_serializable(PACKAGE)
class ArrayAgent(keras.Model):
    """Glimpse sensor and network, core, location network, picker, stop, action and baseline networks.

    (Mnih et al. 2014, figure 1; Ba et al. 2015 with `path` and `context`; Yarin 2017 for the group of images.)
    Each image has a core state of its own. Of a group, the sum of notes on its images decides the answer, so the
    order in which they were looked at does not matter.

    Parameters
    ----------
    classes : number K of classes.
    steps : glimpses T.
    px, scales : the sensor's side and number of squares.
    glimpse, core, location, picker, action, baseline : parts by name, or by name and settings (`registry.make`).
    path : a second core over the first, whose state chooses places: the deep model, DRAM. None: the first does.
    context : the network that looks at the whole image and begins the path's state; it needs a path. None: the path
        begins with zeros and the first glimpse is at the middle.
    stop : the network that may stop before T glimpses. None: it never does.
    start : without a context the first glimpse lies uniformly within this far of the middle, 0 to 1, in x and in y,
        also of a random agent; a greedy one takes the middle.
    note : length of what is noted on each image of a group.
    truncate : back-propagation through time reaches this many glimpses back at most (Williams and Peng 1990): the
        gradient ends after every so many. None: all.
    """

    def __init__(
        self,
        classes: int,
        steps: int,
        px: int,
        scales: int = 1,
        glimpse: Spec = "dense",
        core: Spec = "lstm",
        location: Spec = "gaussian",
        picker: Spec = "categorical",
        path: Spec | None = None,
        context: Spec | None = None,
        stop: Spec | None = None,
        action: Spec = "dense",
        baseline: Spec = "dense",
        start: float = 0.0,
        note: int = 64,
        truncate: int | None = None,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if context is not None and path is None:
            raise FoveateError("context: it begins the state of a second core; expected a core's name for path")
        for name, count in (("classes", classes), ("px", px), ("scales", scales), ("note", note)):
            whole(name, count)
        if truncate is not None:
            whole("truncate", truncate)
        whole("steps", steps, 2)  # a single glimpse leaves nothing to choose
        at_least("start", start, 0, 1)
        self.settings: dict[str, Any] = {
            "classes": classes, "steps": steps, "px": px, "scales": scales, "glimpse": glimpse, "core": core,
            "location": location, "picker": picker, "path": path, "context": context, "stop": stop, "action": action,
            "baseline": baseline, "start": start, "note": note, "truncate": truncate, "seed": seed,
        }  # fmt: skip
        self.steps, self.truncate = steps, truncate
        self.seeds = keras.random.SeedGenerator(seed)
        self.sensor = ArraySensor(px, scales, name="sensor")
        self.glimpse_network = make("glimpse", glimpse, "glimpse_network")
        self.core = make("core", core, "core")
        self.location_network = make("location", location, "location_network")
        self.picker = make("picker", picker, "picker")
        self.path_core = None if path is None else make("core", path, "path_core")
        self.context_network = None if context is None else make("context", context, "context_network")
        if self.context_network is not None and self.path_core is not None:
            given, wanted = self.context_network.units, self.path_core.units
            if given != wanted:
                raise FoveateError(f"context: {given} units; expected {wanted}, as of the path, whose state it begins")
        self.stop_network = None if stop is None else make("stop", stop, "stop_network")
        self.note_network = keras.layers.Dense(note, activation="relu", name="note_network")
        self.group_network = keras.layers.Dense(2 * note, activation="relu", name="group_network")
        self.action_network = make("action", action, "action_network", classes=classes)
        self.baseline_network = make("baseline", baseline, "baseline_network")

    def build(self, input_shape: dict[str, Any]) -> None:
        _, group, height, width, channels = input_shape["images"]
        px, scales, note = (self.settings[k] for k in ("px", "scales", "note"))
        self.glimpse_network.build((None, scales, px, px, channels), (None, 2))
        self.core.build((None, self.glimpse_network.features))
        chooser = self.core
        if self.path_core is not None:
            self.path_core.build((None, self.core.units))
            chooser = self.path_core
        if self.context_network is not None:
            self.context_network.build((None, height, width, channels))
        self.location_network.build((None, chooser.units))
        sight = self.core.units
        if group > 1:
            seen = note + 1 + (self.path_core.units if self.path_core is not None else 0)
            self.note_network.build((None, self.core.units))
            self.group_network.build((None, None, note))
            self.picker.build((None, note), (None, None, seen))
            sight = 2 * note
        if self.stop_network is not None:
            self.stop_network.build((None, None, sight))
        self.action_network.build((None, None, sight))
        self.baseline_network.build((None, None, sight))
        self.built = True

    def call(
        self, inputs: dict[str, Any], training: bool = False, explore: str = "sampled", copies: int = 1
    ) -> dict[str, Any]:
        """Roll out, `copies` (M) times for each of B rows; the copies of a row lie side by side, R = B * M.

        inputs: images (B, N, H, W, C) uint8. Optional: present (B, N) bool, False where a group has fewer images;
        allowed (B, N, cells) bool, where the location is a cell, at least one an image.
        explore: sampled, greedy, or random, whose choices are uniform over places and images and which never stops.

        Returns logits (R, T, K) after each glimpse; where (R, T, 2) x, y in [-1, 1]; picked (R, T); looked (R, T),
        1 for glimpses up to the stop; with a stop network stop (R, T), its logits after each glimpse. A rollout is made
        to its end whenever it stopped: what comes later is for learning. And of each choice, of which there are C = T,
        or T - 1 where no context tells where to look first: log_pi (R, C) of the place and the image; baseline (R, C)
        before it; entropy (R, C). The last C glimpses are those that the choices led to.
        """
        del training
        if explore not in EXPLORE:
            raise ValueError(f"explore must be one of {EXPLORE}. Received: {explore}")
        images = inputs["images"]
        count, group = ops.shape(images)[0], images.shape[1]
        rows, flat = count * copies, ops.reshape(images, (-1, *images.shape[2:]))
        present, allowed = (self._copied(inputs.get(name), copies) for name in ("present", "allowed"))
        first = ops.arange(rows, dtype="int32") // copies * group  # of the row's images, in the flat list of all
        layers, memory = self.sensor.focus(flat), self._begin(flat, rows, copies, group)
        noise = self._noise(rows, group, explore)
        picked = ops.zeros((rows,), "int32")
        made: dict[str, list[Any]] = {k: [] for k in ("sight", "log_pi", "entropy", "where", "picked")}
        for t in range(self.steps):
            log_pi = entropy = 0.0
            if group > 1:
                picked, log_pi, entropy = self._pick(memory, present, noise["pick"][t], explore)
            known = recall(memory, picked)
            if t == 0 and self.context_network is None:
                where = self._first(rows, explore)
            else:
                open_ = None if allowed is None else recall({"allowed": allowed}, picked)["allowed"]
                where, choice, distribution = self._place(known, open_, noise["place"][t], explore)
                if "tried" in known:
                    known["tried"] = self.location_network.visit(known["tried"], choice)
                made["log_pi"].append(log_pi + self.location_network.log_prob(distribution, choice))
                made["entropy"].append(entropy + self.location_network.entropy(distribution))
            new = self._absorb(known, self.sensor(layers, first + picked, where), where)
            memory = remember(memory, picked, new)
            made["sight"].append(ops.sum(memory["note"], axis=1) if group > 1 else memory["core0"])
            if self.truncate is not None and (t + 1) % self.truncate == 0:
                memory = detached(memory)
            made["where"].append(where)
            made["picked"].append(picked)
        return self._conclude({name: ops.stack(steps, axis=1) for name, steps in made.items()}, group, explore)

    def _copied(self, value: Any, copies: int) -> Any:
        if value is None:
            return None
        repeated = ops.repeat(ops.cast(value, "bool"), copies, axis=0)
        return repeated[:, 0] if len(value.shape) == 3 and value.shape[1] == 1 else repeated

    def _begin(self, images: Any, rows: Any, copies: int, group: int) -> Memory:
        """The memory before the first glimpse."""
        sizes = {f"core{k}": self.core.units for k in range(_states(self.core))}
        if self.path_core is not None:
            sizes |= {f"path{k}": self.path_core.units for k in range(_states(self.path_core))}
        if self.location_network.memory_size():
            sizes["tried"] = self.location_network.memory_size()
        if group > 1:
            sizes |= {"note": self.settings["note"], "visits": 1}
        lead = (rows, group) if group > 1 else (rows,)
        memory = {name: ops.zeros((*lead, size), self.compute_dtype) for name, size in sizes.items()}
        if self.context_network is not None and self.path_core is not None:
            begun = ops.reshape(self.context_network(images), (-1, *([group] * (group > 1)), self.path_core.units))
            memory["path0"] = ops.repeat(begun, copies, axis=0)
        return memory

    def _first(self, rows: Any, explore: str) -> Any:
        """Places (R, 2) of the first glimpse, which nobody chooses."""
        reach = self.settings["start"]
        if explore == "greedy" or not reach:
            return ops.zeros((rows, 2), self.compute_dtype)
        return keras.random.uniform((rows, 2), -reach, reach, self.compute_dtype, self.seeds)

    def _noise(self, rows: Any, group: int, explore: str) -> dict[str, Any]:
        """Random numbers for all steps at once; zeros, which no greedy choice reads, cost nothing."""
        place: Any = [None] * self.steps
        pick: Any = place
        if explore == "sampled":
            place = self.location_network.noise(rows * self.steps, self.seeds)
            place = ops.reshape(place, (self.steps, rows, place.shape[-1]))
        if explore != "greedy" and group > 1:
            pick = ops.reshape(self.picker.noise(rows * self.steps, group, self.seeds), (self.steps, rows, group))
        return {"place": place, "pick": pick}

    def _pick(self, memory: Memory, present: Any, noise: Any, explore: str) -> tuple[Any, Any, Any]:
        """Images (R,) to look at next; log-probability of that choice; entropy of the distribution."""
        notes = ops.stop_gradient(memory["note"])
        sees = [notes, memory["visits"]] + ([memory["path0"]] if self.path_core is not None else [])
        log_p = self.picker(ops.sum(notes, axis=1), ops.concatenate(sees, axis=-1), present)
        if explore == "greedy":
            picked = ops.cast(ops.argmax(log_p, axis=-1), "int32")
        elif explore == "sampled":
            picked = self.picker.sample(log_p, noise)
        else:
            picked = self.picker.sample(ops.zeros_like(log_p) if present is None else _masked(present), noise)
        return picked, self.picker.log_prob(log_p, picked), self.picker.entropy(log_p)

    def _place(self, known: Memory, allowed: Any, noise: Any, explore: str) -> tuple[Any, Any, Any]:
        """Places (R, 2) to look at next, the choices that led to them, and their distribution."""
        state = known["path0"] if self.path_core is not None else ops.stop_gradient(known["core0"])
        distribution = self.location_network(state, known.get("tried"), allowed)
        if explore == "greedy":
            choice = self.location_network.mode(distribution)
        elif explore == "sampled":
            choice = self.location_network.sample(distribution, noise)
        else:
            choice = self.location_network.anywhere(ops.shape(state)[0], allowed, self.seeds)
        return self.location_network.place(choice), choice, distribution

    def _absorb(self, known: Memory, pixels: Any, where: Any) -> Memory:
        """What is remembered of an image after one more glimpse of it."""
        seen = self.glimpse_network(pixels, where)
        out, states = self.core(seen, [known[f"core{k}"] for k in range(_states(self.core))])
        new = {f"core{k}": state for k, state in enumerate(states)}
        if self.path_core is not None:  # REINFORCE alone teaches the path: it must not reach what sees
            path = [known[f"path{k}"] for k in range(_states(self.path_core))]
            new |= {f"path{k}": state for k, state in enumerate(self.path_core(ops.stop_gradient(out), path)[1])}
        if "tried" in known:
            new["tried"] = known["tried"]
        if "note" in known:
            new |= {"note": self.note_network(out), "visits": known["visits"] + 1}
        return new

    def _conclude(self, made: dict[str, Any], group: int, explore: str) -> dict[str, Any]:
        """Answers, baselines and stops of all steps at once."""
        sight = self.group_network(made.pop("sight")) if group > 1 else made.pop("sight")
        detached_sight = ops.stop_gradient(sight)
        before = detached_sight[:, :-1]
        if made["log_pi"].shape[1] == self.steps:  # the first choice comes before anything was seen
            before = ops.concatenate([ops.zeros_like(sight[:, :1]), before], axis=1)
        return {
            **made,
            **self._stops(detached_sight, explore),
            "logits": self.action_network(sight),
            "baseline": self.baseline_network(before)[..., 0],
        }

    def _stops(self, sight: Any, explore: str) -> dict[str, Any]:
        """looked (R, T), and with a stop network its logits."""
        if self.stop_network is None:
            return {"looked": ops.ones_like(sight[..., 0])}
        logit = self.stop_network(sight)
        if explore == "random":
            stopped = ops.zeros_like(logit, dtype="bool")
        elif explore == "greedy":
            stopped = self.stop_network.mode(logit)
        else:
            stopped = self.stop_network.sample(logit, self.seeds)
        going = ops.cumprod(1.0 - ops.cast(stopped[:, :-1], self.compute_dtype), axis=1)
        return {"looked": ops.concatenate([ops.ones_like(going[:, :1]), going], axis=1), "stop": logit}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.settings}


def _states(core: keras.layers.Layer) -> int:
    """How many tensors a core's state is."""
    return len(core.state_size) if isinstance(core.state_size, (list, tuple)) else 1


def _masked(present: Any) -> Any:
    return ops.where(present, 0.0, NEVER)
