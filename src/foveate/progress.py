"""Progress for people: a bar where a terminal is there, plain log lines where not."""

import logging
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")
log = logging.getLogger(__name__)
QUIET_S = 30.0  # at most one log line in this time


def progress(items: Sequence[T], what: str) -> Iterator[T]:
    """Iterate over `items` and show how far it is."""
    if sys.stderr.isatty():
        yield from tqdm(items, what, leave=False)
        return
    said = time.monotonic()
    for done, item in enumerate(items):
        yield item
        if time.monotonic() - said > QUIET_S:
            said = time.monotonic()
            log.info("%s: %d of %d", what, done + 1, len(items))
