import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PIN = re.compile(r"(?P<name>[a-z0-9-]+)(\[[a-z-]+\])?==(?P<version>[0-9][0-9a-z.]*)")


def pins(requirements: list[str]) -> dict[str, str]:
    """Name to version; every requirement must be pinned."""
    found = {}
    for requirement in (text.partition(";")[0].strip() for text in requirements):
        match = PIN.fullmatch(requirement)
        assert match, requirement
        assert match["name"] not in found
        found[match["name"]] = match["version"]
    return found


@pytest.fixture(scope="module")
def project() -> dict[str, object]:
    return dict(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"])


@pytest.fixture(scope="module")
def lock() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return pins(lines)


@pytest.fixture(scope="module")
def environment() -> dict[str, object]:
    return dict(yaml.safe_load((ROOT / "environment.yml").read_text()))


def test_the_lock_holds_the_project_s_pins(project: dict, lock: dict[str, str]) -> None:
    for requirements in (project["dependencies"], project["optional-dependencies"]["dev"]):
        direct = pins(requirements)
        assert direct == {name: lock.get(name) for name in direct}


def test_the_lock_has_no_addresses_and_no_options() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    assert " @ " not in text
    assert not re.search(r"^\s*(-|#)", text, re.MULTILINE)


def test_the_conda_environment_holds_the_project_s_pins(project: dict, environment: dict) -> None:
    (from_pip,) = (d["pip"] for d in environment["dependencies"] if isinstance(d, dict))
    assert from_pip[-1] == "-e ."
    assert pins(from_pip[:-1]) == pins(project["dependencies"])


def test_the_conda_environment_has_a_python_that_the_project_takes(project: dict, environment: dict) -> None:
    (python,) = (d for d in environment["dependencies"] if isinstance(d, str) and d.startswith("python="))
    version = tuple(map(int, python.removeprefix("python=").split(".")))
    assert project["requires-python"] == ">=3.11"
    assert version >= (3, 11)
    assert environment["name"] == project["name"]
    assert environment["channels"] == ["conda-forge"]


def test_the_extra_for_gpus_is_the_same_tensorflow(project: dict) -> None:
    assert project["optional-dependencies"]["gpu"] == [
        f"tensorflow[and-cuda]=={pins(project['dependencies'])['tensorflow']}"
    ]
