"""Files for other viewers: on demand, and made again when what they show has changed."""

import json

from foveate.slides.annotations import rasterize, read_annotation

from .project import Project
from .tiny_cohort import BLOCKS, COHORT, HEIGHT, WIDTH, sheet_rows


def test_it_is_made_on_demand_for_every_slide(project: Project) -> None:
    assert "export" not in project.planned()
    assert project.planned("export") == {"export": 1, "export_batch": 1}

    project.finish("export")

    made = {path.name for path in (project.results / "export").iterdir()}
    predicted = {row.slide for row in COHORT if row.split not in ("train",)}
    every = {f"{row.slide}{suffix}" for row in COHORT for suffix in (".geojson", ".xml")}
    assert made == every | {f"{slide}.ome.tif" for slide in predicted}
    for slide in predicted:
        features = json.loads((project.results / "export" / f"{slide}.geojson").read_text())["features"]
        groups = [feature["properties"]["classification"]["name"] for feature in features]
        assert groups.count("Fixation") == 3
    left, top, width, height = BLOCKS["macro"]
    for suffix in (".geojson", ".xml"):
        lesions = read_annotation(project.results / "export" / f"p3_a{suffix}")
        grid = rasterize(lesions, (HEIGHT, WIDTH), (0, 0), (1, 1))
        assert (grid[top : top + height, left : left + width] == 1).all()
        assert grid.sum() == width * height

    assert "Nothing to be done" in project.finish("export")
    assert project.planned() == {}
    (heat := project.results / "export" / f"{min(predicted)}.ome.tif").unlink()
    assert project.planned("export") == {"export": 1, "export_batch": 1}
    project.finish("export")
    assert heat.exists()
    rows = [row | {"annotation": "" if row["slide"] == "p3_a" else row["annotation"]} for row in sheet_rows("data")]
    project.write_sheet(rows)
    assert project.planned("export")["export_batch"] == 1


def test_an_export_that_was_corrected_is_an_annotation(project: Project) -> None:
    project.finish("export")
    corrected = project.folder / "data" / "corrected.geojson"
    corrected.write_text((project.results / "export" / "p0_b.geojson").read_text())
    rows = [
        row | {"annotation": "data/corrected.geojson" if row["slide"] == "p0_b" else row["annotation"]}
        for row in sheet_rows("data")
    ]
    project.write_sheet(rows)
    project.finish("--until", "overview")
    status = json.loads((project.results / "status" / "p0_b.json").read_text())
    assert (status["state"], status["reason"]) == ("ok", "")
