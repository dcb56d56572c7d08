"""`iotrace run`: trace a command, processes by number or by name, or everything, and leave a profile."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import signal
import sys
from contextlib import ExitStack
from typing import List, Optional

from iotrace import starting
from iotrace.commands.options import add_selection, seconds
from iotrace.errors import UserError
from iotrace.profile.whose import WHOSE
from iotrace.tracing import processes
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

SHORTEST = 10_000_000  # ns of an interval
SIGNALS = True  # it deals with them by itself
FAILED = 125  # the exit status when iotrace itself fails: any other is the command's


def setup(parser: argparse.ArgumentParser) -> None:
    parser.usage = "iotrace run [OPTION...] [-- COMMAND ARG...]"
    _add_whom(parser.add_argument_group("whom (selectors add up)"))
    what = parser.add_argument_group("what")
    add_selection(what)
    what.add_argument(
        "--by",
        choices=WHOSE,
        default="",
        help="a row for each file and process (by its name), cgroup or user that did I/O on it; a traced call then "
        "takes some 25 ns more, by cgroup 40",
    )
    what.add_argument("--include-pseudo", action="store_true", help="files of proc, sysfs and the like too")
    _add_how(parser.add_argument_group("how"))


def parse(parser: argparse.ArgumentParser, arguments: List[str]) -> argparse.Namespace:
    """The options, and the command: what follows `--`, or the last words if none of them may be an option.

    An option behind the command's first word could be meant for either, so it is refused: `cp -q` is not `iotrace -q`.
    """
    at = arguments.index("--") if "--" in arguments else len(arguments)
    options, command = arguments[:at], arguments[at + 1 :]
    args, unknown = parser.parse_known_args(options)
    first = options.index(args.command[0]) if args.command else len(options)
    if unknown and options.index(unknown[0]) < first:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    if options[first:] != args.command or (args.command and at < len(arguments)):
        words = " ".join(shlex.quote(word) for word in [*options[first:], *command])
        parser.error(f"put -- before the command, so that its options are its own: iotrace run [OPTION...] -- {words}")
    args.command = args.command or command
    return args


def _add_whom(whom: argparse._ArgumentGroup) -> None:
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
    whom.add_argument(
        "--cgroup",
        metavar="PATH",
        action="append",
        default=[],
        help="trace what is in a cgroup or below, now or later: a container, a systemd unit (its directory in "
        "/sys/fs/cgroup, of version 2 or 1)",
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
    whom.add_argument("--wait", action="store_true", help="go on until all that COMMAND started has ended too")
    whom.add_argument("--user", metavar="NAME", help="run COMMAND as this user")


def _add_how(how: argparse._ArgumentGroup) -> None:
    how.add_argument("-o", "--output", metavar="FILE", help="the profile (default: iotrace-NAME-TIME.iotrace)")
    how.add_argument("--force", action="store_true", help="replace FILE if it is a profile")
    how.add_argument("--duration", metavar="TIME", type=seconds, help="stop after 90, 30s, 5m or 1.5h; COMMAND goes on")
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
        help="where the offsets in kernel structures come from: btf, calibrate (search the kernel's memory), or a "
        "file that tools/offsets made; default: the first of these that works",
    )
    how.add_argument("--vmlinux", metavar="FILE", help="take them from this kernel's image with debug information")
    how.add_argument(
        "--max-files",
        metavar="N",
        type=_entries,
        default=0,
        help="bounds kernel memory: how many files the tables hold at once; idle ones move to the profile "
        "(default: as suits the kernel)",
    )
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


def _pids(words: str) -> List[int]:
    pids = [int(word) for word in words.split(",") if re.fullmatch(r"[1-9]\d{0,9}", word)]
    if len(pids) != len(words.split(",")):
        raise argparse.ArgumentTypeError(f"{words!r} is not a list of process numbers")
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


def _interval(word: str) -> int:
    """In nanoseconds; 0 for auto."""
    if word == "auto":
        return 0
    length = round(seconds(word) * 1e9)
    if length < SHORTEST:
        raise argparse.ArgumentTypeError(f"{word!r} is too short for an interval: 10ms at least")
    return length


def _entries(word: str) -> int:
    if not word.isdecimal() or not 1 <= int(word) <= 1 << 24:
        raise argparse.ArgumentTypeError(f"{word!r} is not a number from 1 to {1 << 24}")
    return int(word)


def run(args: argparse.Namespace) -> int:
    settings = _settings(args)
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


def _settings(args: argparse.Namespace) -> Settings:
    """The settings that the options ask for. Raises UserError if they make no sense."""
    pids = sorted({pid for group in args.pid for pid in group})
    if not (args.command or pids or args.comm or args.cgroup or args.all):
        raise UserError(
            "nothing to trace: give a command after --, or --pid, --comm, --cgroup or --all (see iotrace run --help)"
        )
    if args.user and not args.command:
        raise UserError("--user needs a command to run")
    if args.wait and (not args.command or args.no_follow or args.all):
        raise UserError("--wait needs a command whose descendants are followed: no --no-follow, no --all")
    processes.check(pids)
    follow = not args.no_follow if args.command else bool(args.follow)
    return Settings(
        pids=pids,
        comms=args.comm,
        cgroups=[os.path.abspath(path) for path in args.cgroup],
        by=args.by,
        everything=args.all,
        follow=follow,
        attach=args.attach,
        include_pseudo=args.include_pseudo,
        max_files=args.max_files,
        interval=args.interval,
        paths=args.path,
        excludes=args.exclude,
        offsets=args.offsets,
        vmlinux=args.vmlinux,
    )
