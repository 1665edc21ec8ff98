import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image
from skimage.draw import polygon

from foveate.cohort.samples import Sample
from foveate.config import Config
from foveate.files import sha256
from foveate.slides import readers
from foveate.slides.handle import open_slide
from foveate.slides.jpeg import library
from foveate.slides.overview import read_scan
from foveate.slides.overview_file import StoredOverview, read_overview
from foveate.stages.outputs import Outputs
from foveate.stages.overview import read_lesions, run, run_batch

SHARED = os.environ.get("FOVEATE_SHARED")
needs_shared = pytest.mark.skipif(not SHARED, reason="FOVEATE_SHARED is not set")
needs_turbojpeg = pytest.mark.skipif(library() is None, reason="TurboJPEG 3 is not installed")
DATA = Path(str(SHARED), "data")


@dataclasses.dataclass
class Stage:
    """The stage with the default configuration and a folder of results."""

    config: Config
    results: Path

    def run(self, path: Path, **columns: Any) -> dict[str, Any]:
        """Run it on the slide "a"; checks what holds for every slide and returns the status."""
        out = self.out()
        good = run(self.config, Sample("a", "p", path, **columns), out)
        status = json.loads(out.status.read_text())
        assert status["state"] == ("ok" if good else "failed")
        assert bool(status["reason"]) != good
        for picture in (out.thumbnail, out.tissue):
            with Image.open(picture) as image:
                assert min(image.size) > 10
        with h5py.File(out.overview) as file:
            assert (file.attrs["state"], file.attrs["reason"]) == (status["state"], status["reason"])
        assert (read_overview(out.overview) is not None) == good
        assert [p.name for p in self.results.rglob(".*")] == []
        return dict(status)

    def out(self) -> Outputs:
        return Outputs.of("a", self.results)

    def stored(self) -> StoredOverview:
        stored = read_overview(self.out().overview)
        assert stored is not None
        return stored


@pytest.fixture
def stage(config: Config, tmp_path: Path) -> Stage:
    return Stage(config, tmp_path / "results")


def test_places_of_the_files() -> None:
    assert Outputs.of("a", Path("results")) == Outputs(
        Path("results/overview/a.h5"),
        Path("results/thumbnails/a.jpg"),
        Path("results/tissue/a.png"),
        Path("results/status/a.json"),
    )


def test_a_good_slide(stage: Stage, tiny_slide: Any) -> None:
    status = stage.run(tiny_slide.path)
    assert status["slide"] == "a"
    assert (status["path"], status["annotation"]) == (str(tiny_slide.path), "")
    assert (status["mpp"], status["levels"], status["size_l0"]) == ([1, 1], 3, [2048, 1536])
    assert (status["vendor"], status["absent_tiles"]) == ("generic-tiff", 0)
    assert (status["remedy"], status["warnings"]) == ("", [])
    assert status["tissue_share"] == pytest.approx(800 * 500 / (2048 * 1536), rel=0.05)
    assert set(status["versions"]) >= {"foveate", "openslide"}
    with Image.open(stage.out().thumbnail) as thumbnail, Image.open(stage.out().tissue) as tissue:
        assert thumbnail.size == tissue.size == (128, 96)
        assert thumbnail.format == "JPEG"
        assert tissue.format == "PNG"


@needs_turbojpeg
def test_the_reader_that_was_chosen_and_why_are_in_the_status_and_the_overview(
    stage: Stage, tiny_slide: Any, exact_slide: Any
) -> None:
    status = stage.run(tiny_slide.path)
    assert (status["reader"], stage.stored().reader) == ("tiles", "tiles")
    assert status["reader_reason"] == "its JPEG tiles give the pixels that OpenSlide gives"
    status = stage.run(exact_slide.path)
    assert (status["reader"], stage.stored().reader) == ("openslide", "openslide")
    assert status["reader_reason"] == "level 0 has no JPEG tiles"


def test_without_turbojpeg_the_overview_is_the_same(
    stage: Stage, tiny_slide: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = stage.run(tiny_slide.path)
    first = stage.stored()
    monkeypatch.setattr(readers, "library", lambda: None)
    second = stage.run(tiny_slide.path)
    assert (second["state"], second["reader"]) == ("ok", "openslide")
    for images in zip(first.rasters(), stage.stored().rasters(), strict=True):
        np.testing.assert_array_equal(images[0].pixels, images[1].pixels)
    changed = {key for key in status if status[key] != second[key]}
    assert changed <= {"reader", "reader_reason", "seconds", "overview_sha256"}


def test_the_same_slide_gives_the_same_bytes(stage: Stage, tiny_slide: Any) -> None:
    stage.run(tiny_slide.path)
    files = [stage.out().overview, stage.out().thumbnail, stage.out().tissue]
    before = [path.read_bytes() for path in files]
    stage.run(tiny_slide.path)
    assert [path.read_bytes() for path in files] == before


def test_lesions_lie_where_they_are_drawn(stage: Stage, tiny_slide: Any, tmp_path: Path) -> None:
    square = [[480, 320], [800, 320], [800, 480], [480, 480]]  # level-0 px = um
    annotation = tmp_path / "a.json"
    annotation.write_text(json.dumps({"positive": [{"name": "x", "vertices": square}], "negative": []}))
    assert stage.run(tiny_slide.path, annotation=annotation)["annotation"] == str(annotation)
    lesions = stage.stored().lesions
    assert lesions is not None
    expected = np.zeros((96, 128), np.uint16)
    expected[20:30, 30:50] = 1
    np.testing.assert_array_equal(lesions.index, expected)
    assert lesions.diameter_um[0] == pytest.approx(np.hypot(320, 160))


def test_an_annotation_that_cannot_be_read_fails_the_slide(stage: Stage, tiny_slide: Any, tmp_path: Path) -> None:
    annotation = tmp_path / "a.json"
    annotation.write_text("{")
    status = stage.run(tiny_slide.path, annotation=annotation)
    assert "a.json:1: not JSON" in status["reason"]
    assert status["remedy"] == "correct the annotation column"
    with Image.open(stage.out().thumbnail) as thumbnail:
        assert thumbnail.size == (128, 96)  # what could be read is shown


def test_a_slide_without_resolution(stage: Stage, make_slide: Callable[..., Any], tmp_path: Path) -> None:
    tiny = make_slide(tmp_path / "a.tif", mpp=None)
    assert "mpp column" in stage.run(tiny.path)["remedy"]
    status = stage.run(tiny.path, mpp=1.0)
    assert (status["mpp"], status["mpp_source"]) == ([1, 1], "the mpp column")


@pytest.mark.parametrize(
    ("paint", "reason"),
    [
        ({"tissue_um": None}, "no tissue was found"),
        ({"tissue_um": None, "glass": (6, 4, 30)}, "background is dark"),
    ],
)
def test_slides_with_nothing_to_look_at(
    stage: Stage, make_slide: Callable[..., Any], tmp_path: Path, paint: dict[str, Any], reason: str
) -> None:
    status = stage.run(make_slide(tmp_path / "a.tif", **paint).path)
    assert reason in status["reason"]
    assert status["remedy"]
    assert status["levels"] == 3


def test_a_corrupt_tile_fails_the_slide(
    stage: Stage, tiny_slide: Any, spoil_tile: Callable[..., None], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.tif"
    shutil.copy(tiny_slide.path, bad)
    spoil_tile(bad, 0, absent=False, page=1)
    status = stage.run(bad)
    assert "cannot read 512 x 384 px at (0, 0) of level 1, in one of the tiles 0, 0 to 1, 1" in status["reason"]
    assert "copy the file again" in status["remedy"]


def test_an_absent_tile_does_not(
    stage: Stage, tiny_slide: Any, spoil_tile: Callable[..., None], tmp_path: Path
) -> None:
    sparse = tmp_path / "sparse.tif"
    shutil.copy(tiny_slide.path, sparse)
    spoil_tile(sparse, 3, absent=True, page=1)
    for index in (40, 47):
        spoil_tile(sparse, index, absent=True)
    fine = dataclasses.replace(stage.config, overview=dataclasses.replace(stage.config.overview, mpp=8.0))
    status = dataclasses.replace(stage, config=fine).run(sparse)
    assert status["absent_tiles"] == 3
    stored = stage.stored()
    assert (stored.thumbnail[140:, 140:] == stored.background_rgb).all()  # a hole is glass, as at every other scale
    assert (stored.rasters()[1].pixels[140:, 140:] == stored.background_rgb).all()
    assert not stored.tissue[128:, 128:].any()


def test_a_corrupt_tile_that_quality_control_meets_is_a_warning(
    stage: Stage, tiny_slide: Any, spoil_tile: Callable[..., None], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.tif"
    shutil.copy(tiny_slide.path, bad)
    spoil_tile(bad, 10, absent=False)  # in the middle of the tissue
    status = stage.run(bad)
    assert status["state"] == "ok"
    assert any("level 0" in warning for warning in status["warnings"])
    assert status["blurred_share"] is not None  # of the fields elsewhere


def test_lesions_lie_on_the_overview_s_own_grid(stage: Stage, make_slide: Callable[..., Any], tmp_path: Path) -> None:
    tiny = make_slide(tmp_path / "a.tif", compression="deflate")
    outline = tmp_path / "a.json"
    outline.write_text(
        '{"positive": [{"name": "a", "vertices": [[512, 256], [768, 256], [768, 512], [512, 512]]}], "negative": []}'
    )
    slide = open_slide("a", tiny.path)
    moved = dataclasses.replace(slide.geometry, bounds_l0=(5, 3, 1800, 1400))
    scan = read_scan(dataclasses.replace(slide, geometry=moved), 16.0, 4.0)
    assert scan.origin_um == (4.0, 0.0)  # the whole pixel before the bounds
    lesions = read_lesions(Sample("a", "p", tiny.path, annotation=outline), slide, scan)
    assert lesions is not None
    rows, columns = np.nonzero(lesions.index)
    # pixel c covers 4 + 16 c to 20 + 16 c um: centres within 512 to 768
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (32, 47, 16, 31)


@needs_shared
def test_a_format_other_than_tiff_says_nothing_of_absent_tiles(stage: Stage) -> None:
    assert stage.run(DATA / "slides" / "camelyon16_tumor_072_level7.dcm")["absent_tiles"] is None


@needs_turbojpeg
def test_an_unaligned_level(stage: Stage, make_pyramid: Callable[..., None], tmp_path: Path) -> None:
    fine = np.full((3842, 3842, 3), (244, 242, 246), np.uint8)
    noise = np.random.default_rng(0).integers(0, 30, (2000, 1600, 1))
    fine[800:2800, 1000:2600] = np.array((190, 90, 160)) + noise
    coarse = np.asarray(Image.fromarray(fine).resize((120, 120), Image.Resampling.BOX))
    path = tmp_path / "a.tif"
    make_pyramid(path, [fine, coarse], mpp=(0.5, 0.5))
    status = stage.run(path)
    stored = stage.stored()
    assert stored.geometry.downsamples[1] == pytest.approx(32.0167, abs=1e-4)
    assert (status["state"], status["reader"], status["levels"]) == ("ok", "tiles", 2)
    assert stored.coarse_um == (8.0, 8.0)
    assert stored.tissue.shape == (121, 121)  # 1921 um at 16
    rows, columns = np.nonzero(stored.tissue)  # 400 to 1400, 500 to 1300 um
    assert np.abs(np.array([rows.min(), rows.max() + 1]) - (25, 87.5)).max() < 2
    assert np.abs(np.array([columns.min(), columns.max() + 1]) - (31.25, 81.25)).max() < 2
    native = dataclasses.replace(stage.config, overview=dataclasses.replace(stage.config.overview, coarse_mpp=16.0))
    dataclasses.replace(stage, config=native).run(path)
    assert stage.stored().coarse_um == pytest.approx((16.0083, 16.0083), abs=1e-4)
    difference = stage.stored().rasters()[1].pixels[:120, :120].astype(int) - coarse
    assert np.abs(difference).mean() < 3  # JPEG, and OpenSlide between two pixels


def test_files_that_are_no_slides(stage: Stage, tiny_slide: Any, tmp_path: Path) -> None:
    assert "No such file" in stage.run(tmp_path / "absent.tif")["reason"]
    assert "OpenSlide cannot open" in stage.run(tmp_path)["reason"]
    cut = tmp_path / "cut.tif"
    cut.write_bytes(tiny_slide.path.read_bytes()[: tiny_slide.path.stat().st_size * 6 // 10])
    status = stage.run(cut)
    assert "is cut short" in status["reason"]
    assert "copy the file again" in status["remedy"]


def test_a_slide_that_failed_and_was_mended(stage: Stage, tiny_slide: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(b"no slide")
    assert stage.run(path)["state"] == "failed"
    shutil.copy(tiny_slide.path, path)
    assert stage.run(path)["state"] == "ok"


def test_a_coarse_slide_is_enlarged_with_a_warning(
    stage: Stage, make_slide: Callable[..., Any], tmp_path: Path
) -> None:
    tiny = make_slide(
        tmp_path / "a.tif", size=(512, 384), mpp=(28.0, 28.0), levels=1, tissue_um=(2800, 2800, 8400, 8400)
    )
    warnings = stage.run(tiny.path)["warnings"]
    assert warnings == [
        "level 0 has 28 um/px; the overview of 16 um/px is upsampled",
        "no glimpses can be read: level 0 has 28 um/px, coarser than twice the glimpse scale of 1 um/px",
    ]
    assert stage.stored().thumbnail.shape == (672, 896, 3)


def test_a_scale_that_is_finer_than_the_slide_is_a_warning(
    stage: Stage, make_slide: Callable[..., Any], tmp_path: Path
) -> None:
    tiny = make_slide(tmp_path / "a.tif", mpp=(1.5, 1.5))
    assert stage.config.glimpse.scales_mpp[0] == 1.0
    assert stage.run(tiny.path)["warnings"] == ["the glimpse scale of 1 um/px is upsampled from 1.5 um/px"]


@needs_shared
@pytest.mark.parametrize(
    ("name", "reason", "remedy"),
    [
        ("broken.svs", "OpenSlide cannot open", "exclude column"),
        ("TCGA-CR-7395-no-mpp.svs", "does not state its resolution", "mpp column"),
        ("fluorescence-DAPI.ndpi", "background is dark", "exclude column"),
    ],
)
def test_real_slides_that_are_refused(stage: Stage, name: str, reason: str, remedy: str) -> None:
    status = stage.run(DATA / "slides" / name)
    assert reason in status["reason"]
    assert remedy in status["remedy"]


@needs_shared
@pytest.mark.parametrize(
    ("name", "mpp", "vendor"),
    [
        ("TCGA-CR-7395-no-mpp.svs", 0.5, "aperio"),
        ("CMU-1-Small-Region.svs", None, "aperio"),
        ("camelyon16_tumor_072_level7.dcm", None, "dicom"),
    ],
)
def test_real_slides_that_are_read(stage: Stage, name: str, mpp: float | None, vendor: str) -> None:
    status = stage.run(DATA / "slides" / name, mpp=mpp)
    assert (status["state"], status["vendor"]) == ("ok", vendor)
    assert stage.stored().reader == status["reader"]
    assert 0.02 < status["tissue_share"] < 0.98


@needs_shared
def test_lesions_of_a_real_slide_lie_in_its_tissue(stage: Stage, tmp_path: Path) -> None:
    outlines = json.loads((DATA / "annotations" / "camelyon16_tumor_072.json").read_text())
    for part in (*outlines["positive"], *outlines["negative"]):
        part["vertices"] = (np.array(part["vertices"]) / 128).tolist()  # the file holds level 7 alone
    annotation = tmp_path / "level7.json"
    annotation.write_text(json.dumps(outlines))
    stage.run(DATA / "slides" / "camelyon16_tumor_072_level7.dcm", annotation=annotation)
    stored = stage.stored()
    assert stored.lesions is not None
    lesion = stored.lesions.index > 0
    assert stored.tissue[lesion].mean() >= 0.95
    # the outlines themselves, drawn by other means, cover the same pixels
    drawn = np.zeros(lesion.shape, bool)
    for part in outlines["positive"]:
        x, y = (np.array(part["vertices"]) * stored.geometry.mpp / stored.mpp).T
        drawn[polygon(y - 0.5, x - 0.5, drawn.shape)] = True
    assert (drawn & lesion).sum() / (drawn | lesion).sum() > 0.9


@dataclasses.dataclass
class InBatches:
    """Two slides in batches, and when their overviews were made."""

    stage: Stage
    samples: list[Sample]

    def run(self, code: str = "1", batch: str = "all") -> dict[str, int]:
        listed = self.stage.results / "batches" / f"{batch}.tsv"
        run_batch(self.stage.config, self.samples, self.stage.results, listed, code)
        places = {s.slide: Outputs.of(s.slide, self.stage.results) for s in self.samples}
        rows = [f"{slide}\t{sha256(place.overview)}" for slide, place in places.items()]
        assert listed.read_text().splitlines() == ["slide\tsha256", *rows]
        return {slide: place.status.stat().st_mtime_ns for slide, place in places.items()}


@pytest.fixture
def in_batches(stage: Stage, tiny_slide: Any, tmp_path: Path) -> InBatches:
    drawn = tmp_path / "lesions.xml"
    drawn.write_text("<ASAP_Annotations><Annotations/></ASAP_Annotations>")
    own = tmp_path / "own.tif"
    shutil.copy(tiny_slide.path, own)
    return InBatches(stage, [Sample("a", "p", own), Sample("b", "q", tiny_slide.path, annotation=drawn)])


def test_what_stands_as_it_was_made_is_not_made_again(in_batches: InBatches) -> None:
    before = in_batches.run()
    assert in_batches.run(batch="another") == before
    in_batches.samples.reverse()
    assert in_batches.run() == before


def _another_annotation(it: InBatches) -> None:
    annotation = it.samples[1].annotation
    assert annotation is not None
    annotation.write_text("<ASAP_Annotations><Annotations></Annotations></ASAP_Annotations>")


def _another_file(it: InBatches) -> None:
    os.utime(it.samples[0].path, (1, 1))


def _another_resolution(it: InBatches) -> None:
    it.samples[0] = dataclasses.replace(it.samples[0], mpp=0.6)


def _no_overview(it: InBatches) -> None:
    Outputs.of("a", it.stage.results).overview.unlink()


def _a_broken_overview(it: InBatches) -> None:
    with Outputs.of("b", it.stage.results).overview.open("ab") as file:
        file.write(b"more")


def _no_status(it: InBatches) -> None:
    Outputs.of("a", it.stage.results).status.unlink()


def _a_broken_status(it: InBatches) -> None:
    Outputs.of("b", it.stage.results).status.write_text('{"state": "ok", "made')


@pytest.mark.parametrize(
    ("change", "slide"),
    [
        (_another_annotation, "b"),
        (_another_file, "a"),
        (_another_resolution, "a"),
        (_no_overview, "a"),
        (_a_broken_overview, "b"),
        (_no_status, "a"),
        (_a_broken_status, "b"),
    ],
)
def test_what_was_made_of_something_else_is_made_again_alone(
    in_batches: InBatches, change: Callable[[InBatches], None], slide: str
) -> None:
    before = in_batches.run()
    change(in_batches)
    after = in_batches.run()
    assert {name for name, time in after.items() if time != before[name]} == {slide}


def test_other_code_makes_all_again_and_a_failed_slide_is_tried_again(in_batches: InBatches) -> None:
    before = in_batches.run()
    again = in_batches.run(code="2")
    assert all(again[slide] > before[slide] for slide in before)
    whole = in_batches.samples[0].path.read_bytes()
    in_batches.samples[0].path.write_bytes(whole[:100])
    failed = in_batches.run(code="2")
    assert json.loads(Outputs.of("a", in_batches.stage.results).status.read_text())["state"] == "failed"
    tried = in_batches.run(code="2")
    assert (tried["a"] > failed["a"], tried["b"]) == (True, failed["b"])
