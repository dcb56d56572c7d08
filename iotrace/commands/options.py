"""Options that several commands share, and the types of their values.

A type raises `argparse.ArgumentTypeError` for a value that it does not take; the message quotes the value.
"""

from __future__ import annotations

import argparse
import math
import os
import sys

from iotrace.globs import Selection


def add_selection(parser: argparse._ActionsContainer) -> None:
    """The options that choose files by path; `selection` reads them. For a parser, or a group of one."""
    parser.add_argument(
        "--path",
        metavar="GLOB",
        action="append",
        default=[],
        type=os.fsencode,
        help="only files whose path matches (repeatable; * matches slashes too)",
    )
    parser.add_argument(
        "--exclude",
        metavar="GLOB",
        action="append",
        default=[],
        type=os.fsencode,
        help="no files whose path matches (repeatable)",
    )


def selection(args: argparse.Namespace) -> Selection:
    """What the options of `add_selection` say."""
    return Selection(tuple(args.path), tuple(args.exclude))


def count(text: str) -> int:
    """A number that is not negative."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 0")
    return min(int(text), sys.maxsize)


def seconds(text: str) -> float:
    """A time in seconds, more than 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return value
