"""Types of options that several commands have."""

import argparse


def seed(text: str) -> int:
    """A seed of random numbers. Raises ArgumentTypeError for what is none."""
    if not (text.isdecimal() and int(text) < 2**32):
        raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number, 0 to 4294967295")
    return int(text)
