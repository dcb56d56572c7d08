"""`iotrace report`: profiles as tables on the terminal."""

from __future__ import annotations

import argparse
import contextlib
import sys
from typing import Sequence

from iotrace.atomic import standard_output
from iotrace.commands.options import add_selection, check_selected, count, selection
from iotrace.errors import UserError
from iotrace.profile import reader
from iotrace.views import chosen, columns, errors, front, grid, histograms, one_file, over_time, tables

HELP = """\
Show what one profile says, or several added up, on a screen, or as tables
iotrace report run.iotrace                          what was read, written and synced, and the files that matter
iotrace report run.iotrace --by file --limit 50     a table of files
iotrace report run.iotrace --by directory --depth 2 --sort syncs
iotrace report run.iotrace --by directory --columns small-writes,writes,per-sync --sort small-writes
iotrace report run.iotrace --sort times-read        which files are read over and over
iotrace report run.iotrace --by process             of a run that was --by process; cgroup, user likewise
iotrace report run.iotrace --by syscall --path '/var/lib/*' --exclude '*.log'
iotrace report run.iotrace --by tree --depth 3      directories with all that is below them
iotrace report run.iotrace --errors                 which calls failed, and what could not be opened
iotrace report run.iotrace --histograms --path '*.wal'
iotrace report run.iotrace --over-time              of a run with --interval: when it happened
iotrace report run.iotrace --file /var/lib/db/wal   everything about one file, with histograms
iotrace report monday.iotrace tuesday.iotrace --limit 0
"""

_EPILOG = """\
READ and WRITTEN are bytes over all system calls. CALLS counts every return, ERRS those below 0.
SYNCS counts fsync, fdatasync and the like. TIME is the time that successful calls took, MAX that of
the slowest. P50 and P99, which half of the calls and 99% of them do not exceed, are at most a tenth off
(in profiles of schema 3 and before, within a factor of two).
"""


def setup(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EPILOG
    parser.add_argument("profiles", metavar="PROFILE", nargs="*", help="what `iotrace run` wrote; several are added up")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--by", choices=chosen.BY, help="a table: what a line stands for")
    what.add_argument("--file", metavar="PATH", help="everything about one file: its path, or the end of it, or a glob")
    what.add_argument(
        "--over-time", action="store_true", help="what all selected files together did over time, of a run --interval"
    )
    what.add_argument(
        "--errors", action="store_true", help="which calls failed, on which files, and which paths could not be opened"
    )
    what.add_argument("--histograms", action="store_true", help="sizes and latencies of all selected files together")
    parser.add_argument(
        "--names",
        choices=("final", "opened"),
        default="final",
        help="final: a temporary file, written and then renamed, is part of the file that it became; opened: each path"
        " that files were opened under by itself; default: %(default)s",
    )
    parser.add_argument(
        "--depth",
        metavar="N",
        type=count,
        default=0,
        help="with --by directory: N names deep; default: 0, where the files are",
    )
    parser.add_argument(
        "--details", action="store_true", help="how it was traced, what that cost, and what was not seen, in full"
    )
    parser.add_argument("--columns", metavar="NAME,...", help="a table with these columns; --columns help lists them")
    parser.add_argument(
        "--sort",
        metavar="COLUMN",
        help=f"a table in this order, the largest first: a column, or {', '.join(reader.SORTS)}",
    )
    parser.add_argument("--min-bytes", metavar="N", type=count, help="leave out what moved fewer bytes")
    parser.add_argument("--format", choices=grid.FORMATS, help="of a table; default: text")
    parser.add_argument(
        "--limit", metavar="N", type=count, help="files, or lines; 0 for all; default: 10, or 20 of a table"
    )
    add_selection(parser)


def _asks_for_columns(args: argparse.Namespace) -> bool:
    """Whether the table takes more than the sums that a profile has of each file."""
    other_order = args.sort is not None and args.sort not in reader.SORTS
    other_lines = args.by is not None and args.by not in tables.GROUPS
    return (
        other_lines or other_order or any(option is not None for option in (args.columns, args.min_bytes, args.format))
    )


def _wanted(args: argparse.Namespace) -> chosen.Wanted:
    """The table that the options ask for. Raises UserError."""
    by = args.by or "file"
    sort = {"latency": "time"}.get(args.sort, args.sort) or "bytes"
    usual = columns.OF_CALLS if by == "syscall" else columns.USUAL if by == "file" else ("files", *columns.USUAL)
    names = args.columns or ",".join(usual if sort in (*usual, "bytes", "path") else (*usual[:-3], sort))
    return chosen.Wanted(
        by,
        columns.chosen(names),
        None if sort == "path" else columns.chosen(sort)[0],
        limit=20 if args.limit is None else args.limit,
        depth=args.depth,
        min_bytes=args.min_bytes or 0,
        selection=selection(args),
        folded=args.names == "final",
    )


def _check(args: argparse.Namespace) -> None:
    """Refuse options that do not go together. Raises UserError."""
    of_table = [f"--{name.replace('_', '-')}" for name in ("columns", "sort", "min_bytes") if getattr(args, name)]
    of_lines = [f"--{name}" for name in ("format", "limit") if getattr(args, name) is not None]
    if args.file is not None and (of_table or of_lines or args.path or args.exclude):
        raise UserError("--file shows one file: no options of a table")
    if args.errors and of_table:
        raise UserError(f"--errors has columns of its own: no {of_table[0]}, but --limit, --format, --path, --exclude")
    if args.histograms or args.over_time:
        what = "--histograms" if args.histograms else "--over-time"
        if of_table or of_lines or args.names == "opened":
            raise UserError(f"{what} is no table: no options of one, but --path and --exclude")
    if args.sort is not None and args.sort not in reader.SORTS:
        columns.chosen(args.sort, "--sort")
    if args.depth and args.by not in ("directory", "tree"):
        raise UserError("--depth needs --by directory or --by tree")
    if args.details and args.format not in (None, "text"):
        raise UserError(f"--details does not go with --format {args.format}")


def run(args: argparse.Namespace) -> int:
    if args.columns == "help":
        with standard_output():
            for column in columns.COLUMNS:
                sys.stdout.write(f"{column.name:<14} {column.meaning}\n")
        return 0
    if not args.profiles:
        raise UserError("no profile given (see iotrace report --help)")
    _check(args)
    with contextlib.ExitStack() as stack:
        profiles = [stack.enter_context(reader.open(name)) for name in args.profiles]
        if not args.errors:
            check_selected(profiles, selection(args))
        with standard_output():
            _show(args, profiles)
            sys.stdout.flush()
    return 0


def _show(args: argparse.Namespace, profiles: Sequence[reader.Profile]) -> None:
    out, files, folded, details = sys.stdout, selection(args), args.names == "final", args.details
    limit = 20 if args.limit is None else args.limit
    if args.file is not None:
        one_file.show(out, profiles, args.file, folded=folded, details=details)
    elif args.over_time:
        over_time.show(out, profiles, files, details=details)
    elif args.histograms:
        histograms.show(out, profiles, files, details=details)
    elif args.errors:
        form = args.format or "text"
        errors.show(out, profiles, files, folded=folded, limit=limit, form=form, details=details)
    elif _asks_for_columns(args):
        chosen.show(out, profiles, _wanted(args), args.format or "text", details=details)
    elif args.by is None and args.sort is None:
        limit = 10 if args.limit is None else args.limit
        front.show(out, profiles, limit=limit, selection=files, folded=folded, details=details)
    else:
        by, sort = args.by or "file", args.sort or "bytes"
        tables.show(
            out,
            profiles,
            by=by,
            depth=args.depth,
            sort=sort,
            limit=limit,
            selection=files,
            folded=folded,
            details=details,
        )
