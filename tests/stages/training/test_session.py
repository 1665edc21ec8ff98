import dataclasses
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from foveate.errors import FoveateError, SlideError
from foveate.patients.stages import SLIDE_CLASSES
from foveate.slides.overview_file import Lesions, StoredOverview
from foveate.stages.overview import survey
from foveate.stages.training.session import Phase, Session, mean_of


class KillError(Exception):
    """The process ends here."""


def session(cohort: Any, out: Path) -> Session:
    return Session(cohort.config, cohort.samples, cohort.fold, cohort.overviews, out)


def test_the_slides_of_a_fold(cohort: Any, tmp_path: Path) -> None:
    made = session(cohort, tmp_path)
    assert [o.slide for o in made.train] == cohort.fold.train
    assert [o.slide for o in made.val] == cohort.fold.val
    assert {name: SLIDE_CLASSES[k] for name, k in made.label.items()} == {s.slide: s.label for s in cohort.samples}
    assert made.shape == (16, 16, 64)
    assert made.annotated
    assert made.found is None


def test_the_prior_is_the_share_of_each_class_with_one_more_slide(cohort: Any, tmp_path: Path) -> None:
    # 3 negative, 1 itc, 1 micro, 1 macro; validation slides do not count
    assert session(cohort, tmp_path).prior == pytest.approx([4 / 10, 2 / 10, 2 / 10, 2 / 10])
    fewer = cohort.split(["neg_a", "neg_b", "macro_a"], ["micro_v"])
    assert session(fewer, tmp_path).prior == pytest.approx([3 / 7, 1 / 7, 1 / 7, 2 / 7])


def test_one_class_is_nothing_to_learn(cohort: Any, tmp_path: Path) -> None:
    with pytest.raises(FoveateError, match=r"fold 0: 3 labelled .* classes negative; .* at least two"):
        session(cohort.split(["neg_a", "neg_b", "neg_c"], ["micro_v"]), tmp_path)
    with pytest.raises(FoveateError, match=r"fold 0: 0 labelled .* classes none; "):
        session(cohort.split([], ["neg_v", "micro_v"]), tmp_path)
    with pytest.raises(FoveateError, match="at least two"):  # a slide without a label teaches nothing
        session(cohort.split(["neg_a", "micro_a"], []).relabelled("micro_a", ""), tmp_path)


def lesions_of(overview: StoredOverview, *boxes: tuple[int, int, int, int], diameters: list[float]) -> StoredOverview:
    """The overview with lesions: rows and columns, from and to, in pixels."""
    index = np.zeros(overview.tissue.shape, np.uint16)
    for k, (top, bottom, left, right) in enumerate(boxes):
        index[top:bottom, left:right] = k + 1
    return dataclasses.replace(overview, lesions=Lesions(index, np.array(diameters, np.float32)))


def test_lesion_cells(cohort: Any, tmp_path: Path) -> None:
    made = session(cohort, tmp_path)
    overview = next(o for o in made.train if o.slide == "micro_a")
    shares = np.ones_like(overview.cell_tissue)  # 6 x 8 cells of 8 px
    shares[4, 5] = 0.1
    # lesion 1 in cells (1..3, 2..4); 2 in (3, 4) and (3, 5); 3 in (4, 5), which is glass, and (4, 6)
    overview = lesions_of(
        dataclasses.replace(overview, cell_tissue=shares),
        (8, 32, 16, 40),
        (30, 31, 39, 41),
        (32, 40, 40, 49),
        diameters=[900, 300, 500],
    )
    expected = np.zeros((6, 8), np.int32)
    expected[1:4, 2:5] = 1
    expected[3, 4:6] = 2  # the smaller one
    expected[4, 6] = 3
    for _ in range(2):
        np.testing.assert_array_equal(made.lesion_cells(overview), expected)
    swapped = dataclasses.replace(
        overview, lesions=dataclasses.replace(overview.lesions, diameter_um=np.array([200, 300, 500], np.float32))
    )
    expected[3, 4] = 1
    np.testing.assert_array_equal(session(cohort, tmp_path).lesion_cells(swapped), expected)


def test_lesions_count_only_where_there_are_any(cohort: Any, tmp_path: Path) -> None:
    made = session(cohort, tmp_path)
    overview = next(o for o in made.train if o.slide == "neg_a")
    assert not made.lesion_cells(overview).any()  # not annotated
    # an outline on a slide that is called negative, as of benign tissue
    assert not made.lesion_cells(lesions_of(overview, (8, 32, 16, 40), diameters=[900])).any()
    assert not session(cohort.split(["neg_a", "neg_b"], []).relabelled("neg_b", "micro"), tmp_path).annotated


def test_labels_contrast_where_some_slides_bear_tumor_and_others_none(cohort: Any, tmp_path: Path) -> None:
    assert session(cohort.split(["neg_a", "micro_a"], []), tmp_path).contrasted
    assert not session(cohort.split(["neg_a", "itc_a"], ["macro_a"]), tmp_path).contrasted
    assert not session(cohort.split(["itc_a", "macro_a"], ["neg_a"]), tmp_path).contrasted


def test_lesion_cells_are_those_of_the_annotation(cohort: Any, tmp_path: Path) -> None:
    made = session(cohort, tmp_path)
    cells = made.lesion_cells(next(o for o in made.train if o.slide == "itc_a"))
    # 300 to 400, 200 to 300 um in cells of 128 um
    assert np.argwhere(cells).tolist() == [[1, 2], [1, 3], [2, 2], [2, 3]]


def test_a_slide_that_is_too_coarse_is_dropped(cohort: Any, tmp_path: Path) -> None:
    finer = cohort.tuned(glimpse={"scales_mpp": (0.4, 32.0)})
    made = session(finer, tmp_path)
    assert (made.train, made.val) == ([], [])
    assert set(made.state.dropped) == {*cohort.fold.train, *cohort.fold.val}
    assert "1 um/px, coarser than twice the glimpse scale of 0.4" in made.state.dropped["neg_a"]


class Line:
    """A phase that fits a line; it draws its points from a stream that the epoch names."""

    def __init__(self, name: str, epochs: int, model: keras.Model, log: list[str], kill: str = "") -> None:
        self.name, self.epochs, self._log, self._kill = name, epochs, log, kill
        self.learner = keras.Sequential([keras.Input((2,)), model])
        self.learner.compile(keras.optimizers.Adam(0.1), "mse", run_eagerly=True)

    def epoch(self, number: int) -> dict[str, float]:
        rng = np.random.default_rng([number, len(self.name)])
        points = rng.normal(size=(8, 2)).astype(np.float32)
        for half in (points[:4], points[4:]):
            loss = float(self.learner.train_on_batch(half, half.sum(1, keepdims=True)))
            if self._kill == f"{self.name} {number}":
                raise KillError
        self._log.append(f"{self.name} {number}")
        return {"loss": loss, "glimpses": 8.0}

    def over(self) -> bool:
        return self.ends and bool(self._log)

    ends = False  # after its first epoch


def phases(model: keras.Model, log: list[str], kill: str = "") -> Sequence[Callable[[], Phase]]:
    return [
        lambda: Line("one", 2, model, log, kill),
        lambda: Line("nothing", 0, model, log, kill),
        lambda: Line("three", 3, model, log, kill),
    ]


def dense() -> keras.Model:
    keras.utils.set_random_seed(0)
    made = keras.layers.Dense(1)
    made.build((None, 2))
    return made


EPOCHS = ["one 0", "one 1", "three 0", "three 1", "three 2"]


@pytest.fixture(scope="module")
def undisturbed(cohort: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[np.ndarray], list[Any]]:
    """The weights and the history of a training that nothing stopped."""
    model, log = dense(), list[str]()
    made = session(cohort, tmp_path_factory.mktemp("undisturbed"))
    made.run(phases(model, log))
    assert log == EPOCHS
    return model.get_weights(), made.state.history


@pytest.mark.parametrize("kill", EPOCHS)
def test_a_training_that_was_killed_ends_in_the_same_weights(
    cohort: Any, tmp_path: Path, undisturbed: tuple[list[np.ndarray], list[Any]], kill: str
) -> None:
    log: list[str] = []
    with pytest.raises(KillError):
        session(cohort, tmp_path).run(phases(dense(), log, kill))
    assert log == EPOCHS[: EPOCHS.index(kill)]
    resumed, model = session(cohort, tmp_path), dense()
    resumed.run(phases(model, log))
    assert log == EPOCHS  # no epoch twice
    for a, b in zip(model.get_weights(), undisturbed[0], strict=True):
        np.testing.assert_array_equal(a, b)
    kept = [[(row["phase"], row["epoch"], row["loss"]) for row in h] for h in (resumed.state.history, undisturbed[1])]
    assert kept[0] == kept[1]


def test_a_finished_training_is_not_repeated(cohort: Any, tmp_path: Path) -> None:
    first, again = dense(), dense()
    session(cohort, tmp_path).run(phases(first, []))
    log: list[str] = []
    session(cohort, tmp_path).run(phases(again, log))
    assert log == []
    for a, b in zip(first.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_phase_may_end_before_its_last_epoch(
    cohort: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    log: list[str] = []
    monkeypatch.setattr(Line, "ends", True)
    made = session(cohort, tmp_path)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    with caplog.at_level(logging.INFO):
        made.run([lambda: Line("one", 5, model, log)])
    assert log == ["one 0"]
    assert "one ends after 1 epochs: the validation loss stands still" in caplog.messages


def test_every_epoch_is_recorded(cohort: Any, tmp_path: Path) -> None:
    session(cohort, tmp_path).run(phases(dense(), []))
    lines = (tmp_path / "history.csv").read_text().splitlines()
    assert [line.split(",")[:2] for line in lines[1:]] == [
        ["one", "1"], ["one", "2"], ["three", "1"], ["three", "2"], ["three", "3"],
    ]  # fmt: skip
    rates = dict(zip(lines[0].split(","), lines[1].split(","), strict=True))
    assert float(rates["glimpses_per_s"]) == pytest.approx(8 / float(rates["seconds"]), rel=1e-3)
    assert len(list((tmp_path / "tensorboard" / "three").iterdir())) == 3
    assert sorted(p.name for p in (tmp_path / "tensorboard").iterdir()) == ["one", "three"]


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.relabelled("itc_a", "micro"),
        lambda c: c.split(c.fold.train[:-1], c.fold.val),
        lambda c: c.split(c.fold.train, c.fold.val[:-1]),
        lambda c: c.tuned(train={"seed": 2}),
        lambda c: c.tuned(train={"epochs": 3}),
        lambda c: c.tuned(model={"state": 9}),
        lambda c: c.tuned(glimpse={"count": 3}),
        lambda c: c.tuned(tissue={"cell_share": 0.5}),
    ],
)
def test_a_checkpoint_of_another_training_is_ignored(cohort: Any, tmp_path: Path, change: Callable[..., Any]) -> None:
    session(cohort, tmp_path).run(phases(dense(), []))
    other = session(change(cohort), tmp_path)
    assert other.found is None
    assert (other.state.phase, other.state.epoch, other.state.history) == (0, 0, [])


def test_a_checkpoint_from_other_overviews_is_ignored(make_cohort: Callable[[Path], Any], tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path)
    session(cohort, tmp_path / "out").run(phases(dense(), []))
    assert session(cohort, tmp_path / "out").found is not None
    (tmp_path / "micro_a.json").write_text((tmp_path / "itc_a.json").read_text())  # a corrected annotation
    sample = cohort.sample("micro_a")
    assert survey(cohort.config, sample, cohort.overviews / "micro_a.h5", cohort.overviews / "micro_a.json")
    assert session(cohort, tmp_path / "out").found is None


def test_what_training_does_not_depend_on_keeps_the_checkpoint(cohort: Any, tmp_path: Path) -> None:
    session(cohort, tmp_path).run(phases(dense(), []))
    same = session(cohort.tuned(predict={"batch": 7}, patients={"bootstrap": 1}), tmp_path)
    assert (same.state.phase, same.state.epoch, len(same.state.history)) == (2, 3, 5)


def test_outlines_in_a_negative_slide_are_warned_of(
    cohort: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = cohort.relabelled("macro_a", "negative")
    with caplog.at_level(logging.WARNING):
        session = Session(own.config, own.samples, own.fold, own.overviews, tmp_path)
    assert caplog.messages == ["macro_a is labelled negative, so the lesions that are outlined in it do not count"]
    assert not session.lesion_cells(next(o for o in session.train if o.slide == "macro_a")).any()


def test_a_dropped_slide_is_remembered(cohort: Any, tmp_path: Path) -> None:
    made = session(cohort, tmp_path)
    made.drop(SlideError("neg_b", "cannot read a tile"))
    made.drop(SlideError("neg_b", "cannot read another"))
    made.drop(SlideError("neg_v", "cannot read a tile"))
    assert [o.slide for o in made.train] == ["neg_a", "neg_c", "itc_a", "micro_a", "macro_a"]
    assert [o.slide for o in made.val] == ["micro_v"]
    made.run(phases(dense(), []))
    again = session(cohort, tmp_path)
    assert again.state.dropped == {"neg_b": "cannot read a tile", "neg_v": "cannot read a tile"}
    assert [o.slide for o in again.val] == ["micro_v"]
    assert json.loads((tmp_path / "checkpoint" / "state.json").read_text())["dropped"] == again.state.dropped


def test_a_phase_keeps_the_slides_that_it_began_with(cohort: Any, tmp_path: Path) -> None:
    made, enrolled = session(cohort, tmp_path), []

    class Dropping(Line):
        def epoch(self, number: int) -> dict[str, float]:
            made.drop(SlideError("neg_b", "cannot read a tile"))
            enrolled.append([o.slide for o in made.enrolled])
            return super().epoch(number)

    model = dense()
    made.run([lambda: Dropping("one", 2, model, []), lambda: Dropping("two", 1, model, [])])
    assert enrolled == [cohort.fold.train] * 2 + [[s for s in cohort.fold.train if s != "neg_b"]]


def test_mean_of_batches() -> None:
    assert mean_of([{"loss": 1.0, "accuracy": 0.0}, {"loss": 4.0, "accuracy": 1.0}]) == {"loss": 2.5, "accuracy": 0.5}
    assert mean_of([]) == {}
