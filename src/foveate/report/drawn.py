"""What is known of a slide as marks and a heat map, for the viewers of slides. Level-0 px, (x, y)."""

from collections.abc import Iterator

import numpy as np
import shapely
from numpy.typing import NDArray

from foveate.patients.stages import SLIDE_CLASSES
from foveate.report.palette import rgb, tumor_colour
from foveate.report.sources import Attention, Fixations
from foveate.slides.annotations import Annotation
from foveate.slides.marks import (
    AREA,
    ATTENTION,
    EXCLUSION,
    FIXATION,
    LESION,
    LINE,
    PATH,
    POINTS,
    TISSUE,
    Mark,
)
from foveate.slides.ometiff import halved
from foveate.slides.outlines import Outline, Polygon, diameter
from foveate.slides.overview_file import StoredOverview
from foveate.slides.polygons import enclosed, polygons

TISSUE_COLOUR, LESION_COLOUR, EXCLUSION_COLOUR = (20, 110, 60), (200, 0, 0), (90, 90, 90)
FIXATION_COLOUR = (125, 147, 171)
ATTENTION_COLOURS = {50: (142, 21, 48), 80: (210, 96, 26), 95: (226, 165, 43)}
"""Percent of the attention to the colour of the cells that hold it."""
DECIMALS = 2  # of what is computed; what was annotated stays as it is
HEAT_LEVEL_PX = 256  # the last level of the heat map is no larger


def tissue_marks(overview: StoredOverview) -> list[Mark]:
    """The tissue that was found, along the borders of the overview's pixels, as one mark."""
    area_mm2 = float(overview.tissue.sum()) * overview.mpp**2 / 1e6
    parts = _on_slide(overview, polygons(overview.tissue), overview.mpp)
    return [Mark(TISSUE, AREA, parts, TISSUE, TISSUE_COLOUR, None, {"area_mm2": round(area_mm2, 6)}, True)]


def lesion_marks(annotation: Annotation, mpp: tuple[float, float]) -> list[Mark]:
    """A mark for each annotated lesion, with its holes; mpp: um per level-0 pixel (x, y).

    A hole that is to be cut out of all lesions becomes one of each that it lies in, if every other one, and every hole
    there, lies clear of it; otherwise it is a mark of its own, an exclusion. So is one that has holes itself.
    """
    lesions = list(annotation.lesions)
    areas = [enclosed(lesion) for lesion in lesions]
    apart = []
    for hole in annotation.holes:
        cut = enclosed(hole)
        within, clear = shapely.contains_properly(areas, cut), shapely.disjoint(areas, cut)
        if len(hole) == 1 and within.any() and (within | clear).all():
            for k in np.flatnonzero(within):
                lesions[k] += hole
                areas[k] = enclosed(lesions[k])
        else:
            apart.append(hole)
    marks = [
        Mark(LESION, AREA, (lesion,), f"lesion {k}", LESION_COLOUR, None, _sizes(lesion, mpp))
        for k, lesion in enumerate(lesions, start=1)
    ]
    return marks + [Mark(EXCLUSION, AREA, (p,), f"exclusion {k}", EXCLUSION_COLOUR) for k, p in enumerate(apart, 1)]


def _sizes(lesion: Polygon, mpp: tuple[float, float]) -> dict[str, float]:
    um = [ring * mpp for ring in lesion]
    return {"diameter_um": round(diameter(um[0]), 3), "area_um2": round(enclosed(um).area, 3)}


def fixation_marks(overview: StoredOverview, fixations: Fixations) -> list[Mark]:
    """The path, and for every fixation the square of its finest scale, with the classes' probabilities after it."""
    centres = overview.geometry.um_to_l0(fixations.location_um)
    half = overview.geometry.um_to_l0(np.full(2, fixations.glimpse_px * min(fixations.scales_mpp) / 2))
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * half
    marks = []
    seen = zip(centres, fixations.running.tolist(), fixations.policy_probability.tolist(), strict=True)
    for step, (centre, running, probability) in enumerate(seen, start=1):
        best = int(np.argmax(running))
        facts = {f"p_{name}": round(p, 6) for name, p in zip(SLIDE_CLASSES, running, strict=True)}
        told = ", ".join(f"{name} {p:.3f}" for name, p in zip(SLIDE_CLASSES, running, strict=True))
        marks.append(
            Mark(
                group=FIXATION,
                kind=AREA,
                parts=((np.round(centre + corners, DECIMALS),),),
                name=f"{step:02d} {SLIDE_CLASSES[best]}: {told}; policy {probability:.3g}",
                colour=FIXATION_COLOUR,
                own_colour=rgb(tumor_colour(1 - running[0])),
                measurements={"fixation": step, **facts, "policy_probability": round(probability, 6)},
                locked=True,
            )
        )
    kind = LINE if len(centres) > 1 else POINTS
    path = Mark(PATH, kind, ((np.round(centres, DECIMALS),),), PATH, FIXATION_COLOUR, locked=True)
    return [path, *marks]


def attention_marks(overview: StoredOverview, attention: Attention) -> list[Mark]:
    """The smallest sets of cells that hold 50, 80 and 95 % of the attention, each a mark along the cells' borders."""
    above = mass_above(attention.peak)
    marks = []
    for percent, colour in sorted(ATTENTION_COLOURS.items(), reverse=True):  # the largest first, below the others
        mask = np.zeros(overview.cell_tissue.shape, bool)
        mask[tuple(attention.cell[above < percent / 100].T)] = True
        parts = _on_slide(overview, polygons(mask), overview.cell_um)
        name = f"{ATTENTION} {percent}%"
        facts = {"attention": percent / 100, "cells": float(mask.sum())}
        marks.append(Mark(name, AREA, parts, name, colour, None, facts, True))
    return marks


def mass_above(peak: NDArray[np.floating]) -> NDArray[np.float64]:
    """(N,) which part of all attention lies on the cells before each, by falling attention: 0 for the first."""
    order = np.argsort(-peak, kind="stable")
    sorted_ = peak[order].astype(np.float64)
    above = np.empty(len(peak))
    above[order] = (np.cumsum(sorted_) - sorted_) / sorted_.sum()
    return above.clip(0, 1)


def heat_levels(overview: StoredOverview, attention: Attention) -> tuple[list[NDArray[np.uint8]], tuple[float, float]]:
    """A map of the attention over the slide's bounds, in levels, of which each is half the one before.

    Returns them, (H, W) each, and the um per pixel (x, y) of the first, about those of the overview, so that its sides
    are exactly those of the bounds. A cell has 255 times the share of attention that does not lie on cells with more:
    255 for the first one, 128 and more in the half of attention; at least 1. What is no tissue has 0.
    """
    values: NDArray[np.uint8] = np.zeros(overview.cell_tissue.shape, np.uint8)
    values[tuple(attention.cell.T)] = np.maximum(1, np.round(255 * (1 - mass_above(attention.peak))))
    mpp, (left, top, wide, high) = overview.geometry.mpp, overview.geometry.bounds_l0
    size = (wide * mpp[0], high * mpp[1])
    halvings = max(1, int(np.ceil(np.log2(max(size) / overview.mpp / HEAT_LEVEL_PX))))
    step = 2**halvings
    width, height = (max(1, round(side / overview.mpp / step)) * step for side in size)
    columns = _cells(left * mpp[0], size[0], width, overview.origin_um[0], overview.cell_um, values.shape[1])
    rows = _cells(top * mpp[1], size[1], height, overview.origin_um[1], overview.cell_um, values.shape[0])
    levels = [values[np.ix_(rows, columns)]]
    for _ in range(halvings):
        levels.append(halved(levels[-1]))
    return levels, (size[0] / width, size[1] / height)


def _cells(begin_um: float, side_um: float, px: int, origin_um: float, cell_um: float, count: int) -> NDArray[np.int64]:
    """(px,) along one axis, the cell that the middle of each pixel of a side lies in."""
    middle = begin_um + (np.arange(px) + 0.5) * side_um / px
    return np.floor((middle - origin_um) / cell_um).astype(np.int64).clip(0, count - 1)


def _on_slide(overview: StoredOverview, found: list[Polygon], pixel_um: float) -> tuple[Polygon, ...]:
    """Polygons on a grid over the overview, cut off at the slide's bounds, beyond which its last pixels may reach."""
    low = np.array(overview.geometry.bounds_l0[:2], np.float64)
    high = low + overview.geometry.bounds_l0[2:]

    def moved(polygon: Polygon) -> Iterator[Outline]:
        for ring in polygon:
            place = overview.geometry.um_to_l0(ring * pixel_um + overview.origin_um)
            yield np.clip(place, low, high).round(DECIMALS)

    return tuple(tuple(moved(polygon)) for polygon in found)
