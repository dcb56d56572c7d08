"""`iotrace run`: trace a command, processes by number or by name, or everything, and leave a profile."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import select
import signal
import sys
import time
from typing import Iterator, List, Optional, Union

from iotrace import text
from iotrace.errors import UserError
from iotrace.tracing import processes
from iotrace.tracing.overhead import Meter
from iotrace.tracing.session import Session, Settings
from pybpf.events.perf import PerfBuffer
from pybpf.events.ring import RingBuffer

HELP = """\
Trace the file I/O of a command or of running processes
iotrace run -- tar cf /tmp/etc.tar /etc        a command and all that it starts
iotrace run --comm nginx --duration 60         every process called nginx, now or later
iotrace run --pid 1234,1240 -o db.iotrace      processes by number, until they end or Ctrl-C
iotrace run --all --path '/srv/*'              everything on the host, below one directory
"""

GRACE = 5.0  # seconds that a command gets to end after a signal
POLL = 0.2
STATUS_EVERY = 1.0


def setup(parser: argparse.ArgumentParser) -> None:
    parser.usage = "iotrace run [OPTION...] [-- COMMAND ARG...]"
    whom = parser.add_argument_group("whom (selectors add up)")
    whom.add_argument("command", nargs="*", metavar="COMMAND", help="start it and trace it from its first system call")
    whom.add_argument(
        "--pid",
        metavar="PID[,PID...]",
        action="append",
        default=[],
        type=_pids,
        help="trace a process with all its threads (repeatable)",
    )
    whom.add_argument(
        "--comm",
        metavar="GLOB",
        action="append",
        default=[],
        type=_comm,
        help="trace processes whose name (/proc/PID/comm) matches, now or later",
    )
    whom.add_argument("--all", action="store_true", help="trace everything but iotrace itself")
    follow = whom.add_mutually_exclusive_group()
    follow.add_argument(
        "--follow",
        action="store_true",
        default=None,
        help="trace descendants too, whatever their name (the default for COMMAND)",
    )
    follow.add_argument("--no-follow", action="store_true", help="trace COMMAND alone")
    whom.add_argument("--user", metavar="NAME", help="run COMMAND as this user")
    what = parser.add_argument_group("what")
    what.add_argument(
        "--path",
        metavar="GLOB",
        action="append",
        default=[],
        type=os.fsencode,
        help="only files whose path matches (repeatable; * matches slashes too)",
    )
    what.add_argument(
        "--exclude",
        metavar="GLOB",
        action="append",
        default=[],
        type=os.fsencode,
        help="no files whose path matches (repeatable)",
    )
    what.add_argument("--include-pseudo", action="store_true", help="files of proc, sysfs and the like too")
    how = parser.add_argument_group("how")
    how.add_argument("-o", "--output", metavar="FILE", help="the profile (default: iotrace-NAME-TIME.iotrace)")
    how.add_argument("--duration", metavar="SECONDS", type=_seconds, help="stop after this time; COMMAND goes on")
    how.add_argument(
        "--attach",
        choices=("auto", "raw", "perf", "fentry"),
        default="auto",
        help="raw tracepoints (4.17), perf tracepoints (4.14) or fentry (5.5)",
    )
    how.add_argument(
        "--offsets",
        metavar="auto|btf|calibrate|FILE",
        default="auto",
        help="where kernel structures are known from: btf, calibrate (search them), or a file that "
        "tools/offsets made; default: what there is, in this order",
    )
    how.add_argument("--vmlinux", metavar="FILE", help="take them from this kernel's image with debug information")
    how.add_argument(
        "--max-files",
        metavar="N",
        type=_entries,
        default=0,
        help="bounds kernel memory: files that are counted for at once; idle ones move to the profile "
        "(default: as suits the kernel)",
    )
    how.add_argument("-q", "--quiet", action="store_true", help="no status line and no summary")


def _pids(words: str) -> List[int]:
    pids = [int(word) for word in words.split(",") if re.fullmatch(r"[1-9]\d{0,9}", word)]
    if len(pids) != len(words.split(",")):
        raise argparse.ArgumentTypeError(f"{words!r} is no list of process numbers")
    return pids


def _comm(word: str) -> bytes:
    name = os.fsencode(word)
    if not name:
        raise argparse.ArgumentTypeError("a process name cannot be empty")
    if len(name) > 15 and not re.search(rb"[*?\[\\]", name):
        raise argparse.ArgumentTypeError(
            f"{word!r} matches no process: the kernel cuts names to 15 bytes; use {os.fsdecode(name[:15])!r}"
        )
    return name


def _seconds(word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = 0
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{word!r} is no number of seconds")
    return value


def _entries(word: str) -> int:
    if not word.isdecimal() or not 1 <= int(word) <= 1 << 24:
        raise argparse.ArgumentTypeError(f"{word!r} is no number from 1 to {1 << 24}")
    return int(word)


def run(args: argparse.Namespace) -> int:
    settings = _settings(args)
    output = args.output or _default_output(args)
    _check_output(output)
    command = processes.Command(args.command, args.user) if args.command else None
    try:
        with Session(settings) as session:
            return Run(args, session, command, output).run()
    finally:
        if command is not None and command.status is None and not command.released:
            command.abandon()


def _settings(args: argparse.Namespace) -> Settings:
    """Checked for sense.  Raises UserError."""
    pids = sorted({pid for group in args.pid for pid in group})
    if not (args.command or pids or args.comm or args.all):
        raise UserError("nothing to trace: give a command after --, or --pid, --comm or --all (see iotrace run --help)")
    if args.user and not args.command:
        raise UserError("--user needs a command to run")
    for pid in pids:
        group = processes.thread_group(pid)
        if group is None:
            raise UserError(f"--pid {pid}: there is no such process")
        if group != pid:
            raise UserError(f"--pid {pid}: that is a thread of process {group}; give --pid {group}")
    follow = not args.no_follow if args.command else bool(args.follow)
    return Settings(
        pids=pids,
        comms=args.comm,
        everything=args.all,
        follow=follow,
        attach=args.attach,
        include_pseudo=args.include_pseudo,
        max_files=args.max_files,
        paths=args.path,
        excludes=args.exclude,
        offsets=args.offsets,
        vmlinux=args.vmlinux,
    )


def _waits_for_a_name(args: argparse.Namespace) -> bool:
    """Whether all that is to be traced are processes by name: one mistyped would otherwise look like one at rest."""
    return bool(args.comm) and not (args.command or args.pid or args.all or args.quiet)


def _default_output(args: argparse.Namespace) -> str:
    if args.command:
        name = os.path.basename(args.command[0])
    elif args.comm:
        name = os.fsdecode(args.comm[0])
    else:
        name = "all" if args.all else f"pid{args.pid[0][0]}"
    name = re.sub(r"[^\w.+-]", "_", name)[:64] or "run"
    return f"iotrace-{name}-{time.strftime('%Y%m%d-%H%M%S')}.iotrace"


def _check_output(output: str) -> None:
    """Finds out before the run what would only show after it."""
    directory = os.path.dirname(output) or "."
    if not os.path.isdir(directory):
        raise UserError(f"-o {output}: there is no directory {directory}")
    if not os.access(directory, os.W_OK):
        raise UserError(f"-o {output}: {directory} cannot be written to")
    if os.path.isdir(output):
        raise UserError(f"-o {output}: that is a directory")


class Run:
    """The run as the user sees it: what it waits for, its status line, its end."""

    def __init__(
        self, args: argparse.Namespace, session: Session, command: Optional[processes.Command], output: str
    ) -> None:
        self.args = args
        self.session = session
        self.command = command
        self.output = output
        self.signals: List[int] = []
        self.deadline: Optional[float] = None
        self.give_up: Optional[float] = None
        self.status = StatusLine(enabled=not args.quiet and sys.stderr.isatty())

    def run(self) -> int:
        """Trace until the end; the exit status."""
        session, command = self.session, self.command
        meter = Meter(session.entered, lambda: session.activity()[0])
        with self._catching_signals() as wakeup:
            session.attach()
            meter.begin()
            for pid in session.settings.pids:
                session.trace_process(pid, follow=session.settings.follow)
            if not session.trace_running() and _waits_for_a_name(self.args):
                print("iotrace: no process matches --comm yet: waiting for one", file=sys.stderr)
            if command is not None:
                session.trace_process(command.pid, follow=session.settings.follow)
                command.release()
            # While the command runs there is time for what only its end needs.
            from iotrace.profile import reader as profile  # noqa: PLC0415
            from iotrace.profile import writer as writing  # noqa: PLC0415
            from iotrace.views import report  # noqa: PLC0415

            session.write_to(writing.Writer(self.output))
            self.status.begin(session)
            if self.args.duration:
                self.deadline = time.monotonic() + self.args.duration
            more = False
            while not self._ended():
                _wait(session.events, wakeup, 0 if more else meter.sampler.wait(POLL))
                more = session.step(0)
                meter.sampler.step()
                self.status.update(session)
            meter.end()
            session.stop()
        self.status.end()
        files = session.finish(self.args.command, meter.result())
        if not self.args.quiet:
            with profile.open(self.output) as reader:
                report.show(sys.stderr, [reader], limit=10)
            self._last_words(files)
        return self._exit_status()

    @contextlib.contextmanager
    def _catching_signals(self) -> Iterator[int]:
        """SIGINT and SIGTERM end the run in order; SIGCHLD wakes it."""
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        before = {number: signal.signal(number, self._signalled) for number in (signal.SIGINT, signal.SIGTERM)}
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        old = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        try:
            yield reader
        finally:
            signal.set_wakeup_fd(old)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(reader)
            os.close(writer)

    def _signalled(self, number: int, _frame: object) -> None:
        self.signals.append(number)

    def _ended(self) -> bool:
        command, now = self.command, time.monotonic()
        if command is not None and command.poll():
            return not self._others_left()
        if self.deadline is not None and now >= self.deadline:
            return True
        if self.signals:
            return self._stopping(now)
        return command is None and bool(self.session.settings.pids) and not self._others_left()

    def _others_left(self) -> bool:
        """Whether something but the command is still to be traced."""
        settings = self.session.settings
        if self.signals:
            return False
        if settings.everything or settings.comms:
            return self.command is None
        return any(processes.alive(pid) for pid in settings.pids)

    def _stopping(self, now: float) -> bool:
        """After a signal: at once without a command; else once that has ended, or will not."""
        if self.command is None or len(self.signals) > 1:
            return True
        if self.give_up is None:
            self.give_up = now + GRACE
            if not _from_terminal(self.signals[0]):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.command.pid, self.signals[0])
        return now >= self.give_up

    def _exit_status(self) -> int:
        if self.command is not None and self.command.poll():
            return self.command.exit_status
        if self.command is not None and self.signals:
            return 128 + self.signals[0]
        return 0

    def _last_words(self, files: int) -> None:
        left = self.command is not None and self.command.status is None
        if left:
            print(f"{text.safe_text(self.args.command[0])} goes on without being traced", file=sys.stderr)
        print(f"profile: {text.safe_text(self.output)} ({text.counted(files, 'file')})", file=sys.stderr)


def _wait(events: Union[RingBuffer, PerfBuffer], wakeup: int, most: float) -> None:
    """Until there are events or a signal has come, `most` seconds at most. The signals' numbers in the pipe are
    taken, as it would end every later wait at once."""
    if wakeup in select.select([events, wakeup], [], [], most)[0]:
        os.read(wakeup, 4096)


def _from_terminal(number: int) -> bool:
    """Whether the command has had the signal itself: Ctrl-C goes to the whole foreground process group."""
    if number != signal.SIGINT:
        return False
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


class StatusLine:
    """One line on the terminal, rewritten each second while tracing."""

    def __init__(self, enabled: bool) -> None:
        self.enabled = enabled
        self.next = 0.0

    def begin(self, session: Session) -> None:
        self.started = time.monotonic()
        if self.enabled:
            bound = text.size(session.memory_bound())
            print(
                f"tracing by {session.attach_method} tracepoints, up to {session.max_files:,} files, "
                f"at most {bound} of kernel memory; Ctrl-C ends",
                file=sys.stderr,
            )

    def update(self, session: Session) -> None:
        now = time.monotonic()
        if not self.enabled or now < self.next:
            return
        self.next = now + STATUS_EVERY
        calls, moved, lost = session.rates(now)
        line = (
            f"{now - self.started:6.0f} s  {len(session.names):,} files  {text.number(round(calls))} calls/s  "
            f"{text.size(round(moved))}/s  {lost:,} lost"
        )
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self.enabled:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
