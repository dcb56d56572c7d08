"""Tables: totals by file, directory, mount, extension, system call, or whose I/O it was, as wide as the screen."""

from __future__ import annotations

import itertools
from typing import Any, Callable, Iterable, NamedTuple, Optional, Sequence, TextIO

from iotrace import text
from iotrace.globs import EVERYTHING, Selection
from iotrace.profile.combined import combined_header, combined_rows
from iotrace.profile.reader import Profile
from iotrace.profile.rows import Marks, Sums
from iotrace.profile.runs import hosts
from iotrace.profile.whose import WHOSE
from iotrace.views import summary
from iotrace.views.columns import BY_COLUMN, USUAL
from iotrace.views.grid import LEAST_ROOM, tell_more
from iotrace.views.header import heading
from iotrace.views.screen import Screen
from iotrace.views.summary import FileGroup, Group, Mount, Whole

GROUPS = ("file", "directory", "mount", "extension", "host", *WHOSE)
"""What a line can stand for here; `chosen` has what takes more than sums."""


class Column(NamedTuple):
    """A column of a table."""

    title: str
    width: int
    value: Callable[[Any], str]  # of a group


def _of_sums(name: str) -> Column:
    """A column of sums, as the reader has them for each file."""
    column = BY_COLUMN[name]
    value = column.of_sums
    assert value is not None
    return Column(column.title, column.width, lambda group: column.shown(value(group.sums)))


_FILES = Column("FILES", 6, lambda group: text.number(group.files))
_SUMS = tuple(map(_of_sums, USUAL))
_MARKS = {
    "deleted": ("d", "deleted while open or since"),
    "mapped": ("m", "also memory-mapped; what was read or written through memory is in no column"),
    "renamed": ("r", "renamed since; --file, with either name, shows both"),
    "folded": ("t", "with what was done under a temporary name; --names opened shows that apart"),
    "unreachable": ("u", "no path leads to it: the name is what could be known"),
}
_FEW = 1000  # lines that are looked through before the first is shown
_MEANINGS = dict(_MARKS[name] for name in Marks._fields)


def flags_of(marks: Marks) -> str:
    """The letters of the marks that a file has."""
    return "".join(flag for flag, value in zip(_MEANINGS, marks) if value)


class Line(NamedTuple):
    """A line of a table: a group, its name, and the letters of its marks."""

    group: Group[Any]
    name: str
    flags: str = ""


def _show_table(screen: Screen, title: str, columns: Sequence[Column], lines: Iterable[Line], flags: str = "") -> None:
    """Write each line as it comes; `flags` are all letters that may occur. A name for which there is no room beside its
    figures has a line of its own."""
    wide = max(2, len(flags))
    used = sum(column.width + 1 for column in columns) + (wide + 1 if flags else 0)
    titles = " ".join(f"{column.title:>{column.width}}" for column in columns)
    room = screen.columns - used
    screen.line(titles + (f" {'F':<{wide}} " if flags else " ") + (title if room >= LEAST_ROOM else ""))
    for line in lines:
        cells = " ".join(f"{column.value(line.group):>{column.width}}" for column in columns)
        mark = f" {line.flags:<{wide}}" if flags else ""
        if room >= LEAST_ROOM:
            screen.line(f"{cells}{mark} {text.shorten_path(line.name, room)}")
        else:
            screen.line(f"{cells}{mark}")
            screen.line("  " + text.shorten_path(line.name, screen.columns - 2))
    for flag in flags:
        screen.line(f"{flag}: {_MEANINGS[flag]}")


def _present(lines: Sequence[Line]) -> str:
    """The letters that occur in these lines."""
    return "".join(flag for flag in _MEANINGS if any(flag in line.flags for line in lines))


def _path(screen: Screen, path: bytes) -> str:
    """A path, made safe; of a very long one no more than a line may need, since each character takes a while."""
    most = 4 * screen.columns  # bytes of a character
    return screen.name(path if len(path) <= 2 * most else path[:most] + b"..." + path[-most:])


def _file_line(screen: Screen, file: FileGroup, several_hosts: bool) -> Line:
    host = screen.words(file.key[2]) + ":" if several_hosts else ""
    return Line(file, host + _path(screen, file.key[0]), flags_of(file.marks))


def _several_hosts(profiles: Sequence[Profile]) -> bool:
    return len(hosts(combined_header(profiles).runs)) > 1


def _total_line(files: int, sums: Sums) -> Line:
    return Line(Group(None, files, sums), f"total, {text.counted(files, 'file')}")


def _mount_line(screen: Screen, group: Group[Mount], one_namespace: bool) -> Line:
    mount = group.key
    namespace = "" if one_namespace else f"{mount.mnt_ns} "
    return Line(group, screen.words(f"{namespace}{mount.fstype} {mount.device} ") + _path(screen, mount.directory))


def _show_files(screen: Screen, profile: Profile, selection: Selection, *, folded: bool, sort: str, limit: int) -> None:
    """Show one line per file of a single profile, sorted and added up by SQLite."""
    totals = profile.totals(selection, folded=folded)
    files = summary.by_file(profile.rows(sort, limit, selection, folded=folded))
    several = _several_hosts([profile])
    lines: Iterable[Line] = (_file_line(screen, file, several) for file in files)
    flags = flags_of(totals.marks)
    if 0 < limit <= _FEW:
        lines = list(lines)
        flags = _present(lines)
    _show_table(screen, "FILE", _SUMS, itertools.chain(lines, (_total_line(totals.files, totals.sums),)), flags)
    tell_more(screen, totals.files - limit if limit else 0)


def _show_groups(
    screen: Screen,
    profiles: Sequence[Profile],
    selection: Selection,
    *,
    folded: bool,
    by: str,
    depth: int,
    sort: str,
    limit: int,
) -> None:
    """Show one line per group, or per file of several profiles."""
    several = len(profiles) > 1
    rows = (
        combined_rows(profiles, selection, folded=folded)
        if several
        else profiles[0].rows(selection=selection, folded=folded)
    )
    whole, unlike = Whole(), []
    if by == "file":
        files = summary.in_order(whole.watching(summary.by_file(rows)), sort, limit)
        several_hosts = _several_hosts(profiles)
        lines = [_file_line(screen, file, several_hosts) for file in files]
    elif by == "mount":
        mounts = summary.in_order(whole.watching(summary.by_mount(rows)), sort, limit)
        one_namespace = len({mount.key.mnt_ns for mount in mounts}) == 1
        lines = [_mount_line(screen, mount, one_namespace) for mount in mounts]
    elif by == "host":
        every = list(summary.by_host(rows))
        unlike = summary.unlike_the_others(every)
        lines = [Line(host, screen.words(host.key)) for host in summary.in_order(whole.watching(every), sort, limit)]
    else:
        groups = summary.by_directory(rows, depth) if by == "directory" else summary.by_extension(rows)
        lines = [
            Line(group, _path(screen, group.key)) for group in summary.in_order(whole.watching(groups), sort, limit)
        ]
    columns = _SUMS if by == "file" else (_FILES, *_SUMS)
    _show_table(screen, by.upper(), columns, [*lines, _total_line(whole.files, whole.sums)], _present(lines))
    tell_more(screen, whole.groups - len(lines))
    for host, name, value, usual in unlike:
        shown = BY_COLUMN[name].shown
        screen.wrapped(screen.words(f"{host} differs: {name} {shown(value)}, the median of all hosts {shown(usual)}"))


def _show_whose(
    screen: Screen, profiles: Sequence[Profile], selection: Selection, *, by: str, sort: str, limit: int, details: bool
) -> None:
    """Show what was traced, and one line per process, cgroup or user. Raises UserError before anything is shown."""
    whole = Whole()
    groups = summary.in_order(whole.watching(summary.by_who(profiles, by, selection)), sort, limit)
    lines = [Line(group, _path(screen, group.key)) for group in groups]
    heading(screen, combined_header(profiles), details)
    _show_table(screen, by.upper(), (_FILES, *_SUMS), lines)
    tell_more(screen, whole.groups - len(lines))


def show(
    out: TextIO,
    profiles: Sequence[Profile],
    *,
    by: str = "file",
    depth: int = 0,
    sort: str = "bytes",
    limit: int = 20,
    selection: Selection = EVERYTHING,
    folded: bool = True,
    details: bool = False,
    columns: Optional[int] = None,
) -> None:
    """Show what was traced, with `details` in full, and one table of one or more profiles together.

    `by` is one of `GROUPS`, `sort` one of `SORTS`. `depth` limits the depth of directories and `limit` the number of
    lines; 0 is no limit. Unless `folded` is false, temporary files are part of what they became.
    """
    screen = Screen(out, columns)
    if by in WHOSE:
        _show_whose(screen, profiles, selection, by=by, sort=sort, limit=limit, details=details)
        return
    heading(screen, combined_header(profiles), details)
    if by == "file" and len(profiles) == 1:
        _show_files(screen, profiles[0], selection, folded=folded, sort=sort, limit=limit)
    else:
        _show_groups(screen, profiles, selection, folded=folded, by=by, depth=depth, sort=sort, limit=limit)
