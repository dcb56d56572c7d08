"""`iotrace diff`: what is different between two runs."""

from __future__ import annotations

import argparse
import contextlib
import sys
from typing import Iterable

from iotrace.atomic import standard_output
from iotrace.commands.options import add_selection, count, no_file, selection
from iotrace.errors import UserError
from iotrace.globs import EVERYTHING, Selection
from iotrace.profile import reader
from iotrace.views.diff import changes, conditions, document, show
from iotrace.views.diff.conditions import Condition, Outcome
from iotrace.views.diff.figures import METRICS, SHIFTS
from iotrace.views.diff.side import Side, measure_both

HELP = """\
Show what is different between two runs: rates, sizes, latencies, files
iotrace diff monday.iotrace tuesday.iotrace
iotrace diff old.iotrace new.iotrace --by directory --depth 2 --sort calls
iotrace diff old.iotrace new.iotrace --fail-on 'p99(fsync)>+20%' --fail-on 'errors(all)>0'
iotrace diff old.iotrace new.iotrace --format json | jq '.figures.read.p99'
"""

_EPILOG = f"""\
Figures are by second, or by call, so that runs of different length compare. A change is claimed if
the intervals that the figure has in both runs, at 95%, do not touch; (+2%) may be chance, and what
has too few calls says how many. Sizes and latencies move by powers of two: 1.0 is twice as large.

--fail-on takes METRIC(CALLS) > or < THRESHOLD. METRIC is one of
  {", ".join(METRICS)},
  {", ".join(SHIFTS)}.
CALLS is read, write, sync, all, or a system call, such as pread64. A THRESHOLD with a sign is a
change (+20%, -5ms, +1MiB), one without a sign is the value in the second run (5ms, 0). A condition
that may be met by chance, or of which there are too few calls, is not met; a line says so.

Exit status: 0, 1 if a condition was met, 2 for a request that cannot be served.
"""


def _condition(text: str) -> Condition:
    try:
        return conditions.parse(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def setup(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EPILOG
    parser.add_argument("before", metavar="BEFORE", help="a profile")
    parser.add_argument("after", metavar="AFTER", help="the profile to compare with it")
    parser.add_argument(
        "--by", choices=("file", "directory", "syscall"), default="file", help="what a line stands for; default: file"
    )
    parser.add_argument(
        "--depth", metavar="N", type=count, default=0, help="with --by directory: N names deep; default: 0, no limit"
    )
    parser.add_argument(
        "--sort", choices=show.SORTS, help="what lines compare and sort by; default: bytes, or calls of system calls"
    )
    parser.add_argument(
        "--per",
        choices=("second", "run"),
        default="second",
        help="whether lines compare what a second has, or the whole run; default: %(default)s",
    )
    parser.add_argument("--limit", metavar="N", type=count, default=10, help="lines; 0 for all; default: %(default)s")
    parser.add_argument(
        "--fail-on",
        metavar="CONDITION",
        action="append",
        default=[],
        type=_condition,
        help="exit with status 1 if it is met (repeatable), such as 'p99(fsync)>+20%%'",
    )
    parser.add_argument("--format", choices=("text", "json"), default="text", help="default: %(default)s")
    add_selection(parser)


def run(args: argparse.Namespace) -> int:
    if args.depth and args.by != "directory":
        raise UserError("--depth goes with --by directory")
    chosen = selection(args)
    sort = args.sort or ("calls" if args.by == "syscall" else "bytes")
    sides = measure_both((args.before, args.after), chosen)
    if chosen != EVERYTHING and not any(side.files for side in sides):
        raise no_file(chosen)
    per = args.per if all(side.seconds for side in sides) else "run"
    seconds = (sides[0].seconds, sides[1].seconds) if per == "second" else (1.0, 1.0)
    rule = changes.Rule(sort, seconds)
    with contextlib.ExitStack() as stack:
        pairs = _pairs(args, sides, chosen, stack)
        found = changes.collect((changes.entry(*pair, rule) for pair in pairs), args.limit)
    judged = [conditions.judge(condition, sides) for condition in args.fail_on]
    result = show.Result(sides, args.by, per, sort, found, judged)
    with standard_output():
        if args.format == "json":
            document.write(sys.stdout, result)
        else:
            show.show(sys.stdout, result)
        sys.stdout.flush()
    return 1 if any(each.outcome == Outcome.MET for each in judged) else 0


def _pairs(
    args: argparse.Namespace, sides: Iterable[Side], chosen: Selection, stack: contextlib.ExitStack
) -> Iterable[changes.Pair]:
    if args.by == "syscall":
        return changes.by_syscall(list(sides))
    profiles = [stack.enter_context(reader.open(name)) for name in (args.before, args.after)]
    files = changes.by_file(profiles, chosen)
    return changes.by_directory(files, args.depth) if args.by == "directory" else files
