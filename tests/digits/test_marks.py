import keras
import numpy as np

from foveate.attention.array_agent import ArrayAgent
from foveate.attention.array_learner import Rollouts
from foveate.digits import marks


def agent(**settings: object) -> ArrayAgent:
    keras.utils.set_random_seed(0)
    made = ArrayAgent(classes=2, steps=3, px=4, start=1.0, **settings)  # type: ignore[arg-type]
    made.build({"images": (None, 1, 8, 8, 1)})
    return made


IMAGES = {"images": np.random.default_rng(0).integers(0, 256, (7, 1, 8, 8, 1)).astype(np.uint8)}


def test_rows_come_back_in_order_and_as_many_as_were_asked_for() -> None:
    made = agent()
    whole = marks.rolled(Rollouts(made, "greedy"), IMAGES)
    assert whole["logits"].shape == (7, 3, 2)
    expected = keras.ops.convert_to_numpy(made(IMAGES, explore="greedy")["logits"])
    np.testing.assert_allclose(whole["logits"], expected, atol=1e-5)
    several = marks.rolled(Rollouts(made, "sampled", 3), IMAGES)
    assert several["logits"].shape == (21, 3, 2)


def test_error_rates_count_wrong_answers_of_every_way_to_look() -> None:
    made = agent()
    bias = made.action_network.bias
    bias.assign([0.0, 50.0])  # whatever it sees, it says 1
    labels = np.array([1, 1, 1, 1, 1, 0, 0], np.int32)
    found = marks.error_rates(marks.ways(made), (IMAGES, labels))
    assert set(found) == {"greedy", "sampled", "m10", "random"}
    for way, mark in found.items():
        assert abs(mark["error"] - 2 / 7) < 1e-6
        assert mark["glimpses"] == (30 if way == "m10" else 3)


def test_an_agent_that_stops_is_asked_after_its_last_glimpse() -> None:
    made = agent(stop={"name": "bernoulli", "start": 0.999})  # stops after the first glimpse
    answer, glimpses = marks.answers(Rollouts(made, "greedy"), IMAGES)
    assert glimpses == 1
    first = keras.ops.convert_to_numpy(made(IMAGES, explore="greedy")["logits"])[:, 0]
    np.testing.assert_allclose(answer, first, atol=1e-5)
