"""The report's one page: what it shows of the cohort, and its rendering, a patient at a time."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import jinja2

from foveate.patients.stages import PN_STAGES, SLIDE_CLASSES
from foveate.report import palette
from foveate.report.cohort import Split
from foveate.report.comparison import Comparison
from foveate.report.patient_look import PatientLook
from foveate.report.slideview import SlideView
from foveate.report.sources import Model, PatientRow, SlideRow
from foveate.report.training import History

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Failure:
    slide: str
    patient: str
    reason: str
    remedy: str


@dataclass(frozen=True)
class Count:
    """A number of the run. kind: "failed" marks what needs attention when the number is not 0."""

    name: str
    number: int
    kind: str


@dataclass(frozen=True)
class Chip:
    kind: str
    text: str


@dataclass(frozen=True)
class PatientView:
    """A patient and its slides.

    slides: reads them one by one, when called; None where no pictures are shown. look: what the patient agent did,
    read when called; None where no agent looked.
    """

    row: PatientRow
    slide_rows: tuple[SlideRow, ...]
    slides: Callable[[], Iterator[SlideView]] | None
    look: Callable[[], PatientLook | None]

    @property
    def names(self) -> str:
        """Return the names that the search field looks through, in lower case."""
        return " ".join([self.row.patient, *(slide.slide for slide in self.slide_rows)]).lower()

    @property
    def reported(self) -> int:
        """Return the index of the reported stage, -1 without one."""
        return PN_STAGES.index(self.row.stage) if self.row.stage else -1

    @property
    def truth(self) -> int:
        """Return the index of the true stage, -1 when it is not known."""
        return PN_STAGES.index(self.row.true_stage) if self.row.true_stage else -1

    @property
    def off(self) -> int:
        """Return how many stages the reported one is from the true one, -1 when one of them is not known."""
        return -1 if min(self.reported, self.truth) < 0 else abs(self.reported - self.truth)

    @property
    def doubt(self) -> float:
        """Return 1 minus the highest posterior; 1 for an incomplete patient."""
        return 1 - max(self.row.posterior, default=0.0)

    @property
    def tags(self) -> list[str]:
        """Return the values of the "show" filter that this patient belongs to."""
        tags = ["wrong"] if self.off > 0 else []
        tags += ["incomplete"] if self.row.state != "complete" else []
        tags += ["positive"] if self.reported > 0 else []
        return tags

    @property
    def verdict(self) -> Chip:
        """Return what the coloured mark at the end of the row says."""
        if self.row.state != "complete":
            return Chip("incomplete", "incomplete")
        if self.off < 0:
            return Chip("", "no truth")
        return Chip("ok", "right") if self.off == 0 else Chip("off", f"off by {self.off}")


@dataclass(frozen=True)
class Page:
    """Everything on the page. exclusions: slides; training_patients: names of those not shown."""

    title: str
    made: datetime
    versions: Mapping[str, str]
    models: Sequence[Model]
    n_slides: int
    n_patients: int
    counts: Sequence[Count]
    failures: Sequence[Failure]
    exclusions: Sequence[SlideRow]
    test: Split
    cv: Split | None
    val: Split | None
    histories: Sequence[History]
    comparison: Comparison | None
    patients: Sequence[PatientView]
    training_patients: Sequence[str]

    @property
    def filters(self) -> list[tuple[str, str, int]]:
        """Return (tag, name, number of patients) of the "show" filter, without those that nobody has."""
        named = {"wrong": "wrong stage", "incomplete": "incomplete", "positive": "reported above pN0"}
        numbers = {tag: sum(tag in patient.tags for patient in self.patients) for tag in named}
        return [(tag, name, numbers[tag]) for tag, name in named.items() if numbers[tag]]


def illustrate(patients: Sequence[PatientView], slides: int) -> list[PatientView]:
    """The same patients in the same order, with pictures of so many slides at most.

    First of those who are incomplete, then of those whose stage is far from the true one, then of those of whom the
    posterior is least sure.
    """
    left, shown = slides, set()
    for patient in sorted(patients, key=lambda p: (p.row.state == "complete", -p.off, -p.doubt)):
        left -= len(patient.slide_rows)
        if left < 0:
            break
        shown.add(patient.row.patient)
    return [p if p.row.patient in shown else dataclasses.replace(p, slides=None) for p in patients]


def count_states(slides: Sequence[SlideRow], patients: Sequence[PatientRow]) -> list[Count]:
    """Count slides by what became of them, and patients by whether they could be staged."""
    states = Counter(slide.state for slide in slides)
    complete = sum(patient.state == "complete" for patient in patients)
    return [
        Count("slides predicted", states["ok"], "ok"),
        Count("slides failed", states["failed"], "failed"),
        Count("slides excluded", states["excluded"], "ok"),
        Count("slides used for training", states["unused"], "ok"),
        Count("patients staged", complete, "ok"),
        Count("patients incomplete", len(patients) - complete, "failed"),
    ]


def render(page: Page, stream: IO[str]) -> None:
    """Write `page` as HTML to `stream`, piece by piece: one slide's pictures are in memory at a time."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "fixed": lambda value: _minus(f"{value:.2f}"),
        "signed": lambda value: _minus(f"{value:+.2f}"),
        "general": lambda value: _minus(f"{value:.4g}"),
        "ink": palette.ink_on,
        "place": place,
        "stage_index": PN_STAGES.index,
    }
    stream.writelines(environment.get_template("page.html.j2").generate(page=page, palette=_palette()))


def place(value: float, low: float) -> str:
    """Where `value` is on an axis from `low` to 1, as a CSS percentage; kept on the axis."""
    return f"{100 * min(max((value - low) / (1 - low), 0.0), 1.0):.1f}%"


def _minus(number: str) -> str:
    return number.replace("-", "\N{MINUS SIGN}")


def _palette() -> dict[str, Any]:
    return {
        "classes": palette.CLASS_COLOURS,
        "classes_dark": palette.CLASS_COLOURS_DARK,
        "stages": palette.STAGE_COLOURS,
        "stages_dark": palette.STAGE_COLOURS_DARK,
        "class_names": SLIDE_CLASSES,
        "stage_names": PN_STAGES,
        "tumor": [palette.tumor_colour(k / 4) for k in range(5)],
    }
