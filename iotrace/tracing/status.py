"""The line on the terminal that shows, while tracing, that something is happening."""

from __future__ import annotations

import sys
import time
from typing import Tuple

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


class StatusLine:
    """One line on standard error, rewritten every second while tracing; nothing at all unless `enabled`."""

    def __init__(self, session: Session, *, enabled: bool) -> None:
        self._session = session
        self._enabled = enabled
        self._next = 0.0

    def begin(self) -> None:
        """Say what is traced and how; the line begins."""
        self._started = time.monotonic()
        if not self._enabled:
            return
        loaded = self._session.loaded
        self._rates = Rates(self._session, self._started)
        print(
            f"tracing by {loaded.plan.options.attach} tracepoints, up to {loaded.max_files:,} files, "
            f"at most {text.size(loaded.memory_bound())} of kernel memory; Ctrl-C ends",
            file=sys.stderr,
        )

    def update(self) -> None:
        """Rewrite the line if it is time."""
        now = time.monotonic()
        if not self._enabled or now < self._next:
            return
        self._next = now + EVERY
        calls, moved = self._rates.since(now)
        line = (
            f"{now - self._started:6.0f} s  {self._session.files():,} files  {text.number(round(calls))} calls/s  "
            f"{text.size(round(moved))}/s  {self._session.lost():,} lost"
        )
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Clear the line."""
        if self._enabled:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
