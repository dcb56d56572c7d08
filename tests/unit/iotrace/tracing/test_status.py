"""The status line: what it says, and that it says nothing where nobody asked for it."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import signal
import sys
import time
from types import SimpleNamespace
from typing import Any, Callable, List, Tuple

import pytest

from iotrace.tracing.status import Manner, Rates, StatusLine, manner


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

    def processes(self) -> int:
        return 3

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
    line = StatusLine(session, Manner.ALWAYS)  # type: ignore[arg-type]  # a stand-in
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


@pytest.mark.parametrize(
    ("said", "note", "expected"),
    [
        (Manner.NOTHING, "", ""),
        (Manner.NOTHING, "nobody is there", ""),
        (Manner.ONCE, "", "tracing 3 processes\n"),
        (Manner.ONCE, "nobody is there", "tracing 3 processes: nobody is there\n"),
    ],
)
def test_what_is_said_once_or_not_at_all(
    said: Manner, note: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = StatusLine(Session(), said)  # type: ignore[arg-type]  # a stand-in
    line.begin(note)
    line.update()
    line.end()
    assert capsys.readouterr() == ("", expected)


def test_a_pipe_is_told_nothing_that_a_reader_would_have_to_be_waited_for() -> None:
    """It is full. The command would begin when somebody reads, and what is traced would be lost."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writing, bytes(4096))
        os.set_blocking(writing, True)
        os.dup2(writing, 2)
        sys.stderr = os.fdopen(2, "w")
        StatusLine(Session(), Manner.ONCE).begin()  # type: ignore[arg-type]  # a stand-in
        os._exit(len(os.read(reading, 1)))
    assert os.WEXITSTATUS(os.waitpid(pid, 0)[1]) == 1


def on_a_terminal(work: Callable[[], int]) -> int:
    """What `work` returns in a process of its own, which has a terminal to itself."""
    pid, terminal = pty.fork()
    if pid == 0:
        try:
            sys.stderr = os.fdopen(2, "w")
            os._exit(work())
        finally:
            os._exit(99)
    status = os.waitpid(pid, 0)[1]
    os.close(terminal)
    return os.WEXITSTATUS(status)


MANNERS = list(Manner)


@pytest.mark.parametrize(
    ("wanted", "command", "expected"),
    [
        ("auto", False, Manner.ALONE),
        ("auto", True, Manner.NOTHING),
        ("on", True, Manner.ALWAYS),
        ("on", False, Manner.ALWAYS),
        ("off", False, Manner.NOTHING),
    ],
)
def test_what_is_said_on_a_terminal(wanted: str, command: bool, expected: Manner) -> None:
    assert MANNERS[on_a_terminal(lambda: MANNERS.index(manner(wanted, command=command)))] == expected


def test_whoever_is_beside_us_on_a_terminal() -> None:
    """A script that goes on when it has started us, or who is in our process group; and one who is not."""

    def script() -> int:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return MANNERS.index(manner("auto", command=False))

    def group() -> int:
        return MANNERS.index(manner("auto", command=False, pids=[1, os.getpid()]))

    found = [MANNERS[on_a_terminal(work)] for work in (script, group)]
    assert found == [Manner.NOTHING, Manner.NOTHING]
    assert MANNERS[on_a_terminal(lambda: MANNERS.index(manner("auto", command=False, pids=[1])))] == Manner.ALONE


def test_a_terminal_in_whose_background_we_are() -> None:
    """Somebody else has it until we are in the foreground again."""

    def work() -> int:
        reading, writing = os.pipe()
        other = os.fork()
        if other == 0:
            os.setpgid(0, 0)
            os.read(reading, 1)
            os._exit(0)
        with contextlib.suppress(OSError):
            os.setpgid(other, other)
        line = StatusLine(Session(), Manner.ALONE)  # type: ignore[arg-type]  # a stand-in
        seen = io.StringIO()
        own, sys.stderr = sys.stderr, seen
        try:
            os.tcsetpgrp(2, other)
            line.begin("waiting")
            line.update()
            hidden = seen.getvalue()
            signal.signal(signal.SIGTTOU, signal.SIG_IGN)
            os.tcsetpgrp(2, os.getpgrp())
            line.update()
        finally:
            sys.stderr = own
        os.write(writing, b"!")
        os.waitpid(other, 0)
        return 10 * bool(hidden) + ("1,234 files" in seen.getvalue())

    assert on_a_terminal(work) == 1


@pytest.mark.parametrize("wanted", ["auto", "on", "off"])
def test_without_a_terminal(wanted: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert manner(wanted, command=True) == (Manner.NOTHING if wanted == "off" else Manner.ONCE)
