import csv
import json
import re
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, zoom

from foveate.errors import FoveateError
from foveate.patients.stages import SLIDE_CLASSES
from foveate.report.comparison import COST, GOOD
from foveate.stages import patients as patients_stage
from foveate.stages import report
from foveate.stages.training.history import write_history

SCALES_MPP = (1.0, 4.0, 32.0)
SIDES = ("", "random_")
VERDICT = ("prediction", *(f"{kind}{name}" for kind in ("p_", "uncalibrated_p_") for name in SLIDE_CLASSES))
TEMPERATURE = 1.5
COLUMNS = (
    "slide",
    "patient",
    "fold",
    "split",
    "label",
    "state",
    "reason",
    "temperature",
    *(s + v for s in SIDES for v in VERDICT),
)
COHORT = (("negative", "itc", "macro"), ("negative", "micro", "negative"))


@dataclass
class Results:
    """A results folder, as the stages before the report leave it, with made-up slides."""

    folder: Path
    rows: list[dict[str, str]]

    def write_tables(self) -> None:
        """Write slides.tsv and, through the real stage, patients.tsv and metrics.json."""
        path = self.folder / "predictions" / "slides.tsv"
        with path.open("w", encoding="utf-8", newline="") as handle:
            writer = csv.DictWriter(handle, COLUMNS, delimiter="\t", restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
        names = ("patients.tsv", "submission.csv", "metrics.json")
        patients_stage.run(path, {}, *(self.folder / name for name in names), bootstrap=50)

    def row(self, slide: str) -> dict[str, str]:
        return next(row for row in self.rows if row["slide"] == slide)

    def change(self, slide: str, state: str, reason: str) -> None:
        """Take the predictions of a slide away."""
        self.row(slide).update(dict.fromkeys((s + v for s in SIDES for v in VERDICT), ""), state=state, reason=reason)
        self.write_tables()

    def report(self, **changes: object) -> str:
        inputs: dict = {
            "overviews": self.folder / "overview",
            "statuses": self.folder / "status",
            "predictions": [self.folder / "predictions" / "0.h5"],
            "slides_tsv": self.folder / "predictions" / "slides.tsv",
            "patients_tsv": self.folder / "patients.tsv",
            "metrics_json": self.folder / "metrics.json",
            "histories": {"0": self.folder / "train" / "0" / "history.csv"},
            "comparison": self.folder / "compare" / "compare.tsv",
            "out": self.folder / "report" / "index.html",
        }
        report.run(**inputs | changes)
        return (self.folder / "report" / "index.html").read_text(encoding="utf-8")


def make_results(
    folder: Path,
    cohort: tuple[tuple[str, ...], ...] = COHORT,
    fixations: int = 5,
    glimpse_px: int = 16,
    shape: tuple[int, int] = (60, 90),
    seed: int = 7,
) -> Results:
    """Make results of test patients, `cohort` their slides' classes, and of one training patient."""
    rng = np.random.default_rng(seed)
    for name in ("overview", "status", "predictions"):
        (folder / name).mkdir(parents=True)
    rows, slides = [], []
    for k, labels in enumerate(cohort):
        for node, label in enumerate(labels):
            name = f"patient_{k:03d}_node_{node}"
            tissue, lesions, picture = _tissue(rng, shape, label)
            _write_overview(folder / "overview" / f"{name}.h5", name, picture, tissue, lesions)
            _write_status(folder / "status" / f"{name}.json", name, shape)
            slide = _fixations(rng, picture, tissue, lesions, label, fixations, glimpse_px)
            slides.append((name, slide))
            row = {"slide": name, "patient": f"patient_{k:03d}", "fold": "0", "split": "test", "label": label}
            rows.append(row | {"state": "ok", "reason": ""} | _verdicts(rng, slide["running"][-1]))
    for node in range(2):
        row = {"slide": f"patient_900_node_{node}", "patient": "patient_900", "fold": "0", "split": "train"}
        rows.append(row | {"label": "negative", "state": "unused", "reason": ""})
    _write_predictions(folder / "predictions" / "0.h5", slides, fixations, glimpse_px)
    _write_history(folder / "train" / "0" / "history.csv", rng)
    results = Results(folder, rows)
    results.write_tables()
    return results


def _tissue(rng, shape, label):
    height, width = shape
    y, x = np.mgrid[:height, :width] / min(shape)
    smooth = gaussian_filter(rng.normal(size=shape), min(shape) / 14) * min(shape) / 5
    centre = np.array([width, height]) / min(shape) / 2
    tissue = np.hypot((x - centre[0]) / centre[0], (y - centre[1]) / centre[1]) + 0.25 * smooth < 0.72
    size = {"negative": 0.0, "itc": 0.03, "micro": 0.08, "macro": 0.2}[label]
    spot = centre + rng.uniform(-0.2, 0.2, 2)
    lesions = ((np.hypot(x - spot[0], y - spot[1]) < size * (1 + 0.4 * smooth)) & tissue).astype(np.uint16)
    grain = rng.normal(size=shape)[..., None] * 14
    picture = np.where(tissue[..., None], (206, 150, 190), (241, 240, 243)) + grain * tissue[..., None]
    picture = np.where(lesions[..., None] > 0, picture - (10, -14, -4), picture)
    follicles = gaussian_filter(rng.normal(size=shape), min(shape) / 30) * min(shape) / 12 > 0.55
    picture -= 42 * (follicles & tissue & (lesions == 0))[..., None]
    return tissue, lesions, gaussian_filter(picture, (0.7, 0.7, 0)).clip(0, 255).astype(np.uint8)


def _fixations(rng, picture, tissue, lesions, label, count, px):
    cells = np.argwhere(tissue)
    chosen = cells[rng.integers(len(cells), size=count)]
    if lesions.any():
        late = np.argwhere(lesions > 0)
        chosen[count // 3 :] = late[rng.integers(len(late), size=count - count // 3)]
    um = (chosen[:, ::-1] + 0.5) * 16.0
    target = np.eye(4)[SLIDE_CLASSES.index(label)] * 3.0 + rng.normal(size=4) * 1.3
    logits = np.linspace(0, 1, count)[:, None] * target + 0.2 * rng.normal(size=(count, 4))
    running = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    glimpses = np.empty((count, len(SCALES_MPP), px, px, 3), np.uint8)
    for t, (r, c) in enumerate(chosen):
        for s, mpp in enumerate(SCALES_MPP):
            half = max(2, round(px * mpp / 32))
            padded = np.pad(picture, ((half, half), (half, half), (0, 0)), constant_values=241)
            patch = padded[r : r + 2 * half, c : c + 2 * half].astype(float)
            patch = zoom(patch, (px / (2 * half), px / (2 * half), 1), order=1)
            glimpses[t, s] = (patch + rng.normal(size=(px, px, 1)) * 18 / mpp**0.5).clip(0, 255)
    probability = rng.dirichlet(np.ones(count))
    return {"running": running, "um": um, "l0": um / 0.25, "policy": probability, "glimpses": glimpses}


def _verdicts(rng, learned):
    row = {}
    for side, probabilities in zip(SIDES, (learned, rng.dirichlet(np.ones(4))), strict=True):
        row[f"{side}prediction"] = SLIDE_CLASSES[int(np.argmax(probabilities))]
        raw = probabilities**TEMPERATURE / (probabilities**TEMPERATURE).sum()  # the prior is even
        for kind, values in (("p_", probabilities), ("uncalibrated_p_", raw)):
            row |= {f"{side}{kind}{name}": f"{p:.6f}" for name, p in zip(SLIDE_CLASSES, values, strict=True)}
    return row | {"temperature": str(TEMPERATURE)}


def _write_overview(path, name, picture, tissue, lesions):
    height, width = tissue.shape
    with h5py.File(path, "w") as file:
        file.attrs.update(
            format="foveate.overview", version=2, slide=name, path=f"slides/{name}.tif", state="ok", reason="",
            mpp=(0.25, 0.25), mpp_source="tiff resolution", vendor="generic-tiff", reader="openslide",
            images="[]", file_bytes=0,
            coarse_um=(16.0, 16.0),
            sizes_lv=np.array([[width * 64, height * 64]]), downsamples=(1.0,),
            bounds_l0=np.array([0, 0, width * 64, height * 64]), overview_mpp=16.0, origin_um=(0.0, 0.0),
            background_rgb=np.array([241, 240, 243], np.uint8), cell_um=128.0,
        )  # fmt: skip
        file["thumbnail"] = file["coarse"] = picture
        file["tissue"] = tissue
        file["cell_tissue"] = tissue[::8, ::8].astype(np.float32)
        file["lesions"] = lesions
        diameter = 16 * 2 * np.sqrt(lesions.sum() / np.pi)
        file["lesion_diameter_um"] = np.array([diameter] if lesions.any() else [], np.float32)


def _write_status(path, name, shape, **changes):
    status = {
        "slide": name, "state": "ok", "reason": "", "remedy": "", "warnings": [], "path": f"slides/{name}.tif",
        "mpp": [0.25, 0.25], "mpp_source": "tiff resolution", "vendor": "generic-tiff", "reader": "openslide",
        "levels": 7, "size_l0": [shape[1] * 64, shape[0] * 64], "tissue_share": 0.4, "seconds": 0.5,
        "versions": {"foveate": "0.1.0"},
    }  # fmt: skip
    path.write_text(json.dumps(status | changes), encoding="utf-8")


def _write_predictions(path, slides, count, px):
    with h5py.File(path, "w") as file:
        file.attrs.update(
            format="foveate.predictions", version=1, fold="0", scales_mpp=SCALES_MPP, glimpse_px=px,
            n_glimpses=count, classes=SLIDE_CLASSES, weights_sha256="ab" * 32,
        )  # fmt: skip
        for policy in ("learned", "random"):
            group = file.create_group(policy)
            group["slide"] = [name for name, _ in slides]
            group["probabilities"] = np.array([s["running"][-1] for _, s in slides], np.float32)
            group["running"] = np.array([s["running"] for _, s in slides], np.float32)
            group["location_um"] = np.array([s["um"] for _, s in slides], np.float32)
            group["location_l0"] = np.array([s["l0"] for _, s in slides])
            group["policy_probability"] = np.array([s["policy"] for _, s in slides], np.float32)
        shape = (len(slides), *slides[0][1]["glimpses"].shape)
        glimpses = file["learned"].create_dataset("glimpses", shape, np.uint8, chunks=(1, *shape[1:]))
        for k, (_, slide) in enumerate(slides):
            glimpses[k] = slide["glimpses"]


def _write_history(path, rng):
    rows = []
    for phase, epochs in (("pretrain", 8), ("attend", 25)):
        for epoch in range(1, epochs + 1):
            done = 1 - np.exp(-epoch / 8)
            row = {"phase": phase, "epoch": epoch, "learning_rate": 1e-3 * (1 - epoch / 40)}
            row |= {
                "loss": 1.4 - done + 0.05 * rng.normal(),
                "accuracy": 0.3 + 0.6 * done + 0.03 * rng.normal(),
            }
            if phase == "attend":
                row |= {
                    "cross_entropy": 1.2 - 0.9 * done,
                    "reinforce": 0.2 - 0.3 * done,
                    "guidance": 0.9 - 0.5 * done,
                }
                row |= {"baseline_error": 0.3 - 0.2 * done, "entropy": 6.2 - 2 * done, "reward": 0.5 * done}
                row |= {
                    "val_loss": 1.4 - 0.8 * done,
                    "val_accuracy": 0.3 + 0.5 * done,
                    "glimpses_per_s": 800.0,
                }
            rows.append(row)
    write_history(rows, path)


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return make_results(tmp_path / "results")


class Outline(HTMLParser):
    """Open and close tags of a page, every address in it, and its headings."""

    VOID = ("meta", "link", "img", "input", "br")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[tuple[str, str]] = []
        self.ids: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.addresses += [
            (tag, value) for name, value in attrs if name in ("src", "href", "srcset", "action") and value
        ]

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_well_formed_and_needs_nothing_else(results):
    page = results.report()
    outline = Outline(page)
    assert outline.open == []
    assert len(outline.ids) == len(set(outline.ids))
    for tag, address in outline.addresses:
        assert address.startswith(("data:", "#")), (tag, address)
        assert not address.startswith("#") or address[1:] in outline.ids
    assert not re.search(r"url\(|@import|https?://", page)
    images = [attributes for tag, attributes in outline.tags if tag == "img"]
    assert len(images) == 2 * 6
    assert all(image["alt"] and image["loading"] == "lazy" for image in images)


def test_every_slide_shows_what_was_seen_and_concluded(results):
    page = results.report()
    for row in results.rows[:6]:
        card = page.split(f'<article class="slide" id="slide-{row["slide"]}"')[1].split("</article>")[0]
        assert card.count('<span style="background: #') == 5  # the heads of the contact sheet
        assert "the 5 places looked at" in card
        assert f"<b>{row['label']}</b>" in card
        assert f"<b>{row['prediction']}</b>" in card
        assert card.count('<polyline class="line"') == 4
        assert card.count('<tr><th scope="row">') == 5
        assert ('class="lesion"' in card) == (row["label"] != "negative")


def test_learned_stands_beside_random_and_training_beside_both(results):
    page = results.report(title="Cohort A")
    metrics = json.loads((results.folder / "metrics.json").read_text(encoding="utf-8"))["test"]
    assert "<h1>Cohort A</h1>" in page
    assert "Not for clinical use" in page
    for policy in ("learned", "random"):
        assert f"<b>{metrics[policy]['slide_accuracy']['value']:.2f}</b>" in page
    assert "Fold 0 <span" in page
    assert "<figcaption>Glimpses per second</figcaption>" in page
    assert "1 patient was used for training" in page
    assert "patient_900" in page


def test_calibration_is_shown_with_and_without_temperature(results):
    page = results.report()
    found = json.loads((results.folder / "metrics.json").read_text(encoding="utf-8"))["test"]["learned"]["calibration"]
    box = page.split('id="calibration-title"')[1].split("</section>")[0]
    assert "fitted on validation slides: 1.5;" in box
    charts = box.split("<figure")[1:]
    for chart, kind, name in zip(charts, ("calibrated", "uncalibrated"), ("with temperature", "without"), strict=True):
        bins = found[kind]["bins"]
        assert chart.count('<circle class="dot"') == len(bins) > 0
        said = "; ".join(
            f"confidence {b['confidence']:.2f}, right {b['accuracy']:.2f} of {b['count']} "
            f"slide{'s' if b['count'] > 1 else ''}"
            for b in bins
        )
        assert f'role="img" aria-label="Reliability, {name}: {said}"' in chart
    assert f"<b>{found['calibrated']['ece']:.2f}</b>" in box
    assert f">{found['uncalibrated']['brier']['value']:.2f}</td>" in box


def test_a_temperature_of_one_is_said_and_one_diagram_shown(results):
    for row in results.rows[:6]:
        row.update(
            temperature="1", **{f"{s}uncalibrated_p_{c}": row[f"{s}p_{c}"] for s in SIDES for c in SLIDE_CLASSES}
        )
    results.write_tables()
    box = results.report().split('id="calibration-title"')[1].split("</section>")[0]
    assert "temperature is 1" in box
    assert box.count("<figure") == 1
    assert "with temperature" not in box


def test_a_cross_validation_heads_the_metrics_where_nobody_was_held_out(results):
    for row in results.rows[:6]:
        row["split"] = "cv"
    results.write_tables()
    page = results.report()
    metrics = json.loads((results.folder / "metrics.json").read_text(encoding="utf-8"))
    assert "Metrics of the cross-validation" in page
    assert "2 complete patients with a known stage, 6 predicted slides with a label, each predicted by the fold" in page
    assert f"<b>{metrics['cv']['learned']['slide_accuracy']['value']:.2f}</b>" in page
    assert "No ground truth" not in page


def test_a_cross_validation_stands_below_held_out_patients_and_their_pictures_are_of_one_fold(results):
    for row in results.rows[:3]:
        row["split"] = "cv"
    for row in results.rows[3:6]:
        row["fold"] = "ensemble"
    results.write_tables()
    page = results.report()
    assert "Metrics of the test split" in page
    assert "1 complete patients with a known stage, 3 predicted slides with a label. Intervals" in page
    assert "Cross-validation, each by the fold that has not seen the patient: 1 patients, 3 slides" in page
    assert page.count("what the model of fold 0 saw and concluded") == 3
    assert page.count("the 5 places looked at") == 6


def test_a_full_page_names_all_slides_and_says_where_the_others_are_seen(results, monkeypatch):
    assert "foveate view" not in results.report()
    monkeypatch.setattr(report, "ILLUSTRATED", 3)
    page = results.report()
    assert page.count("This page is full") == 1
    assert all(row["slide"] in page for row in results.rows[:6])


def test_names_and_reasons_are_escaped(results):
    attack = "<script>alert('x')</script>"
    results.change("patient_000_node_1", "failed", attack)
    page = results.report(title=attack)
    assert attack not in page
    assert page.count("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;") >= 4
    assert [tag for tag, _ in Outline(page).tags].count("script") == 1


def test_a_failed_slide_is_named_with_its_remedy_and_its_patient_is_incomplete(results):
    name = "patient_001_node_2"
    (results.folder / "overview" / f"{name}.h5").unlink()
    with h5py.File(results.folder / "overview" / f"{name}.h5", "w") as file:
        file.attrs.update(format="foveate.overview", version=2, slide=name, path="", state="failed", reason="r")
    changes = {"state": "failed", "reason": "has no mpp", "remedy": "set the mpp column", "mpp": None}
    _write_status(results.folder / "status" / f"{name}.json", name, (60, 90), **changes)
    results.change(name, "failed", "no overview")
    page = results.report()
    box = page.split('<div class="alert" role="note"')[1].split("</div>")[0]
    assert "1 slide failed" in box
    assert name in box
    assert "has no mpp" in box
    assert "set the mpp column" in box
    assert f"missing: {name}" in page
    assert '<span class="chip incomplete">incomplete</span>' in page
    card = page.split(f'<article class="slide" id="slide-{name}"')[1].split("</article>")[0]
    assert "set the mpp column" in card
    assert "<img" not in card


def test_excluded_slides_are_listed_with_the_reason(results):
    results.change("patient_000_node_0", "excluded", "pen marks")
    (results.folder / "overview" / "patient_000_node_0.h5").unlink()
    (results.folder / "status" / "patient_000_node_0.json").unlink()
    page = results.report()
    assert "1 slide was excluded" in page
    assert "pen marks" in page.split('id="metrics"')[0]


def test_without_ground_truth_it_says_so(results):
    for row in results.rows:
        row.update(label="", split="" if row["state"] == "ok" else "train")
    results.write_tables()
    page = results.report(histories={})
    assert "No ground truth" in page
    assert '<table class="confusion">' not in page
    assert 'id="calibration-title"' not in page
    assert "No training history" in page
    assert "no truth" in page


def test_a_missing_table_is_an_error_and_leaves_no_page(results):
    (results.folder / "patients.tsv").unlink()
    with pytest.raises(FoveateError, match=r"patients\.tsv: cannot be read"):
        results.report()
    assert not (results.folder / "report" / "index.html").exists()


def test_a_fault_half_way_keeps_the_old_page(results):
    old = results.report()
    (results.folder / "overview" / "patient_001_node_2.h5").write_text("not HDF5", encoding="utf-8")
    with pytest.raises(FoveateError, match=r"patient_001_node_2\.h5"):
        results.report()
    assert (results.folder / "report" / "index.html").read_text(encoding="utf-8") == old
    assert [path.name for path in (results.folder / "report").iterdir()] == ["index.html"]


COMPARED = ("way", "pooling", "readout", "glimpses", "n_slides", "n_patients", *GOOD, *COST, "weights")


@pytest.mark.parametrize(("weights", "shown"), [("ab" * 6, True), ("cd" * 6, False)])
def test_the_comparison_is_shown_where_it_is_of_the_same_weights(tmp_path, weights, shown):
    results = make_results(tmp_path)
    assert 'id="comparison"' not in results.report()
    rows = [
        ["learned", "", "", "1", "6", "2", *["0.5"] * 8, weights],
        ["learned", "", "", "4", "6", "2", *["0.9"] * 8, weights],
    ]
    rows.append(["exhaustive", "max", "fitted", "900", "6", "2", *["0.8"] * 8, weights])
    (tmp_path / "compare").mkdir()
    (tmp_path / "compare" / "compare.tsv").write_text("".join("\t".join(row) + "\n" for row in [COMPARED, *rows]))
    page = results.report()
    assert 'id="comparison"' in page
    assert ("all cells, max" in page) == shown
    assert ("made with other weights" in page) == (not shown)
    assert page.count("<svg") == page.count("</svg>")
