"""The status line: what it says, and that it says nothing where nobody asked for it."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any, List, Tuple

import pytest

from iotrace.tracing.status import Rates, StatusLine


class Session:
    """Counts what it is told to."""

    def __init__(self) -> None:
        options = SimpleNamespace(attach="raw")
        self.loaded: Any = SimpleNamespace(
            plan=SimpleNamespace(options=options), max_files=131072, memory_bound=lambda: 3 << 20
        )
        self.moved: Tuple[int, int, int] = (0, 0, 0)

    def activity(self) -> Tuple[int, int, int]:
        return self.moved

    def files(self) -> int:
        return 1234

    def lost(self) -> int:
        return 5


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> List[float]:
    """The time, in a list of one."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_rates_are_those_since_the_last_look() -> None:
    session = Session()
    rates = Rates(session, 10.0)  # type: ignore[arg-type]  # a stand-in
    session.moved = (200, 8192, 0)
    assert rates.since(12.0) == (100.0, 4096.0)
    session.moved = (210, 8192, 0)
    assert rates.since(12.5) == (20.0, 0.0)


def test_calls_that_move_no_data_are_calls_too() -> None:
    session = Session()
    rates = Rates(session, 10.0)  # type: ignore[arg-type]  # a stand-in
    session.moved = (20, 8192, 300)
    assert rates.since(12.0) == (160.0, 4096.0)


def test_it_is_rewritten_every_second(clock: List[float], capsys: pytest.CaptureFixture[str]) -> None:
    session = Session()
    line = StatusLine(session, enabled=True)  # type: ignore[arg-type]  # a stand-in
    line.begin()
    out, begun = capsys.readouterr()
    assert "raw tracepoints, up to 131,072 files, at most 3.00 MiB" in begun and out == ""
    line.update()
    clock[0] += 0.5
    line.update()
    assert capsys.readouterr().err.count("\r") == 1
    session.moved = (300, 3 << 20, 0)
    clock[0] += 2.5
    line.update()
    assert capsys.readouterr().err == "\r\x1b[K     3 s  1,234 files  100 calls/s  1.00 MiB/s  5 lost"
    line.end()
    assert capsys.readouterr().err == "\r\x1b[K"


def test_nothing_is_said_where_nobody_asked(capsys: pytest.CaptureFixture[str]) -> None:
    line = StatusLine(Session(), enabled=False)  # type: ignore[arg-type]  # a stand-in
    line.begin()
    line.update()
    line.end()
    assert capsys.readouterr() == ("", "")
