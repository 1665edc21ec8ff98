import subprocess
import sys
from pathlib import Path

JOB = """
import logging, os, sys
from foveate.errors import FoveateError
from foveate.logs import job
with job(sys.argv[1]):
    print("printed", flush=True)
    logging.getLogger("foveate").info("logged")
    os.write(2, b"from a library\\n")
    {last}
"""


def run(log: Path, last: str) -> subprocess.CompletedProcess[str]:
    code = [sys.executable, "-c", JOB.format(last=last), str(log)]
    return subprocess.run(code, capture_output=True, text=True, check=False)


def test_all_that_a_job_says_goes_to_its_log(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    done = run(log, "pass")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    lines = log.read_text().splitlines()
    assert lines[0] == "printed"
    assert lines[1].endswith("INFO logged")
    assert lines[2] == "from a library"


def test_an_error_that_can_be_mended_has_no_traceback_and_is_shown_to_the_user(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    done = run(log, 'raise FoveateError("samples.tsv:3: no label")')
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "samples.tsv:3: no label\n")
    assert "ERROR samples.tsv:3: no label" in log.read_text()
    assert "Traceback" not in log.read_text()


def test_any_other_error_has_its_traceback_in_the_log(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    done = run(log, "1 / 0")
    assert done.returncode == 1
    assert "ZeroDivisionError" in log.read_text()
