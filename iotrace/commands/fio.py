"""`iotrace fio`: a benchmark that behaves like what was traced."""

from __future__ import annotations

import argparse
import contextlib
import math
import signal
import sys
from typing import Iterator

from iotrace.atomic import Kind, standard_output, writing
from iotrace.commands.options import add_selection, seconds, selection
from iotrace.errors import Failure, UserError
from iotrace.fio import groups, names, table
from iotrace.fio.compare import ALLOWED_JOB
from iotrace.fio.inference import Amount
from iotrace.fio.job import Job, Options, job
from iotrace.profile import reader
from iotrace.profile.metrics import Header
from iotrace.views.summary import busiest

HELP = """\
Make a fio job that behaves like what was traced
iotrace fio run.iotrace --directory /srv/bench -o app.fio     then: fio app.fio
iotrace fio run.iotrace --directory /srv/bench --group extension --path '/var/lib/*'
iotrace fio run.iotrace --directory /srv/bench --scale 10 -o larger.fio
iotrace fio run.iotrace --directory /srv/bench --verify       run it, and say how close it comes
"""

_EPILOG = """\
Each option in the job is commented with the figure of the profile that it was inferred from, and what a job
cannot say is listed at its top.
"""

_MARK = b"# Made by iotrace "
_KIND = Kind("a fio job of iotrace", lambda head: head.startswith(_MARK))


def setup(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EPILOG
    parser.add_argument("profile", metavar="PROFILE", help="what `iotrace run` wrote")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--directory", metavar="DIR", help="where the benchmark makes its files, on the host that it runs on"
    )
    where.add_argument(
        "--in-place", action="store_true", help="use the original files instead, and write over what is in them"
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="the job file; default: standard output")
    parser.add_argument("--force", action="store_true", help="replace FILE if iotrace made it")
    parser.add_argument(
        "--group",
        choices=groups.BY,
        default="alike",
        help="a section for files that behave alike (default), wherever they are, or for those among them in a "
        "directory, or with an extension; or for each file",
    )
    parser.add_argument(
        "--scale", metavar="F", type=_factor, default=1.0, help="move F times the bytes, on files of the same sizes"
    )
    parser.add_argument(
        "--runtime", metavar="TIME", type=seconds, help="run for 90, 30s, 5m or 1.5h, whatever is moved until then"
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="run the job under iotrace, in a directory below DIR that is removed again, and compare the two "
        "profiles; exit status 1 if they differ by more than a job may",
    )
    add_selection(parser)


def _factor(word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not 1e-6 <= value <= 1e6:
        raise argparse.ArgumentTypeError(f"{word!r} is not a factor, such as 0.1 or 10")
    return value


def run(args: argparse.Namespace) -> int:
    if not args.in_place:
        names.directory(args.directory)
    options = Options(args.directory or "", args.in_place, Amount(args.scale, args.runtime))
    if args.verify and (args.in_place or args.runtime):
        raise UserError(f"--verify does not go with {'--in-place' if args.in_place else '--runtime'}")
    with reader.open(args.profile) as profile:
        header = profile.header
        found = groups.grouped(
            busiest([profile], selection(args)).found, "file" if args.in_place else args.group, header.interval_ns
        )
    if not found.loads:
        raise Failure("nothing was read, written or synced in the files that are selected")
    made = job(header, args.profile, found, options)
    if args.output is not None or not args.verify:
        _write(args, made.text)
    return _verify(args, header, found, options) if args.verify else 0


def _verify(args: argparse.Namespace, header: Header, found: groups.Groups, options: Options) -> int:
    """The exit status: 1 if a figure is not near enough."""
    from iotrace.fio import verify  # noqa: PLC0415 - what traces takes a while to import

    def make(directory: str) -> Job:
        return job(header, args.profile, found, options._replace(directory=directory))

    with ending_well():
        replays = verify.replayed(args.directory, make)
    verdicts = table.verdicts(list(zip(make(args.directory).names, found.loads)), replays, ALLOWED_JOB, args.scale)
    with standard_output():
        for line in table.lines(verdicts):
            print(line)
    return 0 if table.met(verdicts) else 1


@contextlib.contextmanager
def ending_well() -> Iterator[None]:
    """Within the block SIGTERM and SIGHUP end it as Ctrl-C does, so that what was made is removed."""

    def interrupt(number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _write(args: argparse.Namespace, made: str) -> None:
    if args.output is None:
        with standard_output():
            sys.stdout.write(made)
        return
    with writing(args.output, _KIND, force=args.force) as stream:
        stream.write(made.encode())
