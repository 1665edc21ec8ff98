"""Slide classes, pN stages, and the rule that leads from one to the other."""

from collections.abc import Sequence

SLIDE_CLASSES = ("negative", "itc", "micro", "macro")
PN_STAGES = ("pN0", "pN0(i+)", "pN1mi", "pN1", "pN2")

PN2_NODES = 4
"""Positive nodes from which on a patient with a macro-metastasis is pN2 instead of pN1."""


def pn_stage(labels: Sequence[str]) -> str:
    """Return the pN stage of a patient whose nodes have these slide classes, one label a node.

    The rule of the CAMELYON17 challenge (Bandi et al. 2019, after TNM, 7th edition). A node is positive
    when it is micro or macro; isolated tumor cells (itc) do not make it positive.

    - pN0: all nodes negative; pN0(i+): nothing but itc.
    - pN1mi: at least one micro, no macro, whatever their number.
    - pN1: at least one macro, 1-3 positive nodes; pN2: at least one macro, 4 or more.

    The challenge ends at pN2. TNM calls 10 or more positive nodes pN3, as it does other findings that no
    node count shows; here such patients are pN2, the highest of the five stages.

    Raises ValueError without labels (there is no stage of no nodes) and for an unknown label.
    """
    if not labels:
        raise ValueError("pn_stage needs the label of at least one node. Received: none")
    for label in labels:
        if label not in SLIDE_CLASSES:
            raise ValueError(f"a label must be one of {', '.join(SLIDE_CLASSES)}. Received: {label!r}")
    macro = sum(label == "macro" for label in labels)
    positive = macro + sum(label == "micro" for label in labels)
    if macro:
        return "pN2" if positive >= PN2_NODES else "pN1"
    if positive:
        return "pN1mi"
    return "pN0(i+)" if "itc" in labels else "pN0"


def true_stage(given: str, labels: Sequence[str]) -> str:
    """Return a patient's stage: the given one, else that of all nodes' labels, else "". labels: "" if not known."""
    return given or (pn_stage(labels) if all(labels) else "")
