"""What lies where on a demo slide: nodes with capsule and sinuses, fat, germinal centres, lesions."""

from dataclasses import dataclass

import numpy as np

from foveate.cohort.demo_shapes import CELL, Field, Outline, blob, kidney, noise, spots

TILE = 256
LAYERS = (
    "fat",
    "stroma",
    "upright",
    "lymph",
    "sinus",
    "centre",
    "tumor",
)  # painted in this order, the last on top
NOWHERE = np.float32(-1e4)

# Largest diameters of the lesions of a slide class, um: (least, largest). Well inside the limits of 200 and 2000.
SIZES = {"itc": (120.0, 190.0), "micro": (350.0, 1600.0), "macro": (2300.0, 4200.0)}
CENTRES = (80.0, 1500.0)
MERGED = (2000.0, 3800.0)
RIM = 35.0  # um of plain lymphoid tissue left between a region and the capsule


@dataclass(frozen=True)
class Anatomy:
    """size: (width, height) of the slide, um. layers: depth inside each tissue, um, on the grid of demo_shapes.

    h_gain, e_gain: factors on both stains. lesions, centres: true outlines of tumor and of germinal centres.
    """

    size: tuple[int, int]
    layers: dict[str, Field]
    h_gain: Field
    e_gain: Field
    lesions: list[Outline]
    centres: list[Outline]


def sections(rng: np.random.Generator) -> tuple[tuple[int, int], list[Outline]]:
    """The slide's size, um (whole tiles), and the outlines of its one or two nodes."""
    if rng.uniform() < 0.6:
        sizes = [(rng.uniform(5600, 7600), rng.uniform(4100, 5000))]
    else:
        sizes = [
            (rng.uniform(4900, 5600), rng.uniform(4100, 4900)),
            (rng.uniform(1700, 2500), rng.uniform(2200, 3600)),
        ]
        if rng.uniform() < 0.5:
            sizes.reverse()
    left, nodes = rng.uniform(600, 900), []
    height = max(tall for _, tall in sizes) + rng.uniform(1200, 1600)
    for wide, tall in sizes:
        slack = (height - tall) / 2 - 500
        nodes.append(kidney(rng, (left + wide / 2, height / 2 + rng.uniform(-slack, slack)), wide, tall))
        left += wide + rng.uniform(350, 600)
    width = left + rng.uniform(200, 400)
    return (int(width // TILE + 1) * TILE, int(height // TILE + 1) * TILE), nodes


def region(rng: np.random.Generator, diameter: float) -> Outline:
    """The outline of a germinal centre or of a lesion: both are drawn alike, so that shape tells nothing."""
    longest = 1.6 if diameter > 250 else 1.3  # a small nest is a clump of cells, not a thread
    return blob(rng, diameter, rng.uniform(1.05, longest), rng.uniform(0.03, 0.16))


def close(one: Outline, other: Outline) -> bool:
    """Whether two regions overlap or nearly touch: a corner of either within 60 um of the other or inside it."""
    return max(other.depth(one.vertices).max(), one.depth(other.vertices).max()) > -60


def put(
    rng: np.random.Generator,
    sizes: list[float],
    nodes: list[Outline],
    taken: list[Outline],
    least: float = 0.0,
) -> list[Outline]:
    """Regions of the given diameters, um, inside the nodes and apart from those `taken` and from each other.

    One that finds no place shrinks to 0.9 and tries again, down to `least`; then it may overlap others, and
    one that fits nowhere at all is left out.
    """
    found: list[Outline] = []
    for size in sizes:
        diameter, place = size, None
        while place is None and diameter >= max(least, size / 4):
            shape = region(rng, diameter)
            for spot in spots(rng, shape, nodes, RIM, 40):
                if not any(close(spot, other) for other in taken + found):
                    place = spot
                    break
            diameter *= 0.9
        if place is None:
            place = next(spots(rng, region(rng, max(least, size / 4)), nodes, RIM, 400), None)
        if place is not None:
            found.append(place)
    return found


def uniform_log(rng: np.random.Generator, limits: tuple[float, float]) -> float:
    """A size between two limits, spread evenly over its logarithm."""
    return float(np.exp(rng.uniform(*np.log(limits))))


def lesion_sizes(rng: np.random.Generator, label: str) -> list[float]:
    """Diameters of a slide's lesions, um, largest first; none for a negative slide."""
    if label == "negative":
        return []
    sizes = [uniform_log(rng, SIZES[label])]
    if label == "itc" and rng.uniform() < 0.5:
        sizes.append(uniform_log(rng, SIZES["itc"]))
    if label == "macro" and rng.uniform() < 0.4:
        sizes.append(uniform_log(rng, SIZES["micro"]))
    if label in ("micro", "macro"):
        sizes += [uniform_log(rng, SIZES["itc"]) for _ in range(rng.integers(0, 3))]
    return sorted(sizes, reverse=True)


def lesions(rng: np.random.Generator, label: str, nodes: list[Outline]) -> list[Outline]:
    """The outlines of a slide's lesions; the largest is of the label's size."""
    sizes = lesion_sizes(rng, label)
    main = put(rng, sizes[:1], nodes, [], least=SIZES[label][0] if sizes else 0.0)
    return main + put(rng, sizes[1:], nodes, main, least=SIZES["itc"][0])


def centres(rng: np.random.Generator, nodes: list[Outline], taken: list[Outline]) -> list[Outline]:
    """The outlines of a slide's germinal centres: 3 to 6 of all sizes, and on some slides one merged cluster."""
    sizes = [uniform_log(rng, CENTRES) for _ in range(rng.integers(3, 7))]
    if rng.uniform() < 0.2:
        sizes.append(uniform_log(rng, MERGED))
    return put(rng, sorted(sizes, reverse=True), nodes, taken, least=CENTRES[0])


def shade(
    rng: np.random.Generator, anatomy: Anatomy, layer: str, outline: Outline, patchy: Field, ragged: Field
) -> None:
    """Paint a region into its layer, with its own tone, a darker side and perhaps a dark mantle around.

    patchy: noise that lets lymphocytes into the inside of larger regions; ragged: noise that frays the edge. The
    same for both kinds of region.
    """
    window, depth = outline.paint(anatomy.layers[layer])
    depth += ragged[window] * np.float32(min(9.0, 0.03 * outline.diameter))
    hole = np.float32(45.0) * (np.float32(1.9) - np.abs(patchy[window])) if outline.diameter > 350 else depth
    inside = np.minimum(depth, np.maximum(hole, 90 - depth))
    anatomy.layers[layer][window] = np.maximum(anatomy.layers[layer][window], inside)
    cover = np.clip(depth / 30 + 0.5, 0, 1)
    angle, row, column = rng.uniform(0, 2 * np.pi), *np.indices(depth.shape, dtype=np.float32)
    slope = (np.cos(angle) * (column - column.mean()) + np.sin(angle) * (row - row.mean())) * CELL
    tone = 1 + cover * (rng.normal() * 0.05 + 0.12 * np.clip(slope / outline.diameter, -0.5, 0.5))
    thick = rng.uniform(15, 45) if rng.uniform() < 0.45 else 0.0
    if thick:
        tone *= 1 + rng.uniform(0.15, 0.35) * np.exp(-(((depth + thick) / thick) ** 2)) * (1 - cover)
    anatomy.h_gain[window] *= tone
    anatomy.e_gain[window] *= 1 + cover * np.float32(rng.normal() * 0.05)


def node_layers(rng: np.random.Generator, anatomy: Anatomy, nodes: list[Outline]) -> None:
    """Fat, capsule with trabeculae, lymphoid tissue and sinuses of all nodes."""
    layers, shape = anatomy.layers, anatomy.h_gain.shape
    depth = np.full(shape, NOWHERE)
    for node in nodes:
        window, inside = node.paint(depth, reach=1500)
        depth[window] = np.maximum(depth[window], inside)
    depth += noise(rng, shape, 90) * 5 + noise(rng, shape, 300) * 8
    broad, narrow, wide = noise(rng, shape, 900), noise(rng, shape, 260), noise(rng, shape, 1700)
    gate = noise(rng, shape, 420)  # breaks the lines where the other noises pass zero, which would be closed loops
    capsule = 32 + 16 * broad.clip(-1.2, 2)
    bands = np.clip(1.4 - depth / 1100, 0, 1) * np.clip(gate + 0.2, 0, 1)
    trabecula = np.abs(noise(rng, shape, 700)) * 110 - 40 * bands + 25
    layers["lymph"][:] = np.minimum(depth - capsule, trabecula)
    under = 13 + 9 * narrow - np.abs(depth - capsule - 18)  # the subcapsular sinus
    medulla = np.clip((depth - 250) / 600, 0, 1) * np.clip(wide * 0.9 + 0.25, 0, 1.3)
    paths = np.minimum(np.abs(narrow), np.abs(noise(rng, shape, 200)) + 0.1)
    cords = 50 * medulla * np.clip(0.75 + 0.5 * gate, 0.1, 1.3) - paths * 42 - 25
    layers["sinus"][:] = np.minimum(np.maximum(under, cords), layers["lymph"] + 4)
    reach = 120 + 330 * np.clip(wide + 0.2 * narrow + 0.3, 0, 1.6)
    layers["fat"][:] = np.where(depth > -900, depth + reach + 25 * noise(rng, shape, 160), NOWHERE)
    septa = 8 * np.clip(gate + 0.4, -1, 1) - np.abs(broad + 0.3 * narrow) * 70
    layers["stroma"][:] = np.maximum(depth, np.minimum(septa, layers["fat"] - 30))
    down, right = np.gradient(layers["stroma"])
    layers["upright"][:] = np.minimum(layers["stroma"], (np.abs(right) - np.abs(down)) * 6)


def plan_regions(
    rng: np.random.Generator, label: str
) -> tuple[tuple[int, int], list[Outline], list[Outline], list[Outline]]:
    """The slide's size and the outlines of its nodes, lesions and germinal centres.

    Nodes in which the lesions find no room, which is rare, are drawn anew.
    """
    while True:
        size, nodes = sections(rng)
        tumors = lesions(rng, label, nodes)
        if tumors or label == "negative":
            return size, nodes, tumors, centres(rng, nodes, tumors)


def draw(rng: np.random.Generator, label: str) -> Anatomy:
    """A slide of the given class."""
    size, nodes, tumors, germinal = plan_regions(rng, label)
    shape = (size[1] // CELL, size[0] // CELL)
    layers = {name: np.full(shape, NOWHERE) for name in LAYERS}
    fine = noise(rng, shape, 20) * 0.05 + noise(rng, shape, 70) * 0.04 + noise(rng, shape, 450) * 0.06
    pink = noise(rng, shape, 40) * 0.05 + noise(rng, shape, 600) * 0.07
    anatomy = Anatomy(size, layers, 1 + fine, 1 + pink, tumors, germinal)
    node_layers(rng, anatomy, nodes)
    patchy, ragged = noise(rng, shape, 240), noise(rng, shape, 60)
    for outline in germinal:
        shade(rng, anatomy, "centre", outline, patchy, ragged)
    for outline in tumors:
        shade(rng, anatomy, "tumor", outline, patchy, ragged)
    return anatomy
