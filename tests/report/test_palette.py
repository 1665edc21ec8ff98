import itertools

import pytest

from foveate.report import palette
from foveate.report.palette import ink_on, tumor_colour


@pytest.mark.parametrize(
    ("probability", "colour"),
    [(-1, "#7d93ab"), (0, "#7d93ab"), (0.5, "#e2a52b"), (1, "#8e1530"), (2, "#8e1530"), (0.625, "#da8222")],
)
def test_tumor_colour_runs_between_its_stops_and_is_kept_within(probability, colour):
    assert tumor_colour(probability) == colour


@pytest.mark.parametrize(("colour", "ink"), [("#ffffff", "#000000"), ("#000000", "#ffffff"), ("#8e1530", "#ffffff")])
def test_ink_is_readable(colour, ink):
    assert ink_on(colour) == ink


def luminance(colour: str) -> float:
    return sum(w * int(colour[i : i + 2], 16) for w, i in zip((0.2126, 0.7152, 0.0722), (1, 3, 5), strict=True))


@pytest.mark.parametrize("colours", [palette.CLASS_COLOURS, palette.CLASS_COLOURS_DARK, palette.STAGE_COLOURS])
def test_severity_is_told_by_lightness_alone(colours):
    values = [luminance(colour) for colour in list(colours.values())[1:]]
    assert all(darker < lighter - 15 for lighter, darker in itertools.pairwise(values))
