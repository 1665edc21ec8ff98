"""The CAMELYON challenges' own folders as samples.

CAMELYON17: Bandi et al., 2019, doi:10.1109/TMI.2018.2867350. CAMELYON16: Ehteshami Bejnordi et al., 2017,
doi:10.1001/jama.2017.14585. Mirrors arrange the files in more than one way; those named below are read.
"""

import csv
import logging
import re
from dataclasses import replace
from pathlib import Path

from foveate.cohort.samples import Sample
from foveate.cohort.splits import split_patients
from foveate.errors import FoveateError, SheetError
from foveate.patients.stages import PN_STAGES, SLIDE_CLASSES
from foveate.slides.annotations import lesion_diameters_um, read_annotation

log = logging.getLogger(__name__)

PARTS = ("", "training/", "testing/")
SLIDES_17 = ("", "images", "center_*", "images/center_*", "center_*/patient_*")
SLIDES_16 = ("", "images", "normal", "tumor")
OUTLINES = ("annotations", "lesion_annotations")
STAGES_17 = ("stage_labels.csv", "stages.csv", "train.csv")

MPP_16 = 0.243  # of the scanner that made most of CAMELYON16; the other one has 0.226
MACRO_UM = 2000.0
EXCLUDED_16 = {
    "test_049": "a duplicate, says the challenge",
    "test_114": "not annotated completely, says the challenge",
}


def camelyon17(folder: Path, *, test: float = 0.3, val: float = 0.15, seed: int = 0) -> list[Sample]:
    """The slides of a CAMELYON17 folder, in the order of their names, with paths below `folder`.

    Slides `patient_000_node_0.tif` lie in `images/`, in five folders `center_*`, or in the folder itself,
    each also below `training/` and `testing/`; outlines in `annotations/` or `lesion_annotations/`; labels in
    `stage_labels.csv` (or `stages.csv`, `train.csv`), with rows for slides (.tif) and for patients (.zip).

    The centre is the number of its folder. Without that it is the patient's number // 20 for the training
    patients 000 to 099, as the challenge numbered 20 of each centre in turn; it does not say where the others
    come from. Labelled patients are divided by `split_patients`; others have an empty split, to be predicted.
    A slide that the table knows and the folder lacks becomes an excluded row if the patient has other slides,
    so that the patient counts as incomplete.

    Raises FoveateError where there are no slides, SheetError for a faulty table.
    """
    slides = _find(folder, SLIDES_17, r"(patient_\d{3}_node_\d+)\.tiff?")
    if not slides:
        raise FoveateError(f"{folder}: no slide like images/patient_000_node_0.tif or center_0/...")
    outlines = _find(folder, OUTLINES, r"(patient_\d{3}_node_\d+)\.xml")
    stages = _stages(folder)
    patients = {_patient(name): path for name, path in slides.items()}
    missing = _missing(folder, slides, [name for name in stages if "_node_" in name])
    _warn(folder, "slides are not in the table and have no label", sorted(slides.keys() - stages.keys()))

    samples = []
    for name in sorted([*slides, *(name for name in missing if _patient(name) in patients)]):
        patient = _patient(name)
        path = slides.get(name) or patients[patient].with_name(f"{name}.tif")
        samples.append(
            Sample(
                name,
                patient,
                path,
                label=stages.get(name, ""),
                annotation=outlines.get(name),
                patient_label=stages.get(patient, ""),
                center=_center(path.relative_to(folder), patient),
                exclude="" if name in slides else "the file is missing in the challenge's folder",
            )
        )
    return split_patients(samples, test=test, val=val, seed=seed)


def camelyon16(folder: Path, *, val: float = 0.15, seed: int = 0, mpp: float = MPP_16) -> list[Sample]:
    """The slides of a CAMELYON16 folder, in the order of their names, with paths below `folder`.

    Slides `normal_001.tif`, `tumor_001.tif` and `test_001.tif` lie in `normal/`, `tumor/`, `images/` or in
    the folder itself, each also below `training/` and `testing/`; outlines in `annotations/` or
    `lesion_annotations/`; labels of the test slides in `reference.csv`. The challenge does not say whose
    slides they are: each is its own patient here.

    It does not give the size of the training slides' lesions either. A tumor slide is macro if two vertices
    of one outline are 2 mm or more apart, otherwise micro, as the challenge has no slides with only itc;
    without outlines its label stays empty. mpp: um per level-0 pixel, for that measure.

    Test slides have the split test. `val` is the share of the labelled training slides that is set aside;
    those without a label have an empty split. The two slides that the challenge warns of are excluded.

    Raises FoveateError where there are no slides, SheetError for a faulty table.
    """
    slides = _find(folder, SLIDES_16, r"((?:normal|tumor|test)_\d{3})\.tiff?")
    if not slides:
        raise FoveateError(f"{folder}: no slide like training/tumor/tumor_001.tif or testing/images/test_001.tif")
    outlines = _find(folder, OUTLINES, r"((?:tumor|test)_\d{3})\.xml")
    reference = _reference(folder)
    _missing(folder, slides, list(reference))

    training: list[Sample] = []
    testing: list[Sample] = []
    for name in sorted(slides):
        label = "negative" if name.startswith("normal") else reference.get(name, "")
        outline = outlines.get(name)
        if name.startswith("tumor") and outline:
            label = _size_class(outline, mpp)
        sample = Sample(name, name, slides[name], label, outline, exclude=EXCLUDED_16.get(name, ""))
        (testing if name.startswith("test") else training).append(sample)
    tested = [replace(s, split="test") for s in testing]
    return sorted([*split_patients(training, test=0, val=val, seed=seed), *tested], key=lambda s: s.slide)


def _find(folder: Path, places: tuple[str, ...], pattern: str) -> dict[str, Path]:
    """Files by the first group of `pattern`, which their whole name matches, from all places in all parts."""
    if not folder.is_dir():
        raise FoveateError(f"{folder}: no such folder; expected one with the challenge's files")
    found: dict[str, Path] = {}
    for directory in (d for part in PARTS for place in places for d in _glob(folder, part + place)):
        for path in sorted(directory.iterdir()):
            match = re.fullmatch(pattern, path.name)
            if match and path.is_file() and not found.setdefault(match[1], path).samefile(path):
                raise FoveateError(f"{match[1]} is there twice: {found[match[1]]} and {path}; remove one")
    return found


def _glob(folder: Path, place: str) -> list[Path]:
    return sorted(path for path in folder.glob(place) if path.is_dir()) if place else [folder]


def _missing(folder: Path, slides: dict[str, Path], expected: list[str]) -> list[str]:
    missing = sorted(set(expected) - set(slides))
    _warn(folder, "slides of the table have no file", missing)
    return missing


def _warn(folder: Path, what: str, slides: list[str]) -> None:
    if slides:
        listed = ", ".join(slides[:5]) + (", ..." if len(slides) > 5 else "")
        log.warning("%s: %d %s: %s", folder, len(slides), what, listed)


def _patient(slide: str) -> str:
    return slide.partition("_node_")[0]


def _center(path: Path, patient: str) -> str:
    """The centre by the folder, else by the patient's number; see `camelyon17`."""
    for part in path.parts:
        if match := re.fullmatch(r"center_(\d+)", part):
            return match[1]
    number = int(patient.removeprefix("patient_"))
    return str(number // 20) if number < 100 else ""


def _table(folder: Path, names: tuple[str, ...]) -> tuple[Path | None, list[list[str]]]:
    """The first of the tables that is there, and its rows."""
    for path in (folder / part / name for part in PARTS for name in names):
        if path.is_file():
            try:
                text = path.read_text(encoding="utf-8-sig")
            except (OSError, UnicodeDecodeError) as error:
                raise SheetError([f"{path}: cannot be read: {error}; expected the challenge's table"]) from error
            return path, [[cell.strip() for cell in row] for row in csv.reader(text.splitlines())]
    log.warning("%s: no %s to take labels from", folder, " or ".join(names))
    return None, []


def _stages(folder: Path) -> dict[str, str]:
    """Labels by slide and pN stages by patient, both without their suffix."""
    path, rows = _table(folder, STAGES_17)
    if path is None:
        return {}
    if not rows or rows[0][:2] != ["patient", "stage"]:
        raise SheetError([f"{path}:1: expected the columns patient,stage"])
    stages: dict[str, str] = {}
    faults = []
    for line, row in enumerate(rows[1:], start=2):
        name, _, suffix = (row[0] if row else "").rpartition(".")
        known = {"zip": PN_STAGES, "tif": SLIDE_CLASSES}.get(suffix, ())
        if len(row) >= 2 and known and (row[1] in known or row[1] == ""):
            stages[name] = row[1]
        elif row:
            expected = f"one of {', '.join(known)} after a name" if known else "a name ending in .zip or .tif"
            faults.append(f"{path}:{line}: {','.join(row)!r}: expected {expected}")
    if faults:
        raise SheetError(faults)
    return stages


def _reference(folder: Path) -> dict[str, str]:
    """Labels of CAMELYON16's test slides, from rows of slide, Normal or Tumor, kind of tumor, size."""
    path, rows = _table(folder, ("reference.csv",))
    labels = {
        ("Normal", "None"): "negative",
        ("Tumor", "Micro"): "micro",
        ("Tumor", "Macro"): "macro",
    }
    found, faults = {}, []
    for line, row in enumerate(rows, start=1):
        label = labels.get((row[1], row[3])) if len(row) == 4 else None
        if label:
            found[row[0].removesuffix(".tif")] = label
        elif row:
            expected = "test_001,Tumor,IDC,Macro or ...,Micro or test_001,Normal,IDC,None"
            faults.append(f"{path}:{line}: {','.join(row)!r}: expected a row like {expected}")
    if faults:
        raise SheetError(faults)
    return found


def _size_class(outline: Path, mpp: float) -> str:
    diameters = lesion_diameters_um(read_annotation(outline), (mpp, mpp))
    if not len(diameters):
        return ""
    return "macro" if diameters.max() >= MACRO_UM else "micro"
