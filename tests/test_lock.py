import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from foveate.errors import FoveateError
from foveate.lock import take

HOLDER = """
import sys
from pathlib import Path
from foveate.lock import take
file = take(Path(sys.argv[1]), wait=False)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "lock"


@pytest.fixture
def holder(lock: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds the lock until its standard input is closed."""
    command = [sys.executable, "-c", HOLDER, str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process


def test_a_lock_that_is_held_is_refused_by_name(lock: Path, holder: "subprocess.Popen[str]") -> None:
    with pytest.raises(FoveateError, match=rf"{lock} is held by another run; wait for its end"):
        take(lock, wait=False)


def test_a_killed_holder_holds_no_more(lock: Path, holder: "subprocess.Popen[str]") -> None:
    holder.kill()
    holder.wait()
    take(lock, wait=False).close()


def test_who_waits_gets_the_lock_when_its_holder_ends(lock: Path, holder: "subprocess.Popen[str]") -> None:
    waiting = [sys.executable, "-c", HOLDER.replace("wait=False", "wait=True"), str(lock)]
    with subprocess.Popen(waiting, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as second:
        with pytest.raises(subprocess.TimeoutExpired):
            second.wait(0.5)
        assert holder.stdin is not None
        holder.stdin.close()
        assert second.communicate("")[0] == "held\n"


def test_a_lock_is_free_again_when_its_file_is_closed(lock: Path) -> None:
    for _ in range(2):
        with take(lock, wait=False):
            pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FoveateError, match=rf"^{tmp_path}/file/below: cannot be written to \(Not a directory\)$"):
        take(tmp_path / "file" / "below" / "lock", wait=False)
