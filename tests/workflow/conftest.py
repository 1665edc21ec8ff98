"""A copy of the code and a finished run, shared by all tests of the workflow."""

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from foveate.lock import take

from .project import REPOSITORY, Project, copy_code, make_project


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what all worker processes of these tests use, and one of them makes."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "workflow"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def code(shared: Path) -> Path:
    """A copy of the code, which nobody edits while the tests run."""
    with take(shared / "code.lock", wait=True):
        if not (shared / "code").exists():
            copy_code(REPOSITORY, shared / "partial").rename(shared / "code")
    return shared / "code"


@pytest.fixture(scope="session")
def new_project(code: Path) -> Callable[[Path], Project]:
    """Makes a project with the tiny cohort in a folder that is not there yet."""
    return partial(make_project, code=code)


@pytest.fixture(scope="session")
def finished(shared: Path, code: Path, new_project: Callable[[Path], Project]) -> Project:
    """A finished run, for all workers. To be read; what runs or writes takes a copy, `project`."""
    folder = shared / "finished"
    with take(shared / "finished.lock", wait=True):
        if not (folder / "results" / "complete.txt").exists():
            shutil.rmtree(folder, ignore_errors=True)
            new_project(folder).finish()
    return Project(folder, code)


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    """A copy of the finished run."""
    return finished.copy(tmp_path / "project")
