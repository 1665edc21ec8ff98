"""Slide classes and pN stages."""

SLIDE_CLASSES = ("negative", "itc", "micro", "macro")
PN_STAGES = ("pN0", "pN0(i+)", "pN1mi", "pN1", "pN2")
