"""Tables of chosen columns: any figure, for files or groups of them, in any order and several formats."""

from __future__ import annotations

import csv
import heapq
import json
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, TextIO, Tuple

from iotrace import text
from iotrace.errors import Failure, UserError
from iotrace.globs import EVERYTHING, Selection
from iotrace.profile.activity import Activity
from iotrace.profile.combined import combined_activity, combined_rows, on_hosts
from iotrace.profile.folding import final_name
from iotrace.profile.metrics import FileStats
from iotrace.profile.reader import Profile
from iotrace.views import summary
from iotrace.views.columns import Column, Value
from iotrace.views.screen import Screen

FORMATS = ("text", "json", "csv", "markdown")
_MOST_GROUPS = 15_000  # 6 KiB each, as measured


class Line(NamedTuple):
    """A group of files, and everything that was done to them."""

    name: bytes
    found: Activity


class Wanted(NamedTuple):
    """Which table."""

    by: str
    columns: Sequence[Column]
    sort: Column
    limit: int = 20  # lines; 0 for all
    depth: int = 0
    min_bytes: int = 0  # read and written: groups with less are left out
    selection: Selection = EVERYTHING
    folded: bool = True


def _above(path: bytes, depth: int) -> List[bytes]:
    """The directories that a file is in, at any depth, or down to one."""
    names = path.split(b"/")[1:-1]
    return [b"/" + b"/".join(names[:number]) for number in range((min(len(names), depth) if depth else len(names)) + 1)]


_GROUPS: Dict[str, Callable[[FileStats, bytes, int], List[bytes]]] = {
    "directory": lambda _file, path, depth: [summary.directory(path, depth)],
    "tree": lambda _file, path, depth: _above(path, depth),
    "extension": lambda _file, path, _depth: [summary.extension(path)],
    "mount": lambda file, _path, _depth: [f"{file.mnt_ns} {file.fstype} {file.device}".encode("utf-8", "replace")],
    "host": lambda file, _path, _depth: [(file.host or "").encode("utf-8", "replace")],
}
"""What a line stands for -> the names of the groups that a file belongs to, of which only a tree has several."""

BY = ("file", *_GROUPS)


class Table(NamedTuple):
    """The lines of a table, the sum over all groups that are large enough, and how many groups these are."""

    lines: List[Line]
    total: Activity
    groups: int


def made(profiles: Sequence[Profile], wanted: Wanted) -> Table:
    """The table that is wanted. Raises UserError if it has too many lines or groups."""
    total, groups = Activity(), 0
    source = _files(profiles, wanted) if wanted.by == "file" else _groups(profiles, wanted)

    def counted() -> Iterator[Line]:
        nonlocal groups
        for line in source:
            if line.found.read.bytes + line.found.written.bytes >= wanted.min_bytes:
                groups += 1
                if wanted.by != "tree" or line.name == b"/":  # which has all of them
                    total.merge(line.found)
                yield line

    found = _in_order(counted(), wanted)
    return Table(found, total, groups)


def _in_order(found: Iterable[Line], wanted: Wanted) -> List[Line]:
    """The first lines by the column, the largest first; groups of which it is not known come last."""

    def key(line: Line) -> Tuple[bool, Any, bytes]:
        value = wanted.sort.of_activity(line.found)
        unknown = value is None
        return unknown, 0 if unknown else value if isinstance(value, str) else -value, line.name  # type: ignore[operator]

    limit = wanted.limit or _MOST_GROUPS
    kept = heapq.nsmallest(limit + (not wanted.limit), found, key)
    if not wanted.limit and len(kept) > limit:
        raise UserError(f"more than {limit:,} lines with these columns: --limit {limit} shows the first of them")
    return kept


def _files(profiles: Sequence[Profile], wanted: Wanted) -> Iterator[Line]:
    for row in combined_rows(profiles, wanted.selection, folded=wanted.folded):
        if row.sums.bytes_read + row.sums.bytes_written >= wanted.min_bytes:
            yield Line(row.path, combined_activity(profiles, row, folded=wanted.folded))


def _groups(profiles: Sequence[Profile], wanted: Wanted) -> Iterator[Line]:
    groups_of = _GROUPS[wanted.by]
    found: Dict[bytes, Activity] = {}
    for profile in profiles:
        for file in on_hosts(profile, profile.files(selection=wanted.selection)):
            for name in groups_of(file, final_name(file) if wanted.folded else file.path, wanted.depth):
                activity = found.get(name)
                if activity is None:
                    if len(found) == _MOST_GROUPS:
                        raise UserError(
                            f"more than {_MOST_GROUPS:,} groups: --depth, --path or --exclude make them fewer"
                        )
                    activity = found[name] = Activity()
                activity.add(file)
    for name, activity in found.items():
        yield Line(name, activity)


# --- formats ---------------------------------------------------------------------------------------------------------


def _values(found: Activity, columns: Sequence[Column]) -> List[Value]:
    return [column.of_activity(found) for column in columns]


def _text(out: TextIO, wanted: Wanted, table: Table, width: Optional[int]) -> None:
    screen = Screen(out, width)
    columns = wanted.columns
    screen.line(" ".join(f"{column.title:>{column.width}}" for column in columns) + f"  {wanted.by.upper()}")
    every = [(screen.name(line.name), line.found) for line in table.lines]
    every.append((f"total, {text.counted(table.total.files, 'file')}", table.total))
    for name, activity in every:
        cells = (column.shown(value) for column, value in zip(columns, _values(activity, columns)))
        row = " ".join(f"{cell:>{column.width}}" for cell, column in zip(cells, columns))
        screen.line(f"{row}  {text.shorten_path(name, max(20, screen.columns - text.width(row) - 2))}")
    if table.groups > len(table.lines):
        screen.line(f"{text.counted(table.groups - len(table.lines), 'more line')}: --limit 0 shows all")


def _plain(value: Value) -> Value:
    return round(value, 4) if isinstance(value, float) else value


def _json(out: TextIO, wanted: Wanted, table: Table) -> None:
    objects = [
        {
            wanted.by: text.portable(line.name),
            **{column.name: _plain(column.of_activity(line.found)) for column in wanted.columns},
        }
        for line in table.lines
    ]
    out.write(json.dumps(objects, indent=1) + "\n")


def _csv(out: TextIO, wanted: Wanted, table: Table) -> None:
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow([wanted.by, *(column.name for column in wanted.columns)])
    for line in table.lines:
        cells = ["" if value is None else str(_plain(value)) for value in _values(line.found, wanted.columns)]
        rows.writerow([text.portable(line.name), *cells])


_MARKUP = str.maketrans({char: f"&#{ord(char)};" for char in "|`<>&*_[]~#!$"})


def _markdown(out: TextIO, wanted: Wanted, table: Table) -> None:
    out.write("| " + " | ".join([wanted.by, *(column.title.translate(_MARKUP) for column in wanted.columns)]) + " |\n")
    out.write("|---|" + "---:|" * len(wanted.columns) + "\n")
    every = [(text.safe(line.name).translate(_MARKUP), line.found) for line in table.lines]
    for name, activity in [*every, ("total", table.total)]:
        cells = [column.shown(value) for column, value in zip(wanted.columns, _values(activity, wanted.columns))]
        out.write("| " + " | ".join([name, *cells]) + " |\n")


def show(
    out: TextIO, profiles: Sequence[Profile], wanted: Wanted, format: str = "text", width: Optional[int] = None
) -> None:
    """Write a table in one of `FORMATS`.

    Numbers are for people in text and markdown; in JSON and CSV they are bytes, nanoseconds, counts, and shares from 0
    to 1. Raises UserError if there are too many lines or groups, and Failure if a selection has no file.
    """
    table = made(profiles, wanted)
    if not table.lines and wanted.selection != EVERYTHING:
        raise Failure("no file matches --path and --exclude")
    if format == "text":
        _text(out, wanted, table, width)
    elif format == "json":
        _json(out, wanted, table)
    elif format == "csv":
        _csv(out, wanted, table)
    else:
        _markdown(out, wanted, table)
