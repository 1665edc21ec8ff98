import logging
import sys
from collections.abc import Iterator

import pytest

from foveate import progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The time in seconds, to be moved on by the test."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    yield now


def test_without_a_terminal_there_is_a_line_now_and_then(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        for item in progress.progress(["a", "b", "c", "d"], "overview"):
            clock[0] += 20
            assert item in "abcd"
    assert caplog.messages == ["overview: 2 of 4", "overview: 4 of 4"]


def test_short_work_says_nothing(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert list(progress.progress(range(1000), "overview")) == list(range(1000))
    assert caplog.messages == []


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert list(progress.progress([1, 2, 3], "overview")) == [1, 2, 3]
    assert "overview" in capsys.readouterr().err
