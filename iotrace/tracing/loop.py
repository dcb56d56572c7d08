"""The loop of a run: begins to trace, waits for whatever may end the run, and ends it in an orderly way.

A run ends with its command (or with the last process that it started), with the last process that was chosen by
number, after its duration, or when a signal or another thread asks for it. Neither the command line nor a terminal is
needed: `commands.run` and the Python interface use the same loop.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from typing import Callable, List, Optional

from iotrace.tracing import processes
from iotrace.tracing.command import Command
from iotrace.tracing.overhead import Meter
from iotrace.tracing.session import Session
from iotrace.tracing.signals import Wakeup, from_terminal

GRACE = 5.0  # seconds that a command gets to end after a signal
POLL = 0.2  # seconds between two looks at what cannot wake us


class Loop:
    """One run of a session: `begin`, `Session.write_to`, `run`, and `finish`; a context manager."""

    def __init__(
        self,
        session: Session,
        wakeup: Wakeup,
        *,
        command: Optional[Command] = None,
        duration: Optional[float] = None,
        wait: bool = False,
        before: int = 0,
    ) -> None:
        """`duration` is in seconds, counted from `run`; `wait` says to wait for descendants that outlive the command;
        `wakeup` brings the signals that end the run; `before` is the CPU time that this process used for other things,
        in nanoseconds."""
        self._session = session
        self._wakeup = wakeup
        self._command = command
        self._duration = duration
        self._wait = wait
        self._deadline: Optional[float] = None
        self._give_up: Optional[float] = None
        self._meter = Meter(session.loaded.entered, lambda: session.activity()[0], before)

    def begin(self, begun: Callable[[int], None] = lambda _found: None) -> int:
        """Attach, choose the targets, and let the command go; how many running processes matched by name.

        `begun` is called with that number once all that is to be traced is traced, and the command has not begun.
        Raises Failure, and UserError for a command that does not exist.
        """
        session, settings = self._session, self._session.settings
        session.attach()
        self._meter.begin()
        for pid in settings.pids:
            session.trace_process(pid, follow=settings.follow)
        found = session.trace_running()
        if self._command is not None:
            session.trace_process(self._command.pid, follow=settings.follow)
        begun(found)
        if self._command is not None:
            self._command.release()
        return found

    def run(self, update: Callable[[], None] = lambda: None) -> None:
        """Trace until the end; `update` is called several times a second. Nothing is counted after it returns."""
        if self._duration is not None:
            self._deadline = time.monotonic() + self._duration
        session, sampler = self._session, self._meter.sampler
        more = False
        while not self._ended():
            wait(session, self._wakeup, 0 if more else session.wait(sampler.wait(POLL)))
            more = session.step(0)
            sampler.step()
            update()
        self._meter.end()
        session.stop()

    def finish(self) -> int:
        """Put the profile in its place; how many files it has. Raises Failure."""
        return self._session.finish(self._command.argv if self._command is not None else None, self._meter.result())

    def __enter__(self) -> Loop:
        return self

    def __exit__(self, *_error: object) -> None:
        self._meter.close()

    @property
    def signals(self) -> List[int]:
        """The signals that have asked for the end."""
        return self._wakeup.signals

    def _ended(self) -> bool:
        command, now = self._command, time.monotonic()
        if self._wakeup.stopped:
            return True
        if command is not None and command.poll() and not self._others_left():
            return True
        if self._deadline is not None and now >= self._deadline:
            return True
        if self.signals:
            return self._stopping(now)
        return command is None and bool(self._session.settings.pids) and not self._others_left()

    def _others_left(self) -> bool:
        """Whether anything other than the command is still to be traced."""
        settings = self._session.settings
        if self.signals:
            return False
        if self._wait and self._session.has_descendants():
            return True
        if settings.everything or settings.comms or settings.cgroups:
            return self._command is None
        return any(processes.alive(pid) for pid in settings.pids)

    def _stopping(self, now: float) -> bool:
        """After a signal: at once without a command; else once that has ended, or will not."""
        if self._command is None or len(self.signals) > 1:
            return True
        if self._give_up is None:
            self._give_up = now + GRACE
            if not from_terminal(self.signals[0]):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._command.pid, self.signals[0])
        return now >= self._give_up


def wait(session: Session, wakeup: Wakeup, most: float) -> None:
    """Wait until names have arrived or somebody wakes us, for `most` seconds at most."""
    woken = wakeup.fileno()
    if woken in select.select([session.fileno(), woken], [], [], most)[0]:
        wakeup.clear()
