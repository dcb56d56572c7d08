"""Tables of chosen columns: any figure, for files or groups of them, in any order and several formats."""

from __future__ import annotations

import heapq
import os
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, TextIO, Tuple

from iotrace import text
from iotrace.errors import UserError
from iotrace.globs import EVERYTHING, Selection
from iotrace.profile.activity import Activity
from iotrace.profile.combined import combined_header, combined_rows, whole_files
from iotrace.profile.folding import final_name
from iotrace.profile.metrics import FileStats
from iotrace.profile.reader import Profile
from iotrace.profile.tree import shared_directory
from iotrace.profile.whose import WHOSE
from iotrace.views import summary
from iotrace.views.columns import OF_FILES, Column
from iotrace.views.grid import Grid, Row, write
from iotrace.views.header import heading
from iotrace.views.screen import Screen

_MOST_GROUPS = 15_000  # 6 KiB each, as measured


class Line(NamedTuple):
    """A group of files, and everything that was done to them; of a single file also where it is."""

    name: bytes
    found: Activity
    host: str = ""
    mnt_ns: int = 0


class Wanted(NamedTuple):
    """Which table."""

    by: str
    columns: Sequence[Column]
    sort: Optional[Column]  # None: by name
    limit: int = 20  # lines; 0 for all
    depth: int = 0
    min_bytes: int = 0  # read and written: groups with less are left out
    selection: Selection = EVERYTHING
    folded: bool = True


class Table(NamedTuple):
    """The lines of a table, the sum over all groups that are large enough, and how many groups these are."""

    lines: List[Line]
    total: Activity
    groups: int


# --- what a line stands for ------------------------------------------------------------------------------------------


_GROUPS: Dict[str, Callable[[FileStats, bytes, int], bytes]] = {
    "directory": lambda _file, path, depth: summary.directory(path, depth),
    "tree": lambda _file, path, depth: summary.directory(path, depth),  # and in those above, see `_with_all_below`
    "extension": lambda _file, path, _depth: summary.extension(path),
    "mount": lambda file, _path, _depth: f"{file.mnt_ns} {file.fstype} {file.device} ".encode("utf-8", "replace"),
    "host": lambda file, _path, _depth: (file.host or "").encode("utf-8", "replace"),
}
"""What a line stands for -> the name of the group that a file belongs to."""

BY = ("file", *_GROUPS, *WHOSE, "syscall")


class _Found:
    """Groups by their names."""

    def __init__(self) -> None:
        self.groups: Dict[bytes, Activity] = {}

    def of(self, name: bytes) -> Activity:
        """The group of that name. Raises UserError if it is one too many."""
        found = self.groups.get(name)
        if found is None:
            if len(self.groups) == _MOST_GROUPS:
                raise UserError(f"more than {_MOST_GROUPS:,} groups: --depth, --path or --exclude make them fewer")
            found = self.groups[name] = Activity()
        return found

    def lines(self) -> Iterator[Line]:
        for name, activity in self.groups.items():
            yield Line(name, activity)


def _files(profiles: Sequence[Profile], wanted: Wanted, total: Activity) -> Iterator[Line]:
    for file in whole_files(profiles, wanted.selection, folded=wanted.folded):
        if file.bytes_read + file.bytes_written >= wanted.min_bytes:
            total.add(file)  # in half the time that merging takes
            found = Activity()
            found.add(file)
            yield Line(final_name(file) if wanted.folded else file.path, found, file.host or "", file.mnt_ns)


def _groups(profiles: Sequence[Profile], wanted: Wanted) -> Iterator[Line]:
    group_of, found = _GROUPS[wanted.by], _Found()
    shared: Dict[bytes, bytes] = {}  # group -> the directory that all its files are in
    for file in whole_files(profiles, wanted.selection, folded=wanted.folded):
        path = final_name(file) if wanted.folded else file.path
        name = group_of(file, path, wanted.depth)
        found.of(name).add(file)
        if wanted.by == "mount":
            place = os.path.dirname(path)
            shared[name] = shared_directory(shared.get(name, place), place)
    if wanted.by == "tree":
        _with_all_below(found)
    for line in found.lines():
        yield line._replace(name=line.name + (shared[line.name] or b"/")) if line.name in shared else line


def _with_all_below(found: _Found) -> None:
    """Add each directory to the one that it is in, the deepest first, up to the root."""
    levels: Dict[int, List[bytes]] = {}
    for name in found.groups:
        levels.setdefault(_depth(name), []).append(name)
    for depth in range(max(levels, default=0), 0, -1):
        for name in levels.get(depth, ()):
            above = os.path.dirname(name.rstrip(b"/")) or b"/"
            if above not in found.groups:
                levels.setdefault(_depth(above), []).append(above)
            found.of(above).merge(found.groups[name])


def _depth(name: bytes) -> int:
    return 0 if name == b"/" else max(name.rstrip(b"/").count(b"/"), 1)


def _whose(profiles: Sequence[Profile], wanted: Wanted) -> Iterator[Line]:
    """Those who did I/O, of profiles whose files have a row for each of them. Raises UserError for others."""
    found = _Found()
    for profile in profiles:
        known = profile.header.filters.get("by") == wanted.by
        for file in profile.files(selection=wanted.selection):
            if file.who is not None and file.who.by == wanted.by:
                found.of(file.who.word).add(file)
                known = True
        if not known:
            raise UserError(f"{profile.name}: whose I/O it was is not in it: trace with iotrace run --by {wanted.by}")
    yield from found.lines()


def _syscalls(profiles: Sequence[Profile], wanted: Wanted) -> Iterator[Line]:
    found = _Found()
    for profile in profiles:
        for name, call in profile.syscalls(wanted.selection, folded=wanted.folded):
            group = found.of(name.encode("utf-8", "surrogateescape"))
            if len(found.groups) > summary.MOST_SYSCALLS:
                most = f"{summary.MOST_SYSCALLS:,}"
                raise UserError(f"more than {most} kinds of system calls: no profile of iotrace has them")
            group.add_call(name, call)
            group.files += 1
    yield from found.lines()


_SOURCES: Dict[str, Callable[[Sequence[Profile], Wanted], Iterator[Line]]] = {
    "syscall": _syscalls,
    **dict.fromkeys(WHOSE, _whose),
}


# --- making a table --------------------------------------------------------------------------------------------------


def made(profiles: Sequence[Profile], wanted: Wanted) -> Table:
    """The table that is wanted. Raises UserError if it has too many lines or groups, or a column that these lack."""
    if wanted.by == "syscall":
        lacking = {column.name for column in (*wanted.columns, *filter(None, [wanted.sort]))} & OF_FILES
        if lacking:
            raise UserError(f"--by syscall: {', '.join(sorted(lacking))}: known of files, not of single system calls")
    total, groups = Activity(), 0
    of_files = wanted.by == "file"
    source = _files(profiles, wanted, total) if of_files else _SOURCES.get(wanted.by, _groups)(profiles, wanted)

    def counted() -> Iterator[Line]:
        nonlocal groups
        for line in source:
            if line.found.read.bytes + line.found.written.bytes >= wanted.min_bytes:
                groups += 1
                if not of_files and (wanted.by != "tree" or line.name == b"/"):  # which has all of them
                    total.merge(line.found)
                yield line

    found = _in_order(counted(), wanted)
    if wanted.by in (*WHOSE, "syscall"):  # a file is in several groups
        total.files = _number_of_files(profiles, wanted)
    return Table(found, total, groups)


def _number_of_files(profiles: Sequence[Profile], wanted: Wanted) -> int:
    if len(profiles) == 1:
        return profiles[0].totals(wanted.selection, folded=wanted.folded).files
    return sum(1 for _ in combined_rows(profiles, wanted.selection, folded=wanted.folded))


def _in_order(found: Iterable[Line], wanted: Wanted) -> List[Line]:
    """The first lines by the column, the largest first; groups of which it is not known come last."""

    def key(line: Line) -> Tuple[bool, Any, bytes, int, str]:
        value = 0 if wanted.sort is None else wanted.sort.of_activity(line.found)
        unknown = value is None
        order = 0 if unknown else value if isinstance(value, str) else -value  # type: ignore[operator]
        return unknown, order, line.name, line.mnt_ns, line.host

    limit = wanted.limit or _MOST_GROUPS
    kept = heapq.nsmallest(limit + (not wanted.limit), found, key)
    if not wanted.limit and len(kept) > limit:
        raise UserError(f"more than {limit:,} lines with these columns: --limit {limit} shows the first of them")
    return kept


def as_grid(table: Table, wanted: Wanted) -> Grid:
    """The table in a form that can be written."""
    columns = wanted.columns
    where = ("host", "mnt_ns") if wanted.by == "file" else ()
    rows = []
    for line in table.lines:
        values = tuple(column.of_activity(line.found) for column in columns)
        cells = tuple(column.shown(value) for column, value in zip(columns, values))
        rows.append(Row(line.name, (line.host, line.mnt_ns) if where else (), values, cells))
    total = tuple(column.shown(column.of_activity(table.total)) for column in columns)
    return Grid(
        wanted.by,
        where,
        tuple(column.name for column in columns),
        tuple(column.title for column in columns),
        rows,
        (f"total, {text.counted(table.total.files, 'file')}", total),
        table.groups - len(rows),
    )


def show(
    out: TextIO,
    profiles: Sequence[Profile],
    wanted: Wanted,
    form: str = "text",
    width: Optional[int] = None,
    *,
    details: bool = False,
) -> None:
    """Write a table in one of `grid.FORMATS`; as text with what was traced, with `details` in full.

    Raises UserError if there are too many lines or groups.
    """
    found = made(profiles, wanted) if wanted.by in (*WHOSE, "syscall") else None  # which may lack what is wanted
    if form == "text":
        heading(Screen(out, width), combined_header(profiles), details)
    write(out, as_grid(found or made(profiles, wanted), wanted), form, width)
