import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import shapely
import tifffile

from foveate.cohort.samples import Sample
from foveate.errors import FoveateError
from foveate.files import sha256
from foveate.report.drawn import lesion_marks
from foveate.report.sources import Predictions
from foveate.slides.annotations import Annotation, rasterize, read_annotation
from foveate.slides.asap import asap_xml, read_asap
from foveate.slides.geojson import geojson_text, read_geojson
from foveate.slides.marks import Mark
from foveate.slides.outlines import fill
from foveate.slides.overview_file import StoredOverview, read_overview
from foveate.slides.polygons import enclosed
from foveate.stages import export, predict
from foveate.stages.determinism import seeded
from foveate.stages.overview import survey
from foveate.stages.train import make_agent

pytestmark = pytest.mark.usefixtures("eager")
# a lesion with a hole, in which there is another lesion, and one that an exclusion cuts in two
OUTER, HOLE, ISLAND = (300, 150, 700, 550), (400, 250, 600, 450), (480, 330, 520, 370)
CUT, KNIFE = (720, 200, 880, 500), (700, 340, 900, 360)


def ring(left: float, top: float, right: float, bottom: float) -> list[list[float]]:
    return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]


def feature(group: str, kind: str, coordinates: object) -> dict[str, Any]:
    classification = {"name": group, "color": [200, 0, 0]}
    properties = {"objectType": "annotation", "classification": classification}
    return {"type": "Feature", "geometry": {"type": kind, "coordinates": coordinates}, "properties": properties}


@dataclasses.dataclass(frozen=True)
class Exported:
    samples: list[Sample]
    overviews: Path
    predictions: Path
    out: Path

    def overview(self, slide: str) -> StoredOverview:
        found = read_overview(self.overviews / f"{slide}.h5")
        assert found is not None
        return found

    def geojson(self, slide: str) -> list[Mark]:
        path = self.out / f"{slide}.geojson"
        return [mark for _, mark in read_geojson(path, json.loads(path.read_text()))]

    def asap(self, slide: str) -> list[Mark]:
        path = self.out / f"{slide}.xml"
        return [mark for _, mark in read_asap(path, path.read_bytes())]


@pytest.fixture(scope="module")
def exported(
    eager: None, tiny_config: Any, make_slide: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Exported:
    """Two slides that are predicted, one that failed, and one that is not predicted."""
    folder = tmp_path_factory.mktemp("export")
    annotation = folder / "a.geojson"
    features = [
        feature("Tumor", "MultiPolygon", [[ring(*OUTER), ring(*HOLE)[::-1]], [ring(*ISLAND)]]),
        feature("Tumor", "Polygon", [ring(*CUT)]),
        feature("Exclusion", "Polygon", [ring(*KNIFE)]),
    ]
    annotation.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    slide = make_slide(folder / "a.tif", size=(1024, 768), tissue_um=(200, 100, 900, 600))
    oblong = make_slide(folder / "b.tif", size=(1024, 1536), tissue_um=(200, 100, 900, 600), mpp=(1.0, 0.5))
    glass = make_slide(folder / "c.tif", size=(1024, 768), tissue_um=None)
    samples = [
        Sample("a", "p", slide.path, annotation=annotation),
        Sample("b", "p", oblong.path),
        Sample("glass", "p", glass.path),
        Sample("late", "p", slide.path),
    ]
    for sample in samples:
        good = survey(tiny_config, sample, folder / f"{sample.slide}.h5", folder / f"{sample.slide}.json")
        assert good == (sample.slide != "glass")
    seeded(0)
    make_agent(tiny_config, [0.25] * 4).save(folder / "model.keras")
    out = folder / "predictions" / "0.h5"
    predict.run(tiny_config, samples[:2], folder, folder / "model.keras", out, fold="0")
    export.run(samples, folder, [out], folder / "export")
    return Exported(samples, folder, out, folder / "export")


def test_every_slide_that_is_not_broken_has_its_files(exported: Exported) -> None:
    every = {f"{slide}{suffix}" for slide in ("a", "b") for suffix in (".geojson", ".xml", ".ome.tif")}
    assert {path.name for path in exported.out.iterdir()} == every | {"late.geojson", "late.xml"}


def test_geojson_has_the_fixations_of_the_predictions(exported: Exported) -> None:
    for slide in ("a", "b"):
        collection = json.loads((exported.out / f"{slide}.geojson").read_text())
        found = [f for f in collection["features"] if f["properties"]["classification"]["name"] == "Fixation"]
        fixations = Predictions([exported.predictions]).of(slide, "0")
        assert fixations is not None
        assert len(found) == len(fixations.running) == 2
        for step, one in enumerate(found):
            corners = np.array(one["geometry"]["coordinates"][0][:-1])
            np.testing.assert_allclose(corners.mean(axis=0), fixations.location_l0[step], atol=0.01)
            facts = one["properties"]["measurements"]
            running = [facts[f"p_{name}"] for name in ("negative", "itc", "micro", "macro")]
            np.testing.assert_allclose(running, fixations.running[step], atol=1e-6)
        (path,) = (m for m in exported.geojson(slide) if m.group == "Path")
        np.testing.assert_allclose(path.parts[0][0], fixations.location_l0, atol=0.01)


def test_both_formats_say_the_same_to_the_last_digit(exported: Exported) -> None:
    for slide in ("a", "b", "late"):
        rings = sorted(
            (mark.group if k == 0 or mark.group == "Tumor" else f"{mark.group} hole", k > 0, sides(part[k]))
            for mark in exported.geojson(slide)
            for part in mark.parts
            for k in range(len(part))
        )
        expected = [("Exclusion" if hole and group == "Tumor" else group, at) for group, hole, at in rings]
        found = [(mark.group, sides(mark.parts[0][0])) for mark in exported.asap(slide)]
        assert sorted(found) == sorted(expected)


def sides(vertices: np.ndarray) -> list[list[tuple[float, ...]]]:
    """The sides of an outline, whichever way it turns and wherever it begins."""
    ends = np.roll(vertices, -1, axis=0).tolist()
    return sorted(sorted((tuple(a), tuple(b))) for a, b in zip(vertices.tolist(), ends, strict=True))


def test_tissue_drawn_again_is_the_overview_s(exported: Exported) -> None:
    for slide in ("a", "b", "late"):
        overview = exported.overview(slide)
        (tissue,) = (mark for mark in exported.geojson(slide) if mark.group == "Tissue")
        grid = np.zeros(overview.tissue.shape, np.uint16)
        l0_per_px = np.array([16.0, 16.0]) / overview.geometry.mpp
        for outline, *holes in tissue.parts:
            fill(grid, outline / l0_per_px, 1, [hole / l0_per_px for hole in holes])
        np.testing.assert_array_equal(grid > 0, overview.tissue)


def test_what_is_exported_is_an_annotation_again(exported: Exported) -> None:
    assert exported.samples[0].annotation is not None
    before = read_annotation(exported.samples[0].annotation)
    shape = ((768, 1024), (0, 0), (1, 1))
    truth = rasterize(before, *shape)
    assert [int((truth == k).sum()) for k in (1, 2, 3)] == [400**2 - 200**2, 40**2, 160 * 300 - 160 * 20]
    again = rasterize(read_annotation(exported.out / "a.geojson"), *shape)
    np.testing.assert_array_equal(again, truth)
    # ASAP's holes cut all lesions, also the one within the hole
    asap = rasterize(read_annotation(exported.out / "a.xml"), *shape)
    np.testing.assert_array_equal(asap, np.where(truth == 2, 0, truth))


@pytest.mark.parametrize("itself", [True, False])
def test_an_exclusion_with_a_hole_comes_back(tmp_path: Path, itself: bool) -> None:
    # across a side of the lesion; twice round the square from (4, 4) to (6, 6), or with a hole that touches nothing
    loop = np.array([(2, 2), (10, 2), (10, 10), (4, 10), (4, 4), (6, 4), (6, 6), (2, 6)], float)
    rings = (np.array(ring(3, 2, 10, 10)[:-1]), np.array(ring(4, 4, 6, 7)[:-1]))
    drawn = Annotation([(np.array(ring(0, 0, 8, 12)[:-1]),)], [(loop,) if itself else rings])
    truth = rasterize(drawn, (12, 12), (0, 0), (1, 1))
    assert truth[5, 5] == 1
    assert truth[5, 7] == 0

    geojson, asap = tmp_path / "a.geojson", tmp_path / "a.xml"
    geojson.write_text(text := geojson_text(lesion_marks(drawn, (1.0, 1.0)), (0, 0)))
    first = read_annotation(geojson)
    assert [len(hole) for hole in first.holes] == [2]
    marks = lesion_marks(first, (1.0, 1.0))
    assert geojson_text(marks, (0, 0)) == text
    asap.write_text(asap_xml(marks))
    second = read_annotation(asap)
    assert [len(hole) for hole in second.holes] == [1]
    assert shapely.equals(enclosed(second.holes[0]).buffer(0), enclosed(first.holes[0]))  # without the cut, a line
    for found in (first, second):
        np.testing.assert_array_equal(rasterize(found, (12, 12), (0, 0), (1, 1)), truth)
    assert geojson_text(lesion_marks(second, (1.0, 1.0)), (0, 0)).count("Exclusion") == 1


def test_the_heat_map_lies_over_the_slide(exported: Exported) -> None:
    for slide, size_um in (("a", (1024, 768)), ("b", (1024, 768))):
        with tifffile.TiffFile(exported.out / f"{slide}.ome.tif") as file:
            assert len(file.series[0].levels) == 2
            pixels = file.series[0].asarray()
            xml = tifffile.xml2dict(file.ome_metadata or "")["OME"]["Image"]["Pixels"]
        assert (xml["SizeX"] * xml["PhysicalSizeX"], xml["SizeY"] * xml["PhysicalSizeY"]) == pytest.approx(size_um)
        fixations = Predictions([exported.predictions]).of(slide, "0")
        assert fixations is not None
        at = fixations.location_um.tolist()
        # a greedy policy fixates, at some time, the cell that it gave the most
        assert 255 in {pixels[int(y / xml["PhysicalSizeY"]), int(x / xml["PhysicalSizeX"])] for x, y in at}
        assert pixels[0, 0] == 0


def test_without_predictions_tissue_and_annotation_remain(exported: Exported, tmp_path: Path) -> None:
    export.run(exported.samples[:1], exported.overviews, [], tmp_path)
    collection = json.loads((tmp_path / "a.geojson").read_text())
    groups = [f["properties"]["classification"]["name"] for f in collection["features"]]
    assert groups == ["Tissue", "Tumor", "Tumor", "Tumor", "Exclusion"]
    assert not (tmp_path / "a.ome.tif").exists()


def test_what_does_not_hold_any_more_is_removed(exported: Exported, tmp_path: Path) -> None:
    every = {f"a{suffix}" for suffix in (".geojson", ".xml", ".ome.tif")}
    assert set(export.run(exported.samples[:1], exported.overviews, [exported.predictions], tmp_path)) == every
    assert {path.name for path in tmp_path.iterdir()} == every
    (tmp_path / "b.geojson").touch()  # of a slide that this export is not asked for
    digests = export.run(exported.samples[:1], exported.overviews, [], tmp_path)
    assert digests == {name: sha256(tmp_path / name) for name in ("a.geojson", "a.xml")}
    assert {path.name for path in tmp_path.iterdir()} == {*digests, "b.geojson"}
    shutil.copy(tmp_path / "a.xml", tmp_path / "glass.xml")  # of when it could be read
    assert export.run(exported.samples[2:3], exported.overviews, [], tmp_path) == {}
    assert not (tmp_path / "glass.xml").exists()


def test_a_slide_without_an_overview(exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(FoveateError, match=r"a\.h5 does not exist; make the overviews first"):
        export.run(exported.samples[:1], tmp_path, [], tmp_path / "out")


def test_predictions_of_before_there_was_attention(exported: Exported, tmp_path: Path) -> None:
    old = tmp_path / "0.h5"
    old.write_bytes(exported.predictions.read_bytes())
    with h5py.File(old, "r+") as file:
        del file["learned/attention"]
    with pytest.raises(FoveateError, match=r"0\.h5: says nothing of attention; delete it and predict again"):
        export.run(exported.samples[:1], exported.overviews, [old], tmp_path / "out")
