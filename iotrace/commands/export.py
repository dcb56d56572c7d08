"""`iotrace export`: profiles in a format that other programs read."""

from __future__ import annotations

import argparse
import contextlib
import sys
from typing import BinaryIO, Dict, Iterator, Sequence

from iotrace import directories
from iotrace.atomic import Kind, standard_output, writing
from iotrace.commands.options import add_selection, check_selected, count, selection
from iotrace.errors import UserError
from iotrace.profile import reader
from iotrace.profile.merge import with_runs
from iotrace.profile.runs import describe
from iotrace.views import formats

HELP = """\
Write profiles as tables, as JSON, or for Prometheus
iotrace export run.iotrace                             the JSON document on standard output
iotrace export run.iotrace --format csv -o DIR         a file for each table: file, operation, histogram ...
iotrace export monday.iotrace tuesday.iotrace --format parquet -o DIR
iotrace export run.iotrace --format csv --table operation --path '*.wal' --sort written --limit 10
iotrace export run.iotrace --format jsonl | jq -r 'select(.type == "file") | "\\(.bytes_read) \\(.path)"'
iotrace export run.iotrace --format openmetrics --top 20 -o /var/lib/node_exporter/app.prom
"""

_EPILOG = """\
In the tables each value stands once; `run` and `file_id` join them. Text is UTF-8: control characters,
other bytes and backslashes are written \\xNN, which iotrace.unescape in Python undoes.
"""

_FILE = Kind("an export of iotrace", bool, formats.recognises)
_DIRECTORY = directories.Kind("an export of iotrace", formats.is_table, formats.are_tables)
_MOST = 1000  # files with series of their own
_TOP = 50


def setup(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EPILOG
    parser.add_argument("profiles", metavar="PROFILE", nargs="+", help="what `iotrace run` wrote")
    parser.add_argument("--format", choices=formats.names(), default="json", help="default: %(default)s")
    parser.add_argument(
        "-o",
        "--output",
        metavar="PATH",
        help="csv and parquet: the directory to make, without --table; else a file; default: standard output",
    )
    parser.add_argument("--force", action="store_true", help="replace PATH if it is an export")
    parser.add_argument(
        "--table",
        metavar="NAME",
        choices=tuple(formats.TABLES),
        help=f"csv, jsonl and parquet: this table alone, of {', '.join(formats.TABLES)}",
    )
    parser.add_argument(
        "--top",
        metavar="N",
        type=count,
        help=f"openmetrics: at most N files with series of their own, the others as one; default: {_TOP}",
    )
    parser.add_argument(
        "--timestamps",
        action="store_true",
        help="openmetrics: when tracing ended in every sample, for promtool tsdb create-blocks-from",
    )
    parser.add_argument("--sort", choices=tuple(reader.SORTS), help="default: the order in which files were seen")
    parser.add_argument("--limit", metavar="N", type=count, default=0, help="at most N files; default: 0, all")
    add_selection(parser)


def run(args: argparse.Namespace) -> int:
    options = _options(args)
    with contextlib.ExitStack() as stack:
        profiles = [stack.enter_context(reader.open(name)) for name in args.profiles]
        check_selected(profiles, selection(args))
        if "top" in options:
            runs = [formats.first_of(profile, args.sort, args.top, selection(args)) for profile in profiles]
        else:
            runs = [formats.run_of(profile, args.sort, args.limit, selection(args)) for profile in profiles]
        _check_once(runs, args.profiles)
        if args.table is None and not formats.has_stream(args.format):
            _write_directory(args, runs)
            return 0
        with _stream(args) as stream:
            if args.table is None:
                formats.stream_writer(args.format)(runs, stream, **options)
            else:
                _write_table(args, runs, stream)
    return 0


def _options(args: argparse.Namespace) -> Dict[str, object]:
    """The options of the format. Raises UserError for those that do not go together."""
    own, form = formats.options(args.format), f"--format {args.format}"
    for option, given in (("top", args.top is not None), ("timestamps", args.timestamps)):
        if given and option not in own:
            raise UserError(f"--{option} does not go with {form}: it is for --format openmetrics")
    if args.table is not None and not formats.has_tables(args.format):
        raise UserError(f"--table does not go with {form}: it is for csv, jsonl and parquet")
    if args.table is None and args.output is None and not formats.has_stream(args.format):
        raise UserError(f"{form} makes a directory of tables: name it with -o, or ask for one table with --table")
    if len(args.profiles) > 1 and formats.has_one_run(args.format):
        raise UserError(f"{form} is of one profile: export them one by one, or in another format")
    if "top" not in own:
        return {}
    if args.limit:
        raise UserError("--limit does not go with --format openmetrics: --top says how many files are apart")
    if args.top is not None and args.top > _MOST:
        raise UserError(f"--top {args.top}: {_MOST:,} at most")
    args.sort = args.sort or "bytes"
    args.top = _TOP if args.top is None else args.top
    return {"top": args.top, "timestamps": args.timestamps}


def _check_once(runs: Sequence[formats.Run], names: Sequence[str]) -> None:
    """Raise UserError if a run is in two of the profiles: its numbers would stand twice in the tables."""
    seen: Dict[str, str] = {}
    for profile, name in zip(runs, names):
        known = with_runs(profile.header).runs
        for run in known:
            if run.id in seen:
                raise UserError(f"{seen[run.id]} and {name} both have the run on {describe(run)}: export one of them")
        seen.update((run.id, name) for run in known)


@contextlib.contextmanager
def _stream(args: argparse.Namespace) -> Iterator[BinaryIO]:
    """Where one stream of bytes goes: the file of `-o`, or standard output."""
    if args.output is not None:
        with writing(args.output, _FILE, force=args.force) as stream:
            yield stream
        return
    with standard_output(), open(sys.stdout.fileno(), "wb", closefd=False) as stream:
        if args.format == "parquet" and stream.isatty():
            raise UserError("Parquet is not for terminals: name a file with -o, or use a pipe")
        yield stream


def _write_table(args: argparse.Namespace, runs: Sequence[formats.Run], stream: BinaryIO) -> None:
    if args.table in formats.OF_RUNS:  # then no file need be read
        runs = [run._replace(files=()) for run in runs]
    with formats.table_writer(args.format, formats.TABLES[args.table], stream) as add:
        for table, row in formats.rows(runs):
            if table == args.table:
                add(row)


def _write_directory(args: argparse.Namespace, runs: Sequence[formats.Run]) -> None:
    with directories.writing(args.output, _DIRECTORY, force=args.force) as directory, contextlib.ExitStack() as stack:
        add = {
            name: stack.enter_context(
                formats.table_writer(args.format, table, directory.create(f"{name}.{args.format}"))
            )
            for name, table in formats.TABLES.items()
        }
        for table, row in formats.rows(runs):
            add[table](row)
