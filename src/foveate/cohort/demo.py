"""The demo cohort: made-up patients of five lymph-node slides each, in the form of CAMELYON17.

The slides are procedural: tissue at a glance, nothing clinical. What they ask of a model is what real ones ask:
pale regions stand out on the overview, but only a closer look tells a germinal centre from a metastasis, and only
the metastasis' extent tells its class.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foveate.cohort import demo_anatomy, demo_tissue
from foveate.cohort.demo_pyramid import Painter, write
from foveate.cohort.demo_shapes import Outline
from foveate.errors import FoveateError
from foveate.files import atomic, write_text
from foveate.patients.stages import PN_STAGES

NODES = 5


@dataclass(frozen=True)
class DemoSlide:
    """One slide of the demo cohort. center: 0 to 4; slides of a centre are stained alike."""

    name: str
    patient: str
    label: str
    patient_label: str
    split: str
    center: int


def _node_labels(rng: np.random.Generator, stage: str) -> list[str]:
    """Five slide classes that make up a pN stage, in random order.

    Positive slides are more frequent than among real patients of these stages: about four in ten are negative.
    """
    macro = micro = itc = 0
    if stage == "pN0(i+)":
        itc = int(rng.integers(3, 5))
    elif stage == "pN1mi":
        micro, itc = int(rng.integers(2, 5)), int(rng.integers(0, 2))
    elif stage == "pN1":
        positive = int(rng.choice([1, 2, 3, 3]))
        macro = int(rng.integers((positive + 1) // 2, positive + 1))
        micro, itc = positive - macro, int(rng.integers(0, 3))
    elif stage == "pN2":
        positive = int(rng.integers(4, 6))
        macro = int(rng.integers(2, positive))
        micro, itc = positive - macro, int(rng.integers(0, NODES - positive + 1))
    labels = ["macro"] * macro + ["micro"] * micro + ["itc"] * itc
    labels += ["negative"] * (NODES - len(labels))
    return [labels[k] for k in rng.permutation(NODES)]


def plan(patients: int = 36, seed: int = 1) -> list[DemoSlide]:
    """The slides of the cohort, patient by patient, the same for the same arguments.

    A third of the patients is for testing, a sixth for validation, the rest for training, at least one each. The
    five pN stages come in turn within each split, and so do the five centres, in an order of their own.

    Raises FoveateError for fewer than 3 patients.
    """
    if patients < 3:
        raise FoveateError(f"demo cohort: patients: {patients} is too few: at least 3, one for each split")
    rng = np.random.default_rng([seed, patients])
    counts = {"test": max(1, round(patients / 3)), "val": max(1, round(patients / 6))}
    slides, number = [], 0
    for split in ("train", "val", "test"):
        for k in range(counts.get(split, patients - sum(counts.values()))):
            if k % NODES == 0:
                centers = rng.permutation(NODES)
            stage, patient = PN_STAGES[k % len(PN_STAGES)], f"patient_{number:03d}"
            for node, label in enumerate(_node_labels(rng, stage)):
                name = f"{patient}_node_{node}"
                slides.append(DemoSlide(name, patient, label, stage, split, int(centers[k % NODES])))
            number += 1
    return slides


def annotation(lesions: Iterable[Outline]) -> str:
    """The lesions as the XML of ASAP, group "metastases", coordinates in level-0 px, which are um."""
    rows = []
    for k, lesion in enumerate(lesions):
        rows.append(f'  <Annotation Name="Annotation {k}" Type="Polygon" PartOfGroup="metastases" Color="#F4FA58">')
        rows.append("   <Coordinates>")
        for order, (x, y) in enumerate(lesion.vertices):
            rows.append(f'    <Coordinate Order="{order}" X="{x:.2f}" Y="{y:.2f}" />')
        rows += ["   </Coordinates>", "  </Annotation>"]
    group = [
        '  <Group Name="metastases" PartOfGroup="None" Color="#ff0000">',
        "   <Attributes />",
        "  </Group>",
    ]
    lines = ['<?xml version="1.0"?>', "<ASAP_Annotations>", " <Annotations>", *rows, " </Annotations>"]
    return "\n".join([*lines, " <AnnotationGroups>", *group, " </AnnotationGroups>", "</ASAP_Annotations>", ""])


def make_slide(name: str, folder: Path, *, patients: int, seed: int) -> None:
    """Write `folder`/images/`name`.tif and `folder`/annotations/`name`.xml.

    The same arguments give the same bytes; every slide has its own random stream, so order does not matter.
    Raises FoveateError when `plan(patients, seed)` has no slide of that name.
    """
    slides = plan(patients, seed)
    index = next((k for k, slide in enumerate(slides) if slide.name == name), None)
    if index is None:
        raise FoveateError(f"demo cohort: {name!r} is no slide of the cohort of {patients} patients")
    slide = slides[index]
    rng = np.random.default_rng([seed, patients, index])
    anatomy = demo_anatomy.draw(rng, slide.label)
    stain = demo_tissue.stain(rng, slide.center)
    textures, edge = demo_tissue.tissues(rng, stain)
    with atomic(folder / "images" / f"{name}.tif") as partial:
        write(partial, Painter(anatomy, textures, stain, edge), rng)
    write_text(folder / "annotations" / f"{name}.xml", annotation(anatomy.lesions))
