"""Where log lines go: to the terminal for commands, to the rule's log file for jobs of the workflow."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from foveate.errors import FoveateError

LINE = "%(asctime)s %(levelname)s %(message)s"


def quiet_libraries() -> None:
    """Silence the start-up notes of TensorFlow and JAX. Must come before their import."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("jax").setLevel(logging.WARNING)


@contextmanager
def job(log: str | Path) -> Iterator[None]:
    """Run a job of the workflow: standard streams and log lines go to its log file.

    A FoveateError ends the process with status 1 and its message, without a traceback.
    """
    quiet_libraries()
    sys.stderr.flush()
    terminal = os.dup(2)
    with Path(log).open("w", buffering=1, encoding="utf-8") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
        logging.basicConfig(level=logging.INFO, format=LINE, stream=file, force=True)
        try:
            yield
        except FoveateError as error:
            logging.getLogger(__name__).error("%s", error)
            os.write(terminal, f"{error}\n".encode())
            sys.exit(1)
