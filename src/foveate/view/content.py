"""What the viewer's page is told: the list of slides, and of one slide its layers, fixations, tiles and glimpses."""

import io
import threading
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import openslide
from PIL import Image

from foveate.errors import FoveateError, SlideError
from foveate.patients.stages import SLIDE_CLASSES
from foveate.report import palette
from foveate.report.slideview import failure
from foveate.report.sources import (
    Fixations,
    PatientRow,
    Predictions,
    SlideRow,
    read_patients,
    read_slides,
    read_status,
)
from foveate.slides.deepzoom import OVERLAP_PX, TILE_PX, DeepZoom
from foveate.slides.handle import Slide, open_slide
from foveate.slides.overview_file import StoredOverview, read_overview
from foveate.view.layers import lesion_layer, tissue_layer

OPEN_SLIDES = 4
CACHE_BYTES = 256 * 2**20
NOT_SHOWN = ("excluded", "failed")
NO_OVERVIEW = ("it has no overview", "run the workflow again")  # reason and remedy


class Content:
    """The results of a run, read when they are asked for. Names of slides are looked up, and no path is made of a
    name that is not in the table.

    Raises FoveateError if the folder holds no results.
    """

    def __init__(self, results: Path) -> None:
        self.results = results
        table = results / "predictions" / "slides.tsv"
        if not table.exists():
            raise FoveateError(
                f"{results}: no results here, for {table} does not exist; name the folder that the workflow wrote, "
                "or run it first"
            )
        self._rows = {row.slide: row for row in read_slides(table)}
        staged = results / "patients.tsv"
        self._patients = {row.patient: row for row in read_patients(staged)} if staged.exists() else {}
        # those of a run with other folds stay where they are
        folds = {row.fold for row in self._rows.values()}
        found = (path for path in (results / "predictions").glob("*/*.h5") if not path.name.startswith("."))
        files = [path for path in found if path.parent.name in folds]
        files.sort(key=lambda path: path.stat().st_mtime_ns)  # of what stands in two files, the newer counts
        self._predictions = Predictions(files)
        self._cache = openslide.OpenSlideCache(CACHE_BYTES)
        self._lock = threading.Lock()  # one opening at a time: many tiles are asked for at once
        self._opened: dict[str, DeepZoom] = {}
        self._fixations = lru_cache(OPEN_SLIDES)(self._read_fixations)

    def listing(self) -> dict[str, Any]:
        """All slides, patient by patient, those first that have a prediction, else in the order of the table."""
        return {
            "results": str(self.results),
            "classes": list(SLIDE_CLASSES),
            "slides": list(self._lines()),
        }

    def slide(self, name: str) -> dict[str, Any] | None:
        """What is shown of a slide; None for one that is not in the table. Positions are level-0 pixels, (x, y)."""
        row = self._rows.get(name)
        if row is None:
            return None
        status = read_status(self.results / "status", name)
        told: dict[str, Any] = {
            "slide": name,
            "warnings": list(status.get("warnings") or ()),
            "problem": None,
            "image": None,
            "tissue": None,
            "lesions": None,
            "fixations": None,
        }
        if row.state == "excluded":  # its status, if it has one, is from before
            return told | _problem(f"The slide is excluded: {row.reason}")
        if row.state == "failed":
            reason, remedy = failure(row, status)
            return told | _problem(f"The slide failed: {reason}", remedy)
        overview = self._overview(name)
        if overview is None:
            return told | _problem(*NO_OVERVIEW)
        annotation = status.get("annotation")
        told["tissue"] = tissue_layer(overview)
        told["lesions"] = lesion_layer(overview, self._place(Path(annotation)) if annotation else None)
        if row.state == "ok" and (fixations := self._fixations(name)) is not None:
            told["fixations"] = _path(fixations, overview)
        try:
            zoom = self._deep_zoom(name)
        except SlideError as error:
            return told | _problem(error.reason, error.remedy)
        width, height = zoom.size_l0
        told["image"] = {
            "width": width,
            "height": height,
            "tileSize": TILE_PX,
            "tileOverlap": OVERLAP_PX,
            "minLevel": zoom.first,
            "maxLevel": zoom.last,
            "scanned": list(overview.geometry.bounds_l0),
            "mpp": list(overview.geometry.mpp),
        }
        return told

    def tile(self, name: str, level: int, column: int, row: int) -> bytes | None:
        """A Deep Zoom tile as JPEG; None where there is none. Raises SlideError if it cannot be read."""
        if name not in self._rows or self._rows[name].state in NOT_SHOWN:
            return None
        zoom = self._deep_zoom(name)
        try:
            return zoom.tile(level, column, row)
        except SlideError:
            with self._lock:  # the handle is of no use any more
                if self._opened.get(name) is zoom:
                    del self._opened[name]
            raise

    def glimpse(self, name: str, fixation: int, scale: int) -> bytes | None:
        """The square that a fixation saw at a scale, both counted from 0, as PNG; None where there is none."""
        row = self._rows.get(name)
        fixations = self._fixations(name) if row is not None and row.state == "ok" else None
        if fixations is None or fixation >= len(fixations.glimpses) or scale >= len(fixations.scales_mpp):
            return None
        stream = io.BytesIO()
        Image.fromarray(fixations.glimpses[fixation, scale]).save(stream, "PNG")
        return stream.getvalue()

    def _lines(self) -> Iterator[dict[str, Any]]:
        rows = list(self._rows.values())
        predicted = {row.patient for row in rows if row.learned}
        order = {row.patient: k for k, row in reversed(list(enumerate(rows)))}
        for row in sorted(rows, key=lambda row: (row.patient not in predicted, order[row.patient])):
            yield _line(row, self._patients.get(row.patient))

    def _overview(self, name: str) -> StoredOverview | None:
        path = self.results / "overview" / f"{name}.h5"
        return read_overview(path) if path.exists() else None

    def _read_fixations(self, name: str) -> Fixations | None:
        return self._predictions.of(name, self._rows[name].fold)

    def _place(self, path: Path) -> Path:
        """Where a file of the run is: paths are relative to the folder of the run, which held the results."""
        beside = self.results.resolve().parent / path
        return beside if not path.exists() and beside.exists() else path

    def _deep_zoom(self, name: str) -> DeepZoom:
        """The opened slide. The one that was asked for longest ago is closed when its last tile has been read."""
        with self._lock:
            zoom = self._opened.pop(name, None) or DeepZoom(self._open(name), self._cache)
            self._opened[name] = zoom
            while len(self._opened) > OPEN_SLIDES:
                del self._opened[next(iter(self._opened))]
            return zoom

    def _open(self, name: str) -> Slide:
        overview = self._overview(name)
        if overview is None:
            raise SlideError(name, *NO_OVERVIEW)
        path, geometry = self._place(overview.path), overview.geometry
        if not path.exists():
            remedy = "put it back, or start foveate view in the folder where the workflow ran"
            raise SlideError(name, f"{path} is not there any more", remedy)
        # what is drawn lies by the overview's resolution; a slide that states none opens with one
        slide = open_slide(name, path, sum(geometry.mpp) / 2)
        if path.stat().st_size != overview.file_bytes or slide.geometry.sizes_lv != geometry.sizes_lv:
            slide.handle.close()
            raise SlideError(name, f"{path} is not the file that was predicted", "run the workflow again")
        return slide


def palette_css() -> str:
    """The classes' colours as variables of a style sheet, for the light scheme and the dark one."""
    light, dark = (
        "".join(
            f"--class-{name}: {colour}; --class-{name}-ink: {palette.ink_on(colour)}; " for name, colour in c.items()
        )
        for c in (palette.CLASS_COLOURS, palette.CLASS_COLOURS_DARK)
    )
    return f":root {{ {light}}}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark}}} }}\n"


def _problem(reason: str, remedy: str = "") -> dict[str, Any]:
    return {"problem": {"reason": reason, "remedy": remedy}}


def _line(row: SlideRow, patient: PatientRow | None) -> dict[str, Any]:
    verdict = row.learned
    return {
        "slide": row.slide,
        "patient": row.patient,
        "split": row.split,
        "fold": row.fold,
        "label": row.label,
        "state": row.state,
        "reason": row.reason,
        "prediction": verdict.prediction if verdict else "",
        "probabilities": list(verdict.probabilities) if verdict else [],
        "stage": patient.stage if patient else "",
        "true_stage": patient.true_stage if patient else "",
        "incomplete": bool(patient and patient.state != "complete"),
    }


def _path(fixations: Fixations, overview: StoredOverview) -> dict[str, Any]:
    """The fixations in order. sides: (width, height) of a glimpse's square at each scale."""
    tumor = (1.0 - fixations.running[:, 0]).tolist()
    return {
        "places": fixations.location_l0.round(1).tolist(),
        "places_um": fixations.location_um.astype(float).round(1).tolist(),
        "running": fixations.running.astype(float).round(4).tolist(),
        "policy": fixations.policy_probability.astype(float).round(4).tolist(),
        "colours": [palette.tumor_colour(p) for p in tumor],
        "inks": [palette.ink_on(palette.tumor_colour(p)) for p in tumor],
        "scales_mpp": list(fixations.scales_mpp),
        "glimpse_px": fixations.glimpse_px,
        "sides": [[fixations.glimpse_px * s / side for side in overview.geometry.mpp] for s in fixations.scales_mpp],
        "fold": fixations.fold,
        "budget": fixations.budget,
    }
