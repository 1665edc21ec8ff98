"""What is drawn over a slide's thumbnail: tissue, lesions, the fixation path, what was seen, a scale bar.

All positions are in pixels of the small thumbnail, (x, y) from its top-left corner; the template turns
them into SVG over the picture.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from skimage.measure import approximate_polygon, find_contours

from foveate.report.palette import ink_on, tumor_colour
from foveate.report.sheets import jpeg_uri, small_thumbnail
from foveate.report.sources import Fixations
from foveate.slides.overview_file import StoredOverview

STOP_RADIUS = 8.5
LABEL_RISE = 17.0
RING = 5.0  # room for the ring of the first and the last
SPECK_PX = 4.0
CIRCLE_RADIUS = 10.0
BAR_LENGTHS_UM = tuple(m * 10.0**k for k in range(6) for m in (1, 2, 5))


@dataclass(frozen=True)
class Stop:
    """The numbers of one fixation, or of several near each other: (x, y) is the middle of the label.

    spots: where several fixations were, () for one, whose label stands on its place.
    """

    x: float
    y: float
    spots: tuple[tuple[float, float], ...]
    label: str
    width: float
    colour: str
    ink: str
    first: bool
    last: bool


@dataclass(frozen=True)
class Footprint:
    """A square that was covered: by one glimpse at its coarsest scale, or by the scout."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class ScaleBar:
    width: float
    label: str


@dataclass(frozen=True)
class SlideMap:
    width: int
    height: int
    thumbnail: str
    tissue: str
    lesions: str
    track: str
    arrows: tuple[tuple[float, float, float], ...]
    stops: tuple[Stop, ...]
    footprints: tuple[Footprint, ...]
    scouted: tuple[Footprint, ...]
    bar: ScaleBar


def slide_map(overview: StoredOverview, fixations: Fixations | None) -> SlideMap:
    """Draw `overview` small, with the fixations of the learned policy when there are any."""
    small = small_thumbnail(overview.thumbnail)
    height, width = small.shape[:2]
    scale = (width / overview.thumbnail.shape[1], height / overview.thumbnail.shape[0])
    um_per_px = (overview.mpp / scale[0], overview.mpp / scale[1])
    points = np.empty((0, 2))
    seen: tuple[Footprint, ...] = ()
    scouted: tuple[Footprint, ...] = ()
    if fixations is not None:
        points = (fixations.location_um - np.asarray(overview.origin_um)) / np.asarray(um_per_px)
        seen = footprints(points, fixations.glimpse_px * max(fixations.scales_mpp), um_per_px)
        middles = (fixations.scouted_um - np.asarray(overview.origin_um)) / np.asarray(um_per_px)
        scouted = footprints(middles, fixations.scouted_side_um, um_per_px)
    return SlideMap(
        width=width,
        height=height,
        thumbnail=jpeg_uri(small),
        tissue=contour_path(overview.tissue, scale),
        lesions="" if overview.lesions is None else lesion_path(overview.lesions.index > 0, scale),
        track=" ".join(f"{x:.1f},{y:.1f}" for x, y in points),
        arrows=arrows(points),
        stops=() if fixations is None else stops(points, 1.0 - fixations.running[:, 0]),
        footprints=seen,
        scouted=scouted,
        bar=scale_bar(um_per_px[0], width),
    )


def footprints(middles: NDArray[np.floating], side_um: float, um_per_px: tuple[float, float]) -> tuple[Footprint, ...]:
    """Squares around middles (n, 2) x, y in pixels; each once."""
    w, h = side_um / um_per_px[0], side_um / um_per_px[1]
    corners = dict.fromkeys((float(x - w / 2), float(y - h / 2)) for x, y in middles)
    return tuple(Footprint(x, y, w, h) for x, y in corners)


def contour_path(mask: NDArray[np.bool_], scale: tuple[float, float]) -> str:
    """SVG path data of the outlines of `mask`, (H, W), its (x, y) multiplied by `scale`, without specks."""
    return "".join(_path(c) for c in _contours(mask, scale) if np.ptp(c, axis=0).max() >= SPECK_PX)


def lesion_path(mask: NDArray[np.bool_], scale: tuple[float, float]) -> str:
    """As `contour_path`, with a circle around each lesion that is too small to be seen as an outline."""
    parts = []
    for contour in _contours(mask, scale):
        low, high = contour.min(axis=0), contour.max(axis=0)
        if (high - low).max() < 1.5 * CIRCLE_RADIUS:
            (x, y), r = (low + high) / 2, CIRCLE_RADIUS
            parts.append(f"M{x - r:.1f} {y:.1f}a{r} {r} 0 1 0 {2 * r} 0a{r} {r} 0 1 0 {-2 * r} 0Z")
        else:
            parts.append(_path(contour))
    return "".join(parts)


def _contours(mask: NDArray[np.bool_], scale: tuple[float, float]) -> list[NDArray[np.float64]]:
    """Closed outlines, (N, 2) x, y each; a pixel reaches from its index to the next."""
    found = find_contours(np.pad(mask, 1).astype(np.uint8), 0.5)
    return [(contour[:, ::-1] - 0.5) * scale for contour in found]


def _path(contour: NDArray[np.float64]) -> str:
    return closed_path(approximate_polygon(contour, 0.6)[:-1])


def closed_path(points: NDArray[np.float64]) -> str:
    """SVG path data of a closed outline through `points`, (N, 2) x, y."""
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points.tolist()) + "Z"


def stops(points: NDArray[np.float64], tumor: NDArray[np.floating]) -> tuple[Stop, ...]:
    """Numbered labels for `points`, (T, 2); fixations whose labels would overlap share one.

    tumor: (T,), the running tumor probability after each fixation; a shared label has the colour of the
    latest and stands above its fixations, so that it does not hide what was looked at.
    """
    groups = [[t] for t in range(1, len(points) + 1)]
    while (pair := _overlapping(groups, points)) is not None:
        one, other = pair
        groups[one] = sorted(groups[one] + groups.pop(other))
    made = []
    for numbers in groups:
        x, y, width = _label_place(numbers, points)
        spots = [(float(px), float(py)) for px, py in points[np.array(numbers) - 1]] if len(numbers) > 1 else []
        colour = tumor_colour(float(tumor[numbers[-1] - 1]))
        ends = (1 in numbers, len(points) in numbers)
        made.append(Stop(x, y, tuple(spots), ranges(numbers), width, colour, ink_on(colour), *ends))
    return tuple(made)


def _overlapping(groups: list[list[int]], points: NDArray[np.float64]) -> tuple[int, int] | None:
    """The first two groups, (i, j) with i < j, whose labels would touch."""
    places = [_label_place(numbers, points) for numbers in groups]
    for j, (x1, y1, w1) in enumerate(places):
        for i, (x0, y0, w0) in enumerate(places[:j]):
            if abs(y1 - y0) < 2 * STOP_RADIUS + RING and abs(x1 - x0) < (w0 + w1) / 2 + RING:
                return i, j
    return None


def _label_place(numbers: list[int], points: NDArray[np.float64]) -> tuple[float, float, float]:
    """Middle (x, y) and width of a label: on the fixation, or above several (below at the upper edge)."""
    members = points[np.array(numbers) - 1]
    width = max(2 * STOP_RADIUS, 6.3 * len(ranges(numbers)) + 8)
    x, y = members.mean(axis=0).tolist()
    if len(numbers) > 1:
        above = float(members[:, 1].min()) - LABEL_RISE
        y = above if above > STOP_RADIUS else float(members[:, 1].max()) + LABEL_RISE
    return x, y, width


def ranges(numbers: list[int]) -> str:
    """Rising numbers in short: [1, 2, 3, 5] becomes "1-3,5" (with an en dash)."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ",".join(f"{p[0]}" if len(p) == 1 else f"{p[0]}\N{EN DASH}{p[-1]}" for p in parts)


def arrows(points: NDArray[np.float64]) -> tuple[tuple[float, float, float], ...]:
    """(x, y, degrees) half-way along each step of `points`, (T, 2), that is long enough to carry one."""
    made = []
    for (x0, y0), (x1, y1) in zip(points[:-1].tolist(), points[1:].tolist(), strict=True):
        if math.dist((x0, y0), (x1, y1)) > 4 * STOP_RADIUS:
            angle = math.degrees(math.atan2(y1 - y0, x1 - x0))
            made.append(((x0 + x1) / 2, (y0 + y1) / 2, angle))
    return tuple(made)


def scale_bar(um_per_px: float, width: int) -> ScaleBar:
    """The longest bar of 1, 2 or 5 times a power of ten um that takes at most a quarter of `width` px."""
    room = um_per_px * width / 4
    length = max((um for um in BAR_LENGTHS_UM if um <= room), default=BAR_LENGTHS_UM[0])
    label = f"{length / 1000:g} mm" if length >= 1000 else f"{length:g} \N{MICRO SIGN}m"
    return ScaleBar(length / um_per_px, label)
