"""The recurrent attention model for arrays: one image, or a group of images with one label.

The whole rollout is one graph: the agent picks an image and a place in it, sees a glimpse, and remembers.
"""

from typing import Any

import keras
from keras import ops

from foveate.attention import parts  # noqa: F401 - their names are registered
from foveate.attention.array_sensor import ArraySensor
from foveate.attention.policy import NEVER
from foveate.attention.registry import PACKAGE, make


@keras.saving.register_keras_serializable(PACKAGE)
class ArrayAgent(keras.Model):
    """Glimpse sensor and network, core, location network, picker, action network and baseline.

    (Mnih et al. 2014, figure 1; Yarin 2017 for the group of images.)

    Parameters
    ----------
    classes : number K of classes.
    steps : glimpses T.
    px, scales : the sensor's side and number of squares.
    glimpse, core, location, picker : names in the registry.
    features, state, note : lengths of the glimpse vector, of the core's state, of what is noted on each image.
    std : standard deviation of the location.
    """

    def __init__(
        self,
        classes: int,
        steps: int,
        px: int,
        scales: int = 1,
        glimpse: str = "dense",
        core: str = "lstm",
        location: str = "gaussian",
        picker: str = "categorical",
        features: int = 256,
        state: int = 256,
        note: int = 16,
        std: float = 0.1,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.settings: dict[str, Any] = {
            "classes": classes, "steps": steps, "px": px, "scales": scales, "glimpse": glimpse, "core": core,
            "location": location, "picker": picker, "features": features, "state": state, "note": note, "std": std,
            "seed": seed,
        }  # fmt: skip
        self.explore = "sampled"  # or greedy, or random: uniform places and images
        self.copies = 1
        self.seeds = keras.random.SeedGenerator(seed)
        self.sensor = ArraySensor(px, scales, name="sensor")
        self.glimpse_network = make("glimpse", glimpse, features=features, name="glimpse_network")
        self.core = make("core", core, units=state, name="core")
        self.location_network = make("location", location, std=std, name="location_network")
        self.picker = make("picker", picker, name="picker")
        self.note_network = keras.layers.Dense(note, activation="relu", name="note_network")
        self.action_network = keras.layers.Dense(classes, name="action_network")
        self.baseline_network = keras.layers.Dense(1, name="baseline_network")

    def build(self, input_shape: dict[str, Any]) -> None:
        _, group, _, _, channels = input_shape["images"]
        px, scales, state, note = (self.settings[k] for k in ("px", "scales", "state", "note"))
        self.glimpse_network.build((None, scales, px, px, channels), (None, 2))
        self.core.build((None, self.settings["features"] + note + 1))
        self.location_network.build((None, state + note + 1))
        if group > 1:
            self.picker.build((None, state), (None, None, note + 1))
        self.note_network.build((None, state))
        self.action_network.build((None, state + note))
        self.baseline_network.build((None, state + note))
        self.built = True

    def call(self, inputs: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Roll out, `self.copies` (M) times for each row.

        inputs: images (B, N, H, W, C), 0 to 1; present (B, N) bool, False where a group has fewer images. The copies
        of a row lie side by side. Returns logits (B * M, T, K) after each glimpse; where (B * M, T, 2) x, y in [-1, 1];
        picked (B * M, T); and of each choice, T - 1 of them because the first looks at the middle of an image of which
        nothing is known: log_pi (B * M, T - 1), of the place and the image; baseline (B * M, T - 1) before it.
        """
        del training
        images, present = inputs["images"], ops.cast(inputs["present"], "bool")
        count, group = ops.shape(images)[0], images.shape[1]
        rows = count * self.copies
        present = ops.repeat(present, self.copies, axis=0)
        first = ops.arange(rows) // self.copies * group  # of the row's images, in the flat list of all
        flat = ops.reshape(images, (-1, *images.shape[2:]))
        states = self._start(rows)
        out = sight = states[0]
        picked, log_pick = ops.zeros((rows,), "int32"), 0.0  # the only image there is
        notes = ops.zeros((rows, group, self.settings["note"] + 1), self.compute_dtype)
        made: dict[str, list[Any]] = {k: [] for k in ("logits", "baseline", "log_pi", "where", "picked")}
        for t in range(self.settings["steps"]):
            if group > 1:
                picked, log_pick = self._pick(out, notes, present)
            known = _of(notes, picked)
            if t == 0:
                where = ops.zeros((rows, 2), self.compute_dtype)
            else:
                made["baseline"].append(self.baseline_network(ops.stop_gradient(sight))[:, 0])
                where, log_place = self._place(out, known)
                made["log_pi"].append(log_pick + log_place)
            pixels = self._look(images, flat, first + picked, where)
            seen = self.glimpse_network(pixels, where)
            out, states = self.core(ops.concatenate([seen, known], -1), states)
            notes = self._note(notes, picked, out)
            sight = ops.concatenate([out, ops.sum(notes[..., :-1], axis=1)], -1)
            made["logits"].append(self.action_network(sight))
            made["where"].append(where)
            made["picked"].append(picked)
        return {name: ops.stack(steps, axis=1) for name, steps in made.items()}

    def _start(self, rows: Any) -> list[Any]:
        zeros = ops.zeros((rows, self.settings["state"]), self.compute_dtype)
        return [zeros, zeros] if self.settings["core"] == "lstm" else [zeros]

    def _pick(self, out: Any, notes: Any, present: Any) -> tuple[Any, Any]:
        """Images (R,) to look at next, and the log-probability of that choice."""
        log_p = self.picker(ops.stop_gradient(out), ops.stop_gradient(notes), present)
        if self.explore == "greedy":
            picked = ops.cast(ops.argmax(log_p, axis=-1), "int32")
        elif self.explore == "random":
            picked = self.picker.sample(ops.where(present, 0.0, NEVER), self.seeds)
        else:
            picked = self.picker.sample(log_p, self.seeds)
        return picked, self.picker.log_prob(log_p, picked)

    def _place(self, out: Any, known: Any) -> tuple[Any, Any]:
        """Places (R, 2) to look at next, clipped, and the log-density of what was drawn."""
        shape = (ops.shape(out)[0], 2)
        distribution = self.location_network(ops.stop_gradient(ops.concatenate([out, known], -1)))
        if self.explore == "greedy":
            drawn = ops.stop_gradient(distribution[0])
        elif self.explore == "random":
            drawn = keras.random.uniform(shape, -1.0, 1.0, self.compute_dtype, self.seeds)
        else:
            drawn = self.location_network.sample(distribution, self.seeds)
        return ops.clip(drawn, -1.0, 1.0), self.location_network.log_prob(distribution, drawn)

    def _look(self, images: Any, flat: Any, index: Any, where: Any) -> Any:
        """Glimpses (R, S, g, g, C)."""
        if images.shape[1] == 1:  # the copies of an image share it
            places = ops.reshape(where, (ops.shape(images)[0], self.copies, 2))
            seen = self.sensor(flat, places)
            return ops.reshape(seen, (-1, *seen.shape[2:]))
        return self.sensor(ops.take(flat, index, axis=0), where[:, None])[:, 0]

    def _note(self, notes: Any, picked: Any, out: Any) -> Any:
        """Notes (R, N, F + 1) with what was seen of the picked image, and one more visit to it."""
        here = ops.one_hot(picked, ops.shape(notes)[1], dtype=self.compute_dtype)[..., None]
        seen = self.note_network(out)[:, None]
        visits = notes[..., -1:] + here
        return ops.concatenate([notes[..., :-1] * (1 - here) + seen * here, visits], -1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.settings}


def _of(notes: Any, picked: Any) -> Any:
    """The notes (R, F) on the picked images."""
    return ops.take_along_axis(notes, picked[:, None, None], axis=1)[:, 0]
