"""Options that several commands share, and the types of their values.

A type raises `argparse.ArgumentTypeError` for a value that it does not take; the message quotes the value.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from typing import Sequence

from iotrace.errors import Failure, UserError
from iotrace.globs import EVERYTHING, Selection, glob_matcher
from iotrace.profile.reader import Profile


def _glob(word: str) -> bytes:
    pattern = os.fsencode(word)
    try:
        glob_matcher(pattern)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return pattern


def add_selection(parser: argparse._ActionsContainer) -> None:
    """The options that choose files by path; `selection` reads them. For a parser, or a group of one."""
    parser.add_argument(
        "--path",
        metavar="GLOB",
        action="append",
        default=[],
        type=_glob,
        help="only files whose path, as opened or as renamed, matches (repeatable; * matches slashes too)",
    )
    parser.add_argument(
        "--exclude",
        metavar="GLOB",
        action="append",
        default=[],
        type=_glob,
        help="no files whose path, as opened or as renamed, matches (repeatable)",
    )


def selection(args: argparse.Namespace) -> Selection:
    """What the options of `add_selection` say."""
    return Selection(tuple(args.path), tuple(args.exclude))


def check_selected(profiles: Sequence[Profile], chosen: Selection) -> None:
    """Raise Failure if the options of `add_selection` leave no file of any of the profiles."""
    if chosen != EVERYTHING and not any(any(profile.rows(None, 1, chosen)) for profile in profiles):
        raise no_file(chosen)


def no_file(chosen: Selection) -> Failure:
    """What is said where the options of `add_selection` leave no file."""
    options = [("--path", chosen.path), ("--exclude", chosen.exclude)]
    words = [f"{option} {os.fsdecode(glob)}" for option, globs in options for glob in globs]
    return Failure(f"no file matches {' '.join(words)}")


def count(text: str) -> int:
    """A number that is not negative."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 0")
    return min(int(text), sys.maxsize)


_UNITS = {"": 1.0, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_TIME = re.compile(r"(\d{1,12}(?:\.\d{0,12})?|\.\d{1,12})(ms|[smhd]?)", re.ASCII)


def seconds(text: str) -> float:
    """A time, more than 0: a number with a unit, or of seconds."""
    match = _TIME.fullmatch(text)
    value = float(match[1]) * _UNITS[match[2]] if match is not None else 0.0
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time, such as 90, 30s, 5m or 1.5h")
    return value
