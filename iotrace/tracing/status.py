"""The line on the terminal that shows, while tracing, that something is happening.

What is traced may draw on the same terminal: a whole screen, a prompt that waits in the middle of a line, a progress
bar. Nobody can write between without spoiling it, and nobody can tell when it would be safe. So the line is there only
where nobody else is to be expected: no command was started, which has the terminal from iotrace whatever becomes of
its standard streams (a prompt for a password opens /dev/tty), and iotrace is in the foreground. Who wants it
nevertheless asks for it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from enum import Enum
from typing import Iterable, Tuple

from iotrace import text
from iotrace.tracing.session import Session

EVERY = 1.0  # seconds between two updates


class Rates:
    """Calls on files and bytes a second, between one look at a session and the next."""

    def __init__(self, session: Session, now: float) -> None:
        """`now` is a reading of the clock that `since` will be given."""
        self._session = session
        self._then, (self._calls, self._bytes) = now, self._look()

    def since(self, now: float) -> Tuple[float, float]:
        """Calls and bytes a second since the last time."""
        span = max(now - self._then, 1e-3)
        calls, moved = self._look()
        rates = (calls - self._calls) / span, (moved - self._bytes) / span
        self._then, self._calls, self._bytes = now, calls, moved
        return rates

    def _look(self) -> Tuple[int, int]:
        data, moved, others = self._session.activity()
        return data + others, moved


class Manner(Enum):
    """What is said while tracing."""

    NOTHING = "nothing"
    ONCE = "once"  # a line for whoever reads a pipe or a file: tracing has begun
    ALWAYS = "always"  # a line that is rewritten every second
    ALONE = "alone"  # the same, but for the time that somebody else has the terminal


def manner(wanted: str, *, command: bool, pids: Iterable[int] = ()) -> Manner:
    """What is to be said on standard error, by the choice that is `wanted` (auto, on, off), beside a command or not, of
    these processes."""
    if wanted == "off":
        return Manner.NOTHING
    if not sys.stderr.isatty():
        return Manner.ONCE
    if wanted == "on":
        return Manner.ALWAYS
    # A script starts what is to run in the background with SIGINT ignored, and goes on in the same process group.
    background = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    return Manner.NOTHING if command or background or any(map(_beside_us, pids)) else Manner.ALONE


def _beside_us(pid: int) -> bool:
    """Whether a process has the foreground when we have it, as of a script or a pipeline."""
    try:
        return os.getpgid(pid) == os.getpgrp()
    except OSError:
        return False


def _ours() -> bool:
    """Whether the terminal at standard error is ours alone: in the foreground, or of another session than we are."""
    try:
        return os.tcgetpgrp(2) == os.getpgrp()
    except OSError:
        return os.isatty(2)


class StatusLine:
    """What standard error is told while tracing: one line, rewritten every second, or what `manner` says."""

    def __init__(self, session: Session, said: Manner) -> None:
        self._session = session
        self._said = said
        self._drawn = False
        self._next = 0.0

    def begin(self, note: str = "") -> None:
        """Tracing has begun: say what is traced and how; `note` is said besides. The line may be drawn from now on."""
        self._started = time.monotonic()
        if self._said == Manner.NOTHING:
            return
        self._rates = Rates(self._session, self._started)
        if not self._may_write():
            return
        if self._said == Manner.ONCE:
            line = f"tracing {text.counted(self._session.processes(), 'process')}"
            print(f"{line}: {note}" if note else line, file=sys.stderr)
            return
        if note:
            print(f"iotrace: {note}", file=sys.stderr)
        loaded = self._session.loaded
        print(
            f"tracing by {loaded.plan.options.attach} tracepoints, up to {loaded.max_files:,} files, "
            f"at most {text.size(loaded.memory_bound())} of kernel memory; Ctrl-C ends",
            file=sys.stderr,
        )

    def update(self) -> None:
        """Rewrite the line if it is time."""
        now = time.monotonic()
        if self._said in (Manner.NOTHING, Manner.ONCE) or now < self._next or not self._may_write():
            return
        self._next = now + EVERY
        calls, moved = self._rates.since(now)
        line = (
            f"{now - self._started:6.0f} s  {self._session.files():,} files  {text.number(round(calls))} calls/s  "
            f"{text.size(round(moved))}/s  {self._session.lost():,} lost"
        )
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
        self._drawn = True

    def end(self) -> None:
        """Clear the line."""
        if self._drawn and self._may_write():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def _may_write(self) -> bool:
        """Whether it can be written now: nobody has the terminal, and no reader would have to be waited for."""
        if self._said == Manner.ALONE and not _ours():
            return False
        with contextlib.suppress(OSError, ValueError):
            return bool(select.select([], [2], [], 0)[1])
        return False
