"""What the report shows of one slide."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from foveate.report.charts import Chart, running_chart
from foveate.report.palette import ink_on, tumor_colour
from foveate.report.sheets import TILE_PX, contact_sheet, jpeg_uri
from foveate.report.slidemap import SlideMap, slide_map
from foveate.report.sources import Fixations, SlideRow
from foveate.slides.overview_file import StoredOverview

LEAVE_OUT = "set the exclude column to leave it out"


@dataclass(frozen=True)
class Column:
    """The head of a column of the contact sheet: the tumor probability after that fixation."""

    tumor: float
    colour: str
    ink: str


@dataclass(frozen=True)
class Sheet:
    """The contact sheet: `picture` is a data URI of width x height px; rows are the scales in um per px."""

    picture: str
    width: int
    height: int
    tile: int
    columns: tuple[Column, ...]
    rows: tuple[float, ...]


@dataclass(frozen=True)
class Place:
    """A fixation in numbers."""

    x_um: float
    y_um: float
    x_l0: float
    y_l0: float
    policy_probability: float
    probabilities: tuple[float, ...]


@dataclass(frozen=True)
class SlideView:
    row: SlideRow
    reason: str
    remedy: str
    warnings: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    map: SlideMap | None
    sheet: Sheet | None
    chart: Chart | None
    locations: tuple[Place, ...]


def slide_view(
    row: SlideRow, status: Mapping[str, Any], overview: StoredOverview | None, fixations: Fixations | None
) -> SlideView:
    """Put together what is known of a slide; parts that do not exist are None or empty."""
    reason, remedy = failure(row, status) if row.state == "failed" else ("", "")
    return SlideView(
        row=row,
        reason=reason,
        remedy=remedy,
        warnings=tuple(status.get("warnings") or ()),
        facts=tuple(_facts(row, status, overview, fixations)),
        map=slide_map(overview, fixations) if overview else None,
        sheet=_sheet(fixations) if fixations else None,
        chart=running_chart(fixations.running) if fixations else None,
        locations=_places(fixations) if fixations else (),
    )


def failure(row: SlideRow, status: Mapping[str, Any]) -> tuple[str, str]:
    """The reason and the remedy of a slide that failed.

    They are those of the overview stage where it failed there; a later failure stands in the slide table.
    """
    failed_early = status.get("state") == "failed"
    reason = status["reason"] if failed_early else row.reason
    return reason or "no reason was recorded", (failed_early and status.get("remedy")) or LEAVE_OUT


def _facts(
    row: SlideRow, status: Mapping[str, Any], overview: StoredOverview | None, fixations: Fixations | None
) -> list[tuple[str, str]]:
    facts = []
    if row.random:
        facts.append(("At random", f"{row.random.prediction} {max(row.random.probabilities):.2f}, same budget"))
    if fixations and len(fixations.running) < fixations.budget:
        facts.append(("Glimpses", f"{len(fixations.running)} of {fixations.budget}, then enough was seen"))
    if overview and overview.lesions is not None:
        sizes = overview.lesions.diameter_um.tolist()
        largest = f", the largest {max(sizes) / 1000:.2f} mm" if sizes else ""
        facts.append(("Annotated lesions", f"{len(sizes)}{largest}"))
    if overview and fixations:
        facts.append(("Tissue", f"{tissue_mm2(overview):.1f} mm\N{SUPERSCRIPT TWO}, {seen(overview, fixations)}"))
    if status.get("size_l0") and status.get("mpp"):
        width, height = status["size_l0"]
        mpp = f"{status['mpp'][0]:.4g} \N{MICRO SIGN}m/px"
        source = f" ({status['mpp_source']})" if status.get("mpp_source") else ""
        facts.append(("Scan", f"{width:,} \N{MULTIPLICATION SIGN} {height:,} px at {mpp}{source}"))
        facts.append(("File", ", ".join(filter(None, (status.get("vendor"), f"{status['levels']} levels")))))
    if status.get("path"):
        facts.append(("Path", str(status["path"])))
    if row.fold:
        facts.append(("Fold", row.fold))
    if fixations and fixations.fold != row.fold:
        text = f"what the model of fold {fixations.fold} saw and concluded; the prediction is the mean of all folds"
        facts.append(("Pictures", text))
    return [(name, value) for name, value in facts if value]


def tissue_mm2(overview: StoredOverview) -> float:
    """Area of the tissue in square millimetres."""
    return float(overview.tissue.sum()) * overview.mpp**2 / 1e6


def seen(overview: StoredOverview, fixations: Fixations) -> str:
    """How much of the tissue the finest glimpses would cover if none overlapped, in words."""
    side_mm = fixations.glimpse_px * min(fixations.scales_mpp) / 1000
    area = len(fixations.running) * side_mm**2
    tissue = tissue_mm2(overview)
    share = f"{100 * area / tissue:.2g} %" if tissue else "none"
    return f"at most {share} of it seen at {min(fixations.scales_mpp):g} \N{MICRO SIGN}m/px"


def _sheet(fixations: Fixations) -> Sheet:
    picture = contact_sheet(fixations.glimpses)
    colours = [(p, tumor_colour(p)) for p in (1.0 - fixations.running[:, 0]).tolist()]
    return Sheet(
        picture=jpeg_uri(picture),
        width=picture.shape[1],
        height=picture.shape[0],
        tile=TILE_PX,
        columns=tuple(Column(p, colour, ink_on(colour)) for p, colour in colours),
        rows=fixations.scales_mpp,
    )


def _places(fixations: Fixations) -> tuple[Place, ...]:
    return tuple(
        Place(x_um, y_um, x_l0, y_l0, probability, tuple(running))
        for (x_um, y_um), (x_l0, y_l0), probability, running in zip(
            fixations.location_um.tolist(),
            fixations.location_l0.tolist(),
            fixations.policy_probability.tolist(),
            fixations.running.tolist(),
            strict=True,
        )
    )
