"""A run as its user sees it, from when everything is loaded: what is said before, while and after it traces."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import signal
import sys
from typing import List, Optional

from iotrace import text
from iotrace.errors import Failure
from iotrace.profile.target import Target
from iotrace.tracing import processes
from iotrace.tracing.command import Command
from iotrace.tracing.loop import Loop
from iotrace.tracing.session import Session
from iotrace.tracing.signals import Interrupted, Signals
from iotrace.tracing.status import StatusLine, manner

SURVIVORS = 5  # processes that are named at the end


class Running:
    """One run of `iotrace run`."""

    def __init__(
        self,
        args: argparse.Namespace,
        session: Session,
        command: Optional[Command],
        target: Target,
        signals: Signals,
    ) -> None:
        self._args = args
        self._session = session
        self._command = command
        self._target = target
        self._signals = signals

    def run(self) -> int:
        """Trace until the end; the exit status."""
        args = self._args
        wanted = "off" if args.quiet else args.status
        status = StatusLine(self._session, manner(wanted, command=bool(args.command), pids=self._session.settings.pids))
        signals = self._signals
        with self._loop() as loop:
            loop.begin(lambda found: self._begun(found, status))
            # Imported while the command runs, since only its end needs them.
            from iotrace.profile import reader, writer  # noqa: PLC0415

            if not self._args.quiet:
                from iotrace.views import front  # noqa: PLC0415

            self._session.write_to(writer.Writer(self._target))
            loop.run(status.update)
            status.end()
            files = self._finish(loop)
            if self._target.trouble is not None:
                words = f"{self._target.trouble}; the profile is {self._target.path}"
                print("iotrace:", text.safe_text(words), file=sys.stderr)
            # The profile is there: whoever sends a signal now does not want to read about it.
            with contextlib.suppress(Interrupted), signals.interruptible():
                if not args.quiet:
                    if args.command and sys.stderr.isatty():
                        print(file=sys.stderr)  # the command may have ended in the middle of a line
                    with reader.open(self._target.path) as profile:
                        front.show(sys.stderr, [profile])
                    self._last_words(files)
            return self._exit_status(signals.signals)

    def _begun(self, found: int, status: StatusLine) -> None:
        """Tracing has begun, of so many processes by name: this is said before the command, if there is one, says
        anything; and not where it is going to say nothing but that it cannot run."""
        if self._command is None or not self._command.doomed():
            waits = not found and _waits_for_a_name(self._args)
            status.begin("no process matches --comm yet: waiting for one" if waits else "")

    def _loop(self) -> Loop:
        args = self._args
        return Loop(self._session, self._signals, command=self._command, duration=args.duration, wait=args.wait)

    def _finish(self, loop: Loop) -> int:
        """Write the profile, unless two more signals say that nobody wants it; how many files it has."""

        def warn() -> None:
            print("iotrace: writing the profile; the next signal gives it up", file=sys.stderr)

        try:
            with self._signals.interruptible(warn):
                return loop.finish()
        except Interrupted:
            name = signal.Signals(self._signals.signals[-1]).name
            raise Failure(f"{self._target.path}: profile not written: given up at {name}") from None

    def _exit_status(self, signals: List[int]) -> int:
        if self._command is not None and self._command.poll():
            return self._command.exit_status
        if self._command is not None and signals:
            return 128 + signals[0]
        return 0

    def _last_words(self, files: int) -> None:
        if self._command is not None and self._command.status is None:
            print(f"{text.safe_text(self._command.argv[0])} goes on without being traced", file=sys.stderr)
        elif self._command is not None:
            self._name_survivors()
        self._name_unmatched()
        print(f"profile: {text.safe_text(self._target.path)} ({text.counted(files, 'file')})", file=sys.stderr)

    def _name_unmatched(self) -> None:
        """Say which globs have matched nothing: a mistyped one would otherwise look like something idle."""
        for option, globs in self._session.unmatched().items():
            what = "no process of that name ran" if option == "--comm" else "no file that was used matches"
            for glob in globs:
                print(f"{option} {text.safe_text(shlex.quote(os.fsdecode(glob)))}: {what}", file=sys.stderr)

    def _name_survivors(self) -> None:
        """Say which processes that the command has started go on: what they do from now on is in no profile."""
        names = [(pid, processes.comm(pid)) for pid in self._session.descendants()]
        left = [f"{text.safe_text(os.fsdecode(name))} ({pid})" for pid, name in names if name is not None]
        if not left:
            return
        shown = ", ".join(left[:SURVIVORS]) + (", ..." if len(left) > SURVIVORS else "")
        whose = "a process that it started goes" if len(left) == 1 else f"{len(left)} processes that it started go"
        print(f"{whose} on without being traced (--wait waits for them): {shown}", file=sys.stderr)


def _waits_for_a_name(args: argparse.Namespace) -> bool:
    """Whether only names choose what is traced: a mistyped one would otherwise look like an idle process."""
    return bool(args.comm) and not (args.command or args.pid or args.cgroup or args.all or args.quiet)
