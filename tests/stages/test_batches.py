"""Batches of slides, by hand and by what must not move."""

import random
from pathlib import Path

import pytest

from foveate.cohort.samples import Sample
from foveate.stages.batches import batches, holding, incomplete, write_list


def samples(patients: int, slides: int = 2) -> list[Sample]:
    return [Sample(f"p{p}_{s}", f"p{p}", Path(f"p{p}_{s}.tif")) for p in range(patients) for s in range(slides)]


def test_few_slides_are_one_batch() -> None:
    assert batches(samples(2), 4) == {"all": ["p0_0", "p0_1", "p1_0", "p1_1"]}
    assert batches([], 4) == {}


def test_batches_are_cut_by_the_bits_of_the_patients_digest() -> None:
    # as `printf p0 | sha256sum` shows, they begin with 0x16 (000...), 0xf6 (111...), 0x39 (001...)
    assert batches(samples(3, 1), 2, "x-") == {"x-0": ["p0_0", "p2_0"], "x-1": ["p1_0"]}
    assert batches(samples(3, 1), 1) == {"000": ["p0_0"], "001": ["p2_0"], "1": ["p1_0"]}


@pytest.mark.parametrize("size", [1, 7, 50, 10_000])
def test_every_slide_is_in_one_batch_and_no_batch_is_too_large(size: int) -> None:
    cohort = samples(200, 5)
    made = batches(cohort, size)
    assert sorted(s for own in made.values() for s in own) == sorted(s.slide for s in cohort)
    assert all(len(own) <= max(size, 5) for own in made.values())
    assert all(len({s.rpartition("_")[0] for s in own}) * 5 == len(own) for own in made.values())  # patients are whole


def test_the_order_of_the_rows_does_not_matter() -> None:
    cohort = samples(40)
    shuffled = random.Random(1).sample(cohort, len(cohort))
    before, after = batches(cohort, 10), batches(shuffled, 10)
    assert {name: set(own) for name, own in before.items()} == {name: set(own) for name, own in after.items()}


def test_one_patient_more_changes_one_batch() -> None:
    cohort = samples(100)
    before = batches(cohort, 20)
    after = batches([*cohort, Sample("new", "new", Path("new.tif"))], 20)
    unchanged = {name for name in before if after.get(name) == before[name]}
    assert len(unchanged) == len(before) - 1


def test_small_batches_lie_within_large_ones() -> None:
    cohort = samples(300)
    large = batches(cohort, 100)
    for own in batches(cohort, 10).values():
        assert len(holding(large, own)) == 1


def test_holding_names_the_batches_in_order() -> None:
    batched = {"a": ["1", "2"], "b": ["3"], "c": ["4"]}
    assert holding(batched, ["4", "2"]) == ["a", "c"]
    assert holding(batched, []) == []


def test_a_list_of_files_is_incomplete_when_one_is_gone(tmp_path: Path) -> None:
    write_list(tmp_path / "lists" / "a.tsv", {"x.xml": "1"}, "file")
    assert (tmp_path / "lists" / "a.tsv").read_text() == "file\tsha256\nx.xml\t1\n"
    (tmp_path / "x.xml").touch()
    assert incomplete(tmp_path / "lists", tmp_path, ["{}"]) == []
    (tmp_path / "x.xml").unlink()
    assert incomplete(tmp_path / "lists", tmp_path, ["{}"]) == [tmp_path / "lists" / "a.tsv"]


def test_a_list_is_incomplete_when_a_file_of_one_of_its_slides_is_gone(tmp_path: Path) -> None:
    for name in ("x.h5", "y.h5", "z.h5"):
        (tmp_path / "overview").mkdir(exist_ok=True)
        (tmp_path / "overview" / name).write_bytes(b"")
    write_list(tmp_path / "lists" / "a.tsv", {"x": "1", "y": "2"})
    write_list(tmp_path / "lists" / "b.tsv", {"z": "3"})
    assert (tmp_path / "lists" / "a.tsv").read_text() == "slide\tsha256\nx\t1\ny\t2\n"
    patterns = ["overview/{}.h5"]
    assert incomplete(tmp_path / "lists", tmp_path, patterns) == []
    (tmp_path / "overview" / "y.h5").unlink()
    assert incomplete(tmp_path / "lists", tmp_path, patterns) == [tmp_path / "lists" / "a.tsv"]
    assert incomplete(tmp_path / "lists", tmp_path, ["elsewhere/{}.h5"]) == [
        tmp_path / "lists" / "a.tsv",
        tmp_path / "lists" / "b.tsv",
    ]
    assert incomplete(tmp_path / "none", tmp_path, patterns) == []
