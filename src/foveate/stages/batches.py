"""Slides in batches, each the work of one job: what a job costs to start is paid once a batch, not once a slide."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from foveate.cohort.samples import Sample
from foveate.files import write_text

ALL = "all"  # the name of a batch that is the only one


def batches(samples: Iterable[Sample], size: int, prefix: str = "") -> dict[str, list[str]]:
    """Slides by batch, in the order of `samples`: at most `size` of them, and patients whole.

    A batch is a leaf of a binary tree over the bits of a digest of the patient's name; a leaf of more slides is cut in
    two, unless they are of one patient. So the order of the rows does not matter, a patient more or less changes one
    batch, and batches of a larger size are unions of smaller ones. Names are `prefix` and the bits, or `ALL`.
    """
    by_patient: dict[str, list[str]] = defaultdict(list)
    for sample in samples:
        by_patient[sample.patient].append(sample.slide)
    bits = {p: f"{int.from_bytes(hashlib.sha256(p.encode()).digest()):0256b}" for p in by_patient}
    leaves = _leaves([(bits[p], p) for p in by_patient], by_patient, size, "")
    return {prefix + (name or ALL): [s for p in patients for s in by_patient[p]] for name, patients in leaves}


def _leaves(
    members: list[tuple[str, str]], slides: Mapping[str, list[str]], size: int, name: str
) -> Iterator[tuple[str, list[str]]]:
    if len(members) <= 1 or sum(len(slides[p]) for _, p in members) <= size:
        if members:
            yield name, [patient for _, patient in members]
        return
    for bit in "01":
        half = [member for member in members if member[0][len(name)] == bit]
        yield from _leaves(half, slides, size, name + bit)


def holding(batched: Mapping[str, list[str]], slides: Iterable[str]) -> list[str]:
    """Names of the batches that hold any of `slides`, in order."""
    wanted = set(slides)
    return [name for name, own in batched.items() if not wanted.isdisjoint(own)]


def write_list(path: Path, digests: Mapping[str, str], head: str = "slide") -> None:
    """Write what a batch has made: a row a slide, with a digest of its files, so that a change of one is seen.

    head: what a row is, where it is no slide.
    """
    rows = [f"{head}\tsha256", *(f"{name}\t{digest}" for name, digest in digests.items())]
    write_text(path, "\n".join(rows) + "\n")


def incomplete(lists: Path, results: Path, files: Iterable[str]) -> list[Path]:
    """The lists in a folder that name a slide of which a file is gone.

    files: patterns of paths below `results` with {} in their last part, for what begins a row.
    """
    places = [(results / Path(pattern).parent, Path(pattern).name) for pattern in files]
    there = [({entry.name for entry in os.scandir(folder)} if folder.exists() else set(), n) for folder, n in places]
    gone = []
    for path in sorted(lists.glob("*.tsv")):
        rows = path.read_text(encoding="utf-8").splitlines()[1:]
        listed = [row.split("\t")[0] for row in rows]
        if any(pattern.format(name) not in names for name in listed for names, pattern in there):
            gone.append(path)
    return gone
