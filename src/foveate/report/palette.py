"""The colours of the report, one meaning each, everywhere.

Lightness falls from itc to macro and from pN0(i+) to pN2, so that the order survives in grey and for
readers who do not tell red from green; negative is the only cool colour. The page's style sheet takes
the colours of the light scheme and of the dark one from here.
"""

from foveate.patients.stages import PN_STAGES, SLIDE_CLASSES

CLASS_COLOURS = dict(zip(SLIDE_CLASSES, ("#7d93ab", "#e2a52b", "#d2601a", "#8e1530"), strict=True))
CLASS_COLOURS_DARK = dict(zip(SLIDE_CLASSES, ("#7d93ab", "#f0bd4f", "#e97c35", "#cb3a55"), strict=True))
STAGE_COLOURS = dict(zip(PN_STAGES, ("#7d93ab", "#e2a52b", "#d2601a", "#8e1530", "#4a1242"), strict=True))
STAGE_COLOURS_DARK = dict(zip(PN_STAGES, ("#7d93ab", "#f0bd4f", "#e97c35", "#cb3a55", "#a462b4"), strict=True))

TUMOR_SCALE = ((125, 147, 171), (214, 196, 150), (226, 165, 43), (210, 96, 26), (142, 21, 48))
"""RGB for a tumor probability of 0, 1/4, 1/2, 3/4 and 1; between them the colour runs linearly."""


def tumor_colour(probability: float) -> str:
    """The colour, as `#rrggbb`, of a tumor probability; below 0 counts as 0, above 1 as 1."""
    place = min(max(probability, 0.0), 1.0) * (len(TUMOR_SCALE) - 1)
    below = min(int(place), len(TUMOR_SCALE) - 2)
    share = place - below
    low, high = TUMOR_SCALE[below], TUMOR_SCALE[below + 1]
    return "#" + "".join(f"{round(a + share * (b - a)):02x}" for a, b in zip(low, high, strict=True))


def rgb(colour: str) -> tuple[int, int, int]:
    """Red, green and blue, 0 to 255, of `#rrggbb`."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def ink_on(colour: str) -> str:
    """Black or white, whichever has the higher WCAG contrast with `colour` (`#rrggbb`)."""
    channels = [value / 255 for value in rgb(colour)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#ffffff" if 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.05 else "#000000"
