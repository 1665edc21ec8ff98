"""Slides that cannot be used, among good ones: nothing is lost, and everyone is told."""

import csv
import json
from pathlib import Path

import numpy as np
from PIL import Image

from .project import Project
from .tiny_cohort import COHORT, HEIGHT, WIDTH, cut, paint, sheet_rows, spoil_level_0, write_slide

# What is wrong with each, and what the user is told to do
BAD = {
    "broken": ("OpenSlide cannot open data/images/broken.svs", "correct the path column"),
    "cut": ("data/images/cut.tif is cut short", "copy the file again"),
    "blank": ("no tissue was found on the overview", "lower tissue.min_area_um2"),
    "no_mpp": ("the file does not state its resolution", "set the mpp column"),
    "dark": ("the background is dark: a fluorescence scan", "set the exclude column"),
    "spoiled": ("tile ", "set the exclude column"),
}
PATIENT = {"broken": "p3", "cut": "p7", "blank": "p7", "no_mpp": "p8", "dark": "p9", "spoiled": "p10"}


def make_bad_slides(images: Path) -> None:
    (images / "broken.svs").write_bytes(np.random.default_rng(0).bytes(1000))
    cut(images / "p3_a.tif", images / "cut.tif", 0.6)
    glass = np.full((HEIGHT, WIDTH, 3), 243, np.uint8)
    write_slide(images / "blank.tif", glass)
    write_slide(images / "no_mpp.tif", paint("no_mpp"), mpp=None)
    write_slide(images / "dark.tif", (255 - paint("dark")) // 4)
    write_slide(images / "spoiled.tif", paint("spoiled"))
    spoil_level_0(images / "spoiled.tif")


def bad_rows() -> list[dict[str, str]]:
    rows = []
    for slide, patient in PATIENT.items():
        path = f"data/images/{slide}.{'svs' if slide == 'broken' else 'tif'}"
        rows.append({"slide": slide, "patient": patient, "path": path, "label": "negative", "split": "test"})
    return rows


def table(path: Path) -> dict[str, dict[str, str]]:
    """The rows of a table by their first column."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="," if path.suffix == ".csv" else "\t"))
    return {next(iter(row.values())): row for row in rows}


def made(project: Project) -> dict[str, int]:
    """When the overviews of the good slides and the model were made."""
    good = [project.results / "overview" / f"{s.slide}.h5" for s in COHORT]
    return {p.name: p.stat().st_mtime_ns for p in [*good, project.results / "train" / "split" / "model.keras"]}


def test_bad_slides_are_named_and_cost_no_good_one(project: Project) -> None:
    results, before = project.results, made(project)
    make_bad_slides(project.folder / "data" / "images")
    project.write_sheet([*sheet_rows("data"), *bad_rows()])

    status, shown = project.run()

    assert status != 0
    assert "Traceback" not in shown
    summary = (results / "summary.txt").read_text()
    assert summary.startswith("15 slides: 5 ok, 4 unused, 6 failed\n")
    for slide, (reason, remedy) in BAD.items():
        assert f"FAILED {slide} (patient {PATIENT[slide]}): {reason}" in summary
        told = summary.split(f"FAILED {slide} ")[1].split("FAILED")[0]
        assert remedy in told
        assert told.strip() in shown
        for picture in (f"thumbnails/{slide}.jpg", f"tissue/{slide}.png"):
            with Image.open(results / picture) as image:
                assert min(image.size) > 100
        state = json.loads((results / "status" / f"{slide}.json").read_text())
        assert state["state"] == ("ok" if slide == "spoiled" else "failed")
    assert not (results / "complete.txt").exists()

    assert made(project) == before
    slides = table(results / "predictions" / "slides.tsv")
    assert [slide for slide, row in slides.items() if row["state"] == "failed"] == list(BAD)
    good = [s.slide for s in COHORT if s.split != "train"]
    assert all(slides[slide]["state"] == "ok" and slides[slide]["p_macro"] for slide in good)

    patients, page = table(results / "patients.tsv"), (results / "report" / "index.html").read_text()
    submission = table(results / "submission.csv")
    for patient, missing in (("p3", "broken"), ("p7", "blank,cut"), ("p8", "no_mpp"), ("p9", "dark")):
        assert (patients[patient]["state"], patients[patient]["missing"]) == ("incomplete", missing)
        assert patients[patient]["stage"] == ""
        assert f"{patient}.zip" not in submission
    assert {f"{p}.zip" for p in ("p2", "p4", "p5")} == {name for name in submission if name.endswith(".zip")}
    assert all(slide in page for slide in BAD)

    # the way out that each was given
    rows = bad_rows()
    for row in rows:
        row |= {"mpp": "2"} if row["slide"] == "no_mpp" else {"exclude": "cannot be used"}
    project.write_sheet([*sheet_rows("data"), *rows])

    project.finish()

    assert made(project) == before
    assert (results / "complete.txt").read_text() == "15 slides: 6 ok, 4 unused, 5 excluded\n"
    patients = table(results / "patients.tsv")
    assert (patients["p3"]["state"], patients["p8"]["state"]) == ("complete", "complete")
    assert "p3.zip" in table(results / "submission.csv")


def test_a_bad_slide_of_the_training_set_is_left_out_of_it(project: Project) -> None:
    spoil_level_0(project.folder / "data" / "images" / "p0_a.tif")
    dropped = project.results / "train" / "split" / "dropped.json"
    assert json.loads(dropped.read_text()) == {}

    shown = project.finish("results/train/split/dropped.json")

    assert "Traceback" not in shown
    assert list(json.loads(dropped.read_text())) == ["p0_a"]
