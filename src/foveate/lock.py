"""Locks that the system frees when their holder dies, however it dies."""

import fcntl
import logging
from pathlib import Path
from typing import TextIO

from foveate.errors import FoveateError

log = logging.getLogger(__name__)


def take(path: Path, *, wait: bool) -> TextIO:
    """Lock `path`, an empty file that is made and left there, until the returned file is closed.

    Raises
    ------
    FoveateError
        If another process has it and `wait` is false, or if the file cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    except OSError as error:
        raise FoveateError(f"{path.parent}: cannot be written to ({error.strerror})") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        if not wait:
            file.close()
            raise FoveateError(f"{path.absolute()} is held by another run; wait for its end") from error
        log.info("%s: waiting for a process of an earlier run that is still at work", path)
        fcntl.flock(file, fcntl.LOCK_EX)
    return file
