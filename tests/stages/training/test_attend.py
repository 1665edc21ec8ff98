from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foveate.errors import FoveateError, SlideError
from foveate.stages.determinism import seeded
from foveate.stages.train import make_agent
from foveate.stages.training import attend as attend_module
from foveate.stages.training.attend import Attend
from foveate.stages.training.pace import rate
from foveate.stages.training.session import Session


@pytest.fixture(scope="module")
def cohort(cohort: Any) -> Any:
    """The cohort, two updates an epoch."""
    return cohort.tuned(train={"batch": 4})


def start(cohort: Any, out: Path, *, context: bool = False, sight: bool = False) -> tuple[Session, Attend]:
    session = Session(cohort.config, cohort.samples, cohort.fold, cohort.overviews, out)
    seeded(cohort.config.train.seed)
    return session, Attend(session, make_agent(cohort.config, session.prior), context=context, sight=sight)


def drawn(attend: Attend, seed: int = 0) -> list[list[str]]:
    """Slides of each batch."""
    return [[o.slide for o in batch] for batch in attend._batches(np.random.default_rng(seed))]


def test_batches_hold_every_class_equally_often(cohort: Any, tmp_path: Path) -> None:
    # 3 negative slides, 1 itc, 1 micro, 1 macro: two full batches of four, two draws of each class
    _, attend = start(cohort, tmp_path)
    for seed in range(5):
        batches = drawn(attend, seed)
        assert [len(batch) for batch in batches] == [4, 4]
        counts = Counter(name for batch in batches for name in batch)
        assert Counter({n: k for n, k in counts.items() if n[:3] != "neg"}) == {"itc_a": 2, "micro_a": 2, "macro_a": 2}
        assert sorted(k for n, k in counts.items() if n[:3] == "neg") == [1, 1]


def test_slides_of_a_class_take_turns(cohort: Any, tmp_path: Path) -> None:
    two = cohort.split(["neg_a", "neg_b", "neg_c", "macro_a"], []).tuned(train={"batch": 14})
    _, attend = start(two, tmp_path)
    counts = Counter(drawn(attend)[0])
    assert counts["macro_a"] == 7
    assert sorted(counts.values()) == [2, 2, 3, 7]


def test_batches_are_named_by_their_stream(cohort: Any, tmp_path: Path) -> None:
    _, attend = start(cohort, tmp_path)
    assert drawn(attend, 3) == drawn(attend, 3)
    assert drawn(attend, 3) != drawn(attend, 4)


def test_dropped_slides_are_in_no_batch(cohort: Any, tmp_path: Path) -> None:
    session, attend = start(cohort, tmp_path)
    session.drop(SlideError("neg_b", "a reason"))
    assert "neg_b" not in {name for seed in range(5) for batch in drawn(attend, seed) for name in batch}
    for slide in session.train:
        session.drop(SlideError(slide.slide, "a reason"))
    with pytest.raises(FoveateError, match="no training slide can be read"):
        drawn(attend)


def test_an_epoch(cohort: Any, eager: None, tmp_path: Path) -> None:
    session, attend = start(cohort, tmp_path)
    agent = attend._agent
    fixed = {id(v) for layer in (*agent.glimpse_network.sight, agent.context_network) for v in layer.weights}
    before = {v.path: v.numpy() for v in agent.weights}
    figures = attend.epoch(0)
    parts = {"cross_entropy", "reinforce", "baseline_error", "guidance", "entropy", "reward", "accuracy"}
    assert set(figures) == {"loss", *parts, "val_loss", "val_accuracy", "learning_rate", "glimpses", "waited_s"}
    assert all(np.isfinite(value) for value in figures.values())
    assert figures["glimpses"] == (8 + 2) * 2
    assert figures["guidance"] > 0
    assert figures["learning_rate"] == cohort.config.train.learning_rate
    assert session.state.best == figures["val_loss"]
    for variable in agent.weights:
        if id(variable) in fixed:
            np.testing.assert_array_equal(variable.numpy(), before[variable.path])
    for network in (agent.policy, agent.core, agent.action_network, agent.baseline_network):
        assert any(not np.array_equal(v.numpy(), before[v.path]) for v in network.weights), network.name


@pytest.mark.parametrize("sight", [False, True])
def test_without_annotations_a_sight_that_was_taught_guides(
    labelled: Any, eager: None, tmp_path: Path, *, sight: bool
) -> None:
    _, attend = start(labelled, tmp_path, sight=sight)
    guidance = attend.epoch(0)["guidance"]
    assert guidance == 0 if sight else guidance > 0


def test_copies_are_rolled_out_and_counted(cohort: Any, eager: None, tmp_path: Path) -> None:
    _, attend = start(cohort.tuned(train={"copies": 3}), tmp_path)
    figures = attend.epoch(0)
    assert figures["glimpses"] == (8 * 3 + 2) * 2
    assert all(np.isfinite(value) for value in figures.values())


def test_a_price_changes_nothing_that_learns_here(cohort: Any, eager: None, tmp_path: Path) -> None:
    ended = []
    for price in (0.0, 0.5):
        _, attend = start(cohort.tuned(train={"price": price}), tmp_path / str(price))
        figures = attend.epoch(0)
        figures.pop("waited_s")
        ended.append((figures, attend._agent))
    (without, plain), (figures, priced) = ended
    assert figures == without
    for one, other in zip(plain.weights, priced.weights, strict=False):  # the stop network's come last
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    assert not any(v.numpy().any() for v in priced.stop_network.logit.weights[:1])


def test_an_epoch_is_the_same_again(cohort: Any, eager: None, tmp_path: Path) -> None:
    ends = []
    for number in (0, 0, 1):
        _, attend = start(cohort, tmp_path)
        attend.epoch(number)
        ends.append(np.concatenate([w.ravel() for w in attend._agent.get_weights()]))
    np.testing.assert_array_equal(ends[0], ends[1])
    assert not np.array_equal(ends[0], ends[2])


def test_what_is_recorded_is_what_the_pixels_give(cohort: Any, eager: None, tmp_path: Path) -> None:
    """The same update, on pixels and overviews and on what was made of them, in halves and with copies."""
    given = []
    for learns in (False, True):
        _, attend = start(cohort.tuned(train={"copies": 2}), tmp_path, context=learns, sight=learns)
        attend.learner.train_on_batch = lambda x, **_: given.append(x) or {}
        attend._update(next(attend._batches(np.random.default_rng(0))), np.random.default_rng(1))
    assert set(given[0]) - set(given[1]) == {"scene", "seen", "seen_logits"}
    made, remade = (attend._agent(x) for x in given)
    for name in made:
        np.testing.assert_allclose(made[name], remade[name], atol=1e-4)


def test_the_context_network_learns_where_it_was_not_taught_before(cohort: Any, eager: None, tmp_path: Path) -> None:
    _, attend = start(cohort, tmp_path, context=True)
    network = attend._agent.context_network
    before = network.get_weights()
    attend.epoch(0)
    assert all(not np.array_equal(a, b) for a, b in zip(before, network.get_weights(), strict=True))


def test_sight_learns_where_it_was_not_taught_before(cohort: Any, eager: None, tmp_path: Path) -> None:
    _, attend = start(cohort, tmp_path, sight=True)
    tower = attend._agent.glimpse_network.towers.towers[0]
    before = tower.get_weights()[0]
    attend.epoch(0)
    assert not np.array_equal(tower.get_weights()[0], before)


def test_the_best_epoch_is_kept(cohort: Any, eager: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session, attend = start(cohort.split(["neg_a", "macro_a"], ["neg_v"]), tmp_path)
    kept, weights, losses = tmp_path / "checkpoint" / "best.weights.h5", [], [0.7, 0.9, 0.6, 0.6]
    turns = iter(losses)
    monkeypatch.setattr(attend_module, "validate", lambda *_: {"val_loss": next(turns)})
    written = []
    for number in range(4):
        attend.epoch(number)
        weights.append(attend._agent.get_weights())
        written.append(kept.read_bytes())
    assert session.state.best == 0.6
    assert written[1] == written[0]
    assert written[2] != written[1]
    assert written[3] == written[2]  # no better, so not newer
    attend._agent.load_weights(kept)
    for a, b in zip(attend._agent.get_weights(), weights[2], strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_rate_falls_faster_where_the_loss_stands_still_and_then_training_ends(cohort: Any, tmp_path: Path) -> None:
    tuned = cohort.split(["neg_a", "macro_a"], ["neg_v"]).tuned(train={"epochs": 4, "patience": 1})
    session, attend = start(tuned, tmp_path)
    highest = cohort.config.train.learning_rate
    rates, ends = [], []
    for number, loss in enumerate([0.7, 0.9, 0.8, 0.7]):
        rates.append(attend.epoch(number)["learning_rate"])
        assert float(attend.learner.optimizer.learning_rate) == pytest.approx(rates[-1])
        session.state.history.append({"phase": "attend", "val_loss": loss})
        ends.append(attend.over())
    assert rates == pytest.approx([rate(highest, k / 4, halvings) for k, halvings in enumerate([0, 0, 1, 2])])
    assert ends == [False, False, False, True]


def test_without_validation_slides_the_last_epoch_is_kept(cohort: Any, eager: None, tmp_path: Path) -> None:
    _, attend = start(cohort.split(["neg_a", "macro_a"], []), tmp_path)
    for number in range(2):
        figures = attend.epoch(number)
        assert not {"val_loss", "val_accuracy"} & set(figures)
    last = attend._agent.get_weights()
    attend._agent.load_weights(tmp_path / "checkpoint" / "best.weights.h5")
    for a, b in zip(attend._agent.get_weights(), last, strict=True):
        np.testing.assert_array_equal(a, b)


def test_slides_that_cannot_be_read_are_dropped(
    with_unreadable: Callable[..., Any], eager: None, tmp_path: Path
) -> None:
    cohort = with_unreadable("itc", "bad", "bad_v").split(["neg_a", "bad"], ["neg_v", "bad_v"])
    session, attend = start(cohort, tmp_path / "out")
    figures = attend.epoch(0)
    assert set(session.state.dropped) == {"bad", "bad_v"}
    assert all(np.isfinite(value) for value in figures.values())
    # of the rows of a batch only those of the good slide count, and its class is negative
    alone = attend._update([o for o in session._train if o.slide == "neg_a"] * 2, np.random.default_rng(0))
    assert np.isfinite(alone["loss"])
    assert figures["accuracy"] in (0, 1)
