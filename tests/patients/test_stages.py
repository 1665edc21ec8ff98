import csv
import os
from pathlib import Path

import pytest

from foveate.patients.stages import pn_stage

SHARED = os.environ.get("FOVEATE_SHARED")


@pytest.mark.parametrize(
    ("labels", "stage"),
    [
        (["negative"], "pN0"),
        (["negative"] * 5, "pN0"),
        (["negative", "itc", "negative"], "pN0(i+)"),
        (["itc"] * 5, "pN0(i+)"),
        (["itc", "micro"], "pN1mi"),
        (["micro"] * 5, "pN1mi"),
        (["macro"], "pN1"),
        (["macro", "micro", "micro", "negative", "itc"], "pN1"),
        (["macro", "macro", "macro", "itc", "itc"], "pN1"),
        (["macro", "micro", "micro", "micro"], "pN2"),
        (["macro"] * 5, "pN2"),
        (["macro"] * 10, "pN2"),
    ],
)
def test_rule_by_hand(labels: list[str], stage: str) -> None:
    assert pn_stage(labels) == stage
    assert pn_stage(labels[::-1]) == stage


def test_unknown_label_is_named() -> None:
    with pytest.raises(ValueError, match="Received: 'makro'"):
        pn_stage(["negative", "makro"])


def test_no_node_has_no_stage() -> None:
    with pytest.raises(ValueError, match="at least one node"):
        pn_stage([])


@pytest.mark.skipif(not SHARED, reason="FOVEATE_SHARED is not set")
def test_all_100_patients_of_camelyon17() -> None:
    truth: dict[str, str] = {}
    nodes: dict[str, list[str]] = {}
    with (Path(str(SHARED)) / "data" / "camelyon17_stages.csv").open(newline="") as handle:
        for row in csv.DictReader(handle):
            if row["patient"].endswith(".zip"):
                truth[row["patient"].removesuffix(".zip")] = row["stage"]
            else:
                nodes.setdefault(row["patient"].split("_node_")[0], []).append(row["stage"])
    assert len(truth) == 100
    assert {patient: pn_stage(labels) for patient, labels in nodes.items()} == truth
