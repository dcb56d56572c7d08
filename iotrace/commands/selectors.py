"""Options of the commands that trace: whom, which files, and by what means; and the settings that they ask for."""

from __future__ import annotations

import argparse
import os
import re
import shlex
from typing import List

from iotrace.commands.options import add_selection
from iotrace.errors import UserError
from iotrace.tracing import processes
from iotrace.tracing.settings import Settings


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
        parser.error(
            f"put -- before the command, so that its options are its own: {parser.prog} [OPTION...] -- {words}"
        )
    args.command = args.command or command
    return args


def add_whom(whom: argparse._ArgumentGroup) -> None:
    """The options that choose processes."""
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
        help="trace processes whose name (/proc/PID/comm) matches, now or later (repeatable)",
    )
    whom.add_argument(
        "--cgroup",
        metavar="PATH",
        action="append",
        default=[],
        help="trace what is in a cgroup or below, now or later: a container, a systemd unit (its directory in "
        "/sys/fs/cgroup, of version 2 or 1; repeatable)",
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


def add_what(what: argparse._ArgumentGroup) -> None:
    """The options that choose files."""
    add_selection(what)
    what.add_argument("--include-pseudo", action="store_true", help="files of proc, sysfs and the like too")


def add_way(how: argparse._ArgumentGroup) -> None:
    """The options that say by what means, and with how much memory."""
    how.add_argument(
        "--attach",
        choices=("auto", "raw", "perf", "fentry"),
        default="auto",
        help="raw tracepoints (4.17), perf tracepoints (4.14) or fentry (5.5)",
    )
    how.add_argument(
        "--light",
        action="store_true",
        help="cost half as much: counts, bytes, sizes, errors and runs are the same, and so is the latency of syncs, "
        "opens, closes and requests; of other reads and writes one in 25 is timed (4.18)",
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


def _entries(word: str) -> int:
    if not word.isdecimal() or not 1 <= int(word) <= 1 << 24:
        raise argparse.ArgumentTypeError(f"{word!r} is not a number from 1 to {1 << 24}")
    return int(word)


def settings(args: argparse.Namespace) -> Settings:
    """The settings that the options ask for. Raises UserError if they make no sense."""
    pids = sorted({pid for group in args.pid for pid in group})
    if not (args.command or pids or args.comm or args.cgroup or args.all):
        raise UserError("nothing to trace: give a command after --, or --pid, --comm, --cgroup or --all (see --help)")
    if args.user and not args.command:
        raise UserError("--user needs a command to run")
    if args.wait and (not args.command or args.no_follow or args.all):
        raise UserError("--wait needs a command whose descendants are followed: no --no-follow, no --all")
    processes.check(pids)
    follow = not args.no_follow if args.command else bool(args.follow)
    found = Settings(
        pids=pids,
        comms=args.comm,
        cgroups=[os.path.abspath(path) for path in args.cgroup],
        by=args.by,
        everything=args.all,
        follow=follow,
        attach=args.attach,
        light=args.light,
        include_pseudo=args.include_pseudo,
        max_files=args.max_files,
        interval=args.interval,
        paths=args.path,
        excludes=args.exclude,
        offsets=args.offsets,
        vmlinux=args.vmlinux,
    )
    found.check()
    return found
