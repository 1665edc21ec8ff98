import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from foveate.errors import FoveateError, SlideError
from foveate.report.palette import CLASS_COLOURS, CLASS_COLOURS_DARK, tumor_colour
from foveate.slides.overview_file import read_overview
from foveate.view import content
from foveate.view.content import Content, palette_css
from foveate.view.layers import lesion_layer


def corners(path: str) -> list[list[float]]:
    return [[float(v) for v in point.split()] for point in path.strip("MZ").split("L")]


def test_a_folder_without_results_is_named(tmp_path: Path) -> None:
    with pytest.raises(FoveateError, match=f"^{tmp_path}: no results here, for .*slides.tsv does not exist; name the"):
        Content(tmp_path)


def test_the_list_has_predicted_patients_first(run: Any) -> None:
    slides = Content(run.results).listing()["slides"]
    assert [(s["patient"], s["slide"], s["state"]) for s in slides] == [
        ("p", "seen", "ok"),
        ("p", "broken", "failed"),
        ("p", "gone", "ok"),
        ("q", "learned", "unused"),
    ]
    seen = slides[0]
    assert (seen["prediction"], seen["probabilities"], seen["label"]) == ("micro", [0.1, 0.1, 0.7, 0.1], "micro")
    assert (seen["incomplete"], seen["stage"], seen["true_stage"]) == (True, "", "pN1mi")
    assert (slides[3]["prediction"], slides[3]["probabilities"]) == ("", [])


def test_the_list_needs_no_stages(own_run: Any) -> None:
    (own_run.results / "patients.tsv").unlink()
    assert [s["stage"] for s in Content(own_run.results).listing()["slides"]] == [""] * 4


def test_a_slide_s_fixations_end_where_it_stopped(run: Any) -> None:
    told = Content(run.results).slide("seen")
    assert told is not None
    path = told["fixations"]
    assert path["places"] == [[500, 300], [1000, 600], [656, 336]]
    assert (len(path["running"]), path["budget"], path["fold"]) == (3, 5, "0")
    assert path["running"][2] == [0.1, 0.1, 0.7, 0.1]
    assert path["sides"] == [[8, 8], [32, 32]]  # of 8 px of 1 and 4 um, at 1 um per level-0 pixel
    assert path["colours"][0] == tumor_colour(1 - np.float32(0.7))
    json.dumps(told, allow_nan=False)


def test_layers_lie_over_the_slide(run: Any, tiny_slide: Any) -> None:
    told = Content(run.results).slide("seen")
    assert told is not None
    tissue = told["tissue"]
    points = np.array(corners(tissue["path"])) * [tissue["scale_x"], tissue["scale_y"]] + [tissue["x"], tissue["y"]]
    np.testing.assert_allclose([*points.min(0), *points.max(0)], tiny_slide.tissue_um, atol=2 * 16)
    assert told["lesions"] == {
        "path": "M600.0 300.0L700.0 300.0L700.0 400.0L600.0 400.0ZM620.0 350.0L640.0 350.0L640.0 370.0Z",
        "x": 0, "y": 0, "scale_x": 1, "scale_y": 1,
    }  # fmt: skip
    assert told["image"]["width"] == 2048
    assert told["image"]["scanned"] == [0, 0, 2048, 1536]


def test_a_lesion_s_own_hole_is_drawn_too(own_run: Any) -> None:
    rings = [[[600, 300], [700, 300], [700, 400], [600, 300]], [[680, 310], [690, 310], [690, 320], [680, 310]]]
    geometry = {"type": "Polygon", "coordinates": rings}
    drawn = own_run.annotation.with_suffix(".geojson")
    drawn.write_text(
        json.dumps({"type": "Feature", "geometry": geometry, "properties": {"classification": {"name": "Tumor"}}})
    )
    overview = read_overview(own_run.results / "overview" / "seen.h5")
    layer = lesion_layer(overview, drawn)
    assert layer is not None
    assert layer["path"] == "M600.0 300.0L700.0 300.0L700.0 400.0ZM680.0 310.0L690.0 310.0L690.0 320.0Z"


def test_lesions_are_the_overview_s_where_the_annotation_is_gone(own_run: Any) -> None:
    own_run.annotation.unlink()
    told = Content(own_run.results).slide("seen")
    assert told is not None
    layer = told["lesions"]
    assert (layer["scale_x"], layer["x"]) == (16, 0)
    outer = np.array(corners(layer["path"].split("Z")[0])) * 16
    np.testing.assert_allclose([*outer.min(0), *outer.max(0)], (600, 300, 700, 400), atol=16)


@pytest.mark.parametrize(
    ("slide", "image", "reason"),
    [
        ("broken", False, "The slide failed: "),
        ("gone", False, "gone.tif is not there any more"),
        ("learned", True, None),
    ],
)
def test_what_cannot_be_shown_has_a_reason(run: Any, slide: str, image: bool, reason: str | None) -> None:
    told = Content(run.results).slide(slide)
    assert told is not None
    assert (told["image"] is not None) == image
    assert reason in told["problem"]["reason"] if reason else told["problem"] is None
    assert (told["fixations"] is not None) == (slide == "gone")
    assert Content(run.results).slide("nobody") is None


@pytest.mark.parametrize("failed_before", [True, False])
def test_an_excluded_slide_has_its_own_reason(own_run: Any, failed_before: bool) -> None:
    table = own_run.results / "predictions" / "slides.tsv"
    name = "broken" if failed_before else "learned"
    rows = [line.split("\t") for line in table.read_text().splitlines()]
    for row in rows[1:]:
        if row[0] == name:
            row[5:7] = "excluded", "torn"
    table.write_text("".join("\t".join(row) + "\n" for row in rows))
    told = Content(own_run.results).slide(name)
    assert told is not None
    assert told["problem"] == {"reason": "The slide is excluded: torn", "remedy": ""}
    assert Content(own_run.results).tile(name, 0, 0, 0) is None


def test_an_overview_that_was_deleted_is_made_again_by_the_workflow(own_run: Any) -> None:
    (own_run.results / "overview" / "seen.h5").unlink()
    results = Content(own_run.results)
    told = results.slide("seen")
    assert told is not None
    assert told["problem"] == {"reason": "it has no overview", "remedy": "run the workflow again"}
    with pytest.raises(SlideError, match=r"seen: it has no overview \(run the workflow again\)"):
        results.tile("seen", 0, 0, 0)


def test_what_a_run_with_other_folds_left_is_not_shown(own_run: Any) -> None:
    folder = own_run.results / "predictions"
    shutil.copytree(folder / "0", folder / "split")
    with h5py.File(folder / "split" / "all.h5", "r+") as file:
        file.attrs["fold"] = "split"
    os.utime(folder / "split" / "all.h5", ns=(0, 0))
    table = folder / "slides.tsv"
    rows = table.read_text().splitlines()
    (seen,) = (k for k, row in enumerate(rows) if row.startswith("seen\t"))
    rows[seen] = rows[seen].replace("seen\tp\t0", "seen\tp\tensemble")
    table.write_text("\n".join(rows) + "\n")
    told = Content(own_run.results).slide("seen")
    assert told is not None
    assert told["fixations"]["fold"] == "0"


def test_a_slide_that_changed_is_not_shown(own_run: Any, exact_slide: Any) -> None:
    shutil.copy(exact_slide.path, own_run.slide)
    told = Content(own_run.results).slide("seen")
    assert told is not None
    assert "seen.tif is not the file that was predicted" in told["problem"]["reason"]


def test_slides_are_found_beside_results_that_moved(
    own_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with h5py.File(own_run.results / "overview" / "seen.h5", "a") as file:
        file.attrs["path"] = "seen.tif"  # as a sheet says it, from the folder of the run
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    told = Content(own_run.results).slide("seen")
    assert told is not None
    assert told["problem"] is None


def test_tiles_and_glimpses(run: Any) -> None:
    results = Content(run.results)
    tile = results.tile("seen", 11, 0, 0)
    assert tile is not None
    assert Image.open(io.BytesIO(tile)).size == (255, 255)
    glimpse = results.glimpse("seen", 2, 1)
    assert glimpse is not None
    assert (np.asarray(Image.open(io.BytesIO(glimpse))) == np.full((8, 8, 3), 7)).all()
    assert results.tile("seen", 99, 0, 0) is None
    assert [results.glimpse(*which) for which in (("seen", 3, 0), ("seen", 0, 2), ("learned", 0, 0))] == [None] * 3


def test_a_bad_tile_spoils_no_other(own_run: Any, spoil_tile: Any) -> None:
    spoil_tile(own_run.slide, 0, absent=False)
    results = Content(own_run.results)
    for _ in range(2):
        with pytest.raises(SlideError, match="cannot read tile 0, 0"):
            results.tile("seen", 11, 0, 0)
        assert results.tile("seen", 11, 4, 4) is not None


def test_few_slides_are_kept_open(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "OPEN_SLIDES", 1)
    results = Content(run.results)
    for slide in ("seen", "learned", "seen"):
        assert results.tile(slide, 0, 0, 0) is not None
        assert list(results._opened) == [slide]


def test_colours_are_the_report_s() -> None:
    light, dark = palette_css().split("@media")
    assert all(f"--class-{name}: {colour};" in light for name, colour in CLASS_COLOURS.items())
    assert all(f"--class-{name}: {colour};" in dark for name, colour in CLASS_COLOURS_DARK.items())
