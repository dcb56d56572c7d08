"""`iotrace export`: a profile in a format that other programs read."""

from __future__ import annotations

import argparse
import io
import sys
from typing import IO

from iotrace.atomic import Kind, standard_output, writing
from iotrace.commands.options import add_selection, count, selection
from iotrace.profile import reader
from iotrace.views import formats

HELP = """\
Write a profile as JSON, JSON lines or CSV
iotrace export run.iotrace                          the JSON document on standard output
iotrace export run.iotrace --format csv -o run.csv  a line per file and system call
iotrace export run.iotrace --format jsonl | jq -r 'select(.path) | "\\(.bytes_read) \\(.path)"'
iotrace export run.iotrace --path '*.wal' --sort written --limit 10
"""

_EXPORT = Kind("an export of iotrace", formats.begins)


def setup(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("profile", metavar="PROFILE", help="what `iotrace run` wrote")
    parser.add_argument("--format", choices=formats.names(), default="json", help="default: %(default)s")
    parser.add_argument("-o", "--output", metavar="FILE", help="default: standard output")
    parser.add_argument("--force", action="store_true", help="replace FILE if it is an export")
    parser.add_argument("--sort", choices=tuple(reader.SORTS), help="default: the order in which files were seen")
    parser.add_argument("--limit", metavar="N", type=count, default=0, help="at most N files; default: 0, all")
    add_selection(parser)


def run(args: argparse.Namespace) -> int:
    with reader.open(args.profile) as profile:
        if args.output is None:
            # newline="": the formats say how their lines end.
            with standard_output(), open(sys.stdout.fileno(), "w", encoding="utf-8", newline="", closefd=False) as out:
                _write(args, profile, out)
        else:
            with writing(args.output, _EXPORT, force=args.force) as stream:
                _write(args, profile, io.TextIOWrapper(stream, encoding="utf-8", newline="", write_through=True))
    return 0


def _write(args: argparse.Namespace, profile: reader.Profile, out: IO[str]) -> None:
    formats.writer(args.format)(profile.header, profile.files(args.sort, args.limit, selection(args)), out)
    out.flush()
