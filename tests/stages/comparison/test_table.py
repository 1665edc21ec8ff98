import csv
import io
from pathlib import Path

import h5py
import numpy as np
import pytest

from foveate.cohort.folds import Fold
from foveate.cohort.samples import Sample
from foveate.errors import FoveateError
from foveate.stages.comparison.table import COLUMNS, table
from foveate.stages.plan import Job, Plan

LABELS = {"a1": "negative", "a2": "macro", "b1": "negative", "b2": "itc", "b3": "micro"}
TESTED = [Sample(slide, slide[0], Path("x.tif"), label, split="test") for slide, label in LABELS.items()]
SURE = {"negative": [0.97, 0.01, 0.01, 0.01], "itc": [0.01, 0.97, 0.01, 0.01]}
SURE |= {"micro": [0.01, 0.01, 0.97, 0.01], "macro": [0.01, 0.01, 0.01, 0.97]}
EVEN = [0.25] * 4


def write(path: Path, slides: list[str], weights: str, glimpses: tuple[int, ...] = (1, 4)) -> Path:
    """Learned: even after the first glimpse, right after the last. Random: once even, once right. All: right."""
    right = np.array([SURE[LABELS[s]] for s in slides])
    even = np.tile(EVEN, (len(slides), 1))
    count = len(slides)
    costs = np.zeros((count, 1, 2, 3))
    costs[:, 0, 0], costs[:, 0, 1] = (1, 2, 100), (4, 8, 400)
    costs += np.arange(count)[:, None, None, None]
    with h5py.File(path, "w") as file:
        file.attrs.update(weights_sha256=weights * 64, glimpses=glimpses)
        file["slide"] = slides
        file["looks/learned/probabilities"] = np.stack([even, right], 1)[:, None]
        file["looks/random/probabilities"] = np.stack([np.stack([even, even], 1), np.stack([right, right], 1)], 1)
        for way, rollouts in (("learned", 1), ("random", 2)):
            file[f"looks/{way}/tissue"] = np.tile([0.01, 0.04], (count, rollouts, 1))
            file[f"looks/{way}/costs"] = np.tile(costs, (1, rollouts, 1, 1))
        file["exhaustive/tissue"] = np.full(count, 0.9)
        file["exhaustive/cells"] = np.arange(count) + 100
        file["exhaustive/costs"] = np.full((count, 3), 1000.0)
        file["exhaustive/probabilities/max, plain"] = right
    return path


def plan(*learned: Sample) -> Plan:
    fold = Fold("split", [s.slide for s in learned], [], list(LABELS), [])
    return Plan([*learned, *TESTED], {"split": Job("split", fold, fold.test)})


def rows(*files: Path, resamples: int = 20) -> dict[tuple[str, str], dict[str, str]]:
    text = table(files, plan(), resamples, 4)
    assert text.splitlines()[0].split("\t") == list(COLUMNS)
    read = csv.DictReader(io.StringIO(text), delimiter="\t")
    return {(row["way"], row["glimpses"]): row for row in read}


@pytest.fixture
def both(tmp_path: Path) -> list[Path]:
    return [write(tmp_path / "0.h5", ["a1", "a2"], "a"), write(tmp_path / "1.h5", ["b1", "b2", "b3"], "b")]


def test_a_row_a_way_and_number_of_glimpses(both: list[Path]) -> None:
    found = rows(*both)
    assert list(found) == [
        ("learned", "1"),
        ("learned", "4"),
        ("random", "1"),
        ("random", "4"),
        ("exhaustive", "100.8"),  # cells a slide: 100, 101, 100, 101, 102
    ]
    assert {row["n_slides"] for row in found.values()} == {"5"}
    assert {row["weights"] for row in found.values()} == {"a" * 12 + "," + "b" * 12}
    assert [row["rollouts"] for row in found.values()] == ["1", "1", "2", "2", "1"]
    assert (found["exhaustive", "100.8"]["pooling"], found["exhaustive", "100.8"]["readout"]) == ("max", "plain")


def test_figures_over_all_folds_and_the_mean_of_rollouts(both: list[Path]) -> None:
    found = rows(*both)
    first, last = found["learned", "1"], found["learned", "4"]
    assert (float(first["auc_micro_macro_vs_negative"]), float(first["slide_accuracy"])) == (0.5, 0.4)
    for name in ("auc_micro_macro_vs_negative", "auc_any_vs_negative", "slide_accuracy", "kappa", "kappa_rule"):
        assert float(last[name]) == 1.0
    mixed = found["random", "4"]  # one rollout even, one right
    assert (float(mixed["auc_any_vs_negative"]), float(mixed["slide_accuracy"])) == (0.75, 0.7)
    assert float(first["slide_accuracy_low"]) <= 0.4 <= float(first["slide_accuracy_high"])


def test_stages_heed_how_the_nodes_of_training_patients_go_together(tmp_path: Path) -> None:
    files = [write(tmp_path / "0.h5", ["a1", "a2"], "a")]
    learned = [
        Sample(f"c{k}_{label}", f"c{k}", Path("x.tif"), label, split="train")
        for k in range(10)
        for label in ("negative", "macro")
    ]
    alone, heeding = (
        next(csv.DictReader(io.StringIO(table(files, plan(*known), 1, 4)), delimiter="\t")) for known in ([], learned)
    )
    # of two even slides the mean stage is 2.1, and 2.5 where every patient of two has one macro
    assert (alone["patient_accuracy"], heeding["patient_accuracy"]) == ("0.0000", "1.0000")
    assert (alone["slide_accuracy"], alone["n_slides"]) == (heeding["slide_accuracy"], heeding["n_slides"])


def test_the_lead_of_learned_looking_after_as_many_glimpses(both: list[Path]) -> None:
    found = rows(*both)
    assert found["learned", "4"]["auc_lead"] == ""
    leads = {
        key: [float(row[f"auc_lead{end}"]) for end in ("", "_low", "_high")]
        for key, row in found.items()
        if key[0] != "learned"
    }
    # learned: AUC 0.5 after one glimpse and 1 after four; random: once 0.5, once 1; everything: 1, beside the four
    assert leads == {("random", "1"): [-0.25] * 3, ("random", "4"): [0.25] * 3, ("exhaustive", "100.8"): [0.0] * 3}


def test_costs_are_means_over_slides(both: list[Path]) -> None:
    last, whole = rows(*both)["learned", "4"], rows(*both)["exhaustive", "100.8"]
    assert float(last["tissue_share"]) == 0.04
    assert float(last["seconds"]) == pytest.approx(4 + (0 + 1 + 0 + 1 + 2) / 5)
    assert float(last["cpu_seconds"]) == pytest.approx(8.8)
    assert float(last["decoded_px"]) == pytest.approx(400.8)
    assert [float(whole[c]) for c in ("tissue_share", "seconds", "decoded_px")] == [0.9, 1000, 1000]


def test_a_slide_that_was_not_read_leaves_its_patient_without_a_stage(tmp_path: Path) -> None:
    files = write(tmp_path / "0.h5", ["a1", "a2"], "a"), write(tmp_path / "1.h5", ["b1", "b3"], "b")
    row = rows(*files)["learned", "4"]
    assert (row["n_slides"], row["n_patients"], row["kappa"]) == ("4", "1", "")  # of one patient there is no kappa
    assert float(row["slide_accuracy"]) == 1.0


def test_folds_that_were_asked_otherwise(tmp_path: Path) -> None:
    files = [write(tmp_path / "0.h5", ["a1", "a2"], "a"), write(tmp_path / "1.h5", ["b1"], "b", glimpses=(1, 8))]
    with pytest.raises(FoveateError, match="different numbers of glimpses"):
        rows(*files)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "0.h5").write_bytes(b"junk")
    with pytest.raises(FoveateError, match=r"0\.h5: cannot be read as HDF5"):
        rows(tmp_path / "0.h5")
