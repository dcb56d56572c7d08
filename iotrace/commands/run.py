"""`iotrace run`: trace a command, processes by number or by name, or everything, and leave a profile."""

from __future__ import annotations

import argparse
import signal
import sys
from contextlib import ExitStack
from typing import Optional

from iotrace import starting
from iotrace.commands import selectors
from iotrace.commands.options import seconds
from iotrace.commands.selectors import parse
from iotrace.profile.whose import WHOSE
from iotrace.tracing.command import Command
from iotrace.tracing.loader import Loading
from iotrace.tracing.settings import Settings
from iotrace.tracing.signals import Interrupted, Signals

HELP = """\
Trace the file I/O of a command or of running processes
iotrace run -- tar cf /tmp/etc.tar /etc        a command and everything that it starts
iotrace run --comm nginx --duration 5m         every process called nginx, now or later
iotrace run --pid 1234,1240 -o db.iotrace      processes by number, until they end or Ctrl-C
iotrace run --cgroup /sys/fs/cgroup/machine.slice --by cgroup    what is in a cgroup and below
iotrace run --all --path '/srv/*'              everything on the host, below one directory
"""

__all__ = ["HELP", "parse", "run", "setup"]

SHORTEST = 10_000_000  # ns of an interval
SIGNALS = True  # it deals with them by itself
FAILED = 125  # the exit status when iotrace itself fails: any other is the command's


_EPILOG = """\
It ends with COMMAND, with the last process that was chosen by number, after --duration, or at Ctrl-C, SIGTERM or
SIGHUP, and always leaves a profile of what was traced until then.

Exit status: that of COMMAND, 128 + N if signal N ended it; 0 without a COMMAND; 125 if iotrace failed, 126 if COMMAND
cannot be executed, 127 if it was not found.
"""


def setup(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EPILOG
    parser.usage = "iotrace run [OPTION...] [-- COMMAND ARG...]"
    selectors.add_whom(parser.add_argument_group("whom (selectors add up)"))
    what = parser.add_argument_group("what")
    selectors.add_what(what)
    what.add_argument(
        "--by",
        choices=WHOSE,
        default="",
        help="a row for each file and process (by its name), cgroup or user that did I/O on it; a traced call then "
        "takes some 25 ns more, by cgroup 40",
    )
    _add_how(parser.add_argument_group("how"))


def _add_how(how: argparse._ArgumentGroup) -> None:
    how.add_argument("-o", "--output", metavar="FILE", help="the profile (default: iotrace-NAME-TIME.iotrace)")
    how.add_argument("--force", action="store_true", help="replace FILE if it is a profile")
    how.add_argument("--duration", metavar="TIME", type=seconds, help="stop after 90, 30s, 5m or 1.5h; COMMAND goes on")
    selectors.add_way(how)
    how.add_argument(
        "--interval",
        metavar="TIME|auto",
        type=_interval,
        help="count what each file does in every interval of this length too; auto: 200 intervals at most, which grow "
        "with the run (adds some 20 ns to a call)",
    )
    how.add_argument(
        "--status",
        choices=("auto", "on", "off"),
        default="auto",
        help="a line that shows, on standard error, how the tracing goes. auto: not beside COMMAND or in the "
        "background, where it would spoil what is drawn on the terminal; without a terminal one line when tracing has "
        "begun, which scripts can wait for",
    )
    how.add_argument("-q", "--quiet", action="store_true", help="no status line and no summary")


def _interval(word: str) -> int:
    """In nanoseconds; 0 for auto."""
    if word == "auto":
        return 0
    length = round(seconds(word) * 1e9)
    if length < SHORTEST:
        raise argparse.ArgumentTypeError(f"{word!r} is too short for an interval: 10ms at least")
    return length


def run(args: argparse.Namespace) -> int:
    settings = selectors.settings(args)
    command = Command(args.command, args.user) if args.command else None
    try:
        starting.over()
        with Signals() as signals:
            try:
                return _trace(args, settings, command, signals)
            except Interrupted:
                name = signal.Signals(signals.signals[0]).name
                print(f"iotrace: {name} before tracing had begun: nothing was traced", file=sys.stderr)
                return 128 + signals.signals[0]
    finally:
        if command is not None and command.status is None and not command.released:
            command.abandon()


def _trace(args: argparse.Namespace, settings: Settings, command: Optional[Command], signals: Signals) -> int:
    """The run; its exit status. Raises Interrupted for a signal before it has begun."""
    with ExitStack() as stack:
        with signals.interruptible():
            loading = stack.enter_context(Loading(settings))
            # What takes the interpreter a while is done while the kernel verifies programs, which takes it a while.
            from iotrace.commands.running import Running  # noqa: PLC0415
            from iotrace.tracing import output  # noqa: PLC0415
            from iotrace.tracing.session import Session  # noqa: PLC0415

            target = output.target(args.output, settings, args.command, force=args.force)
            session = stack.enter_context(Session(settings, loading=loading))
        if signals.signals:  # one that came before it could interrupt anything
            raise Interrupted
        return Running(args, session, command, target, signals).run()
