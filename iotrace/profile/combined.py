"""Several profiles read as one: records of the same file (a path in a mount namespace) are added up."""

from __future__ import annotations

import dataclasses
import functools
import heapq
import itertools
from typing import Callable, Dict, Iterator, NamedTuple, Optional, Sequence, Tuple

from iotrace.errors import UserError
from iotrace.globs import EVERYTHING, Selection
from iotrace.profile.activity import Activity, of_files
from iotrace.profile.folding import final_name, under_final_name
from iotrace.profile.merge import add_files, add_headers, add_in_order, with_runs
from iotrace.profile.metrics import FileStats, Header
from iotrace.profile.reader import MOST_NAMES, Profile
from iotrace.profile.rows import FileRow, add_rows
from iotrace.profile.runs import hosts


class NamedFile(NamedTuple):
    """A file, and the temporary names under which part of what is known about it was done."""

    file: FileStats
    temporary: Sequence[bytes] = ()  # some of them
    more: int = 0  # names that are not among these


_Key = Tuple[bytes, int, bool, str]


def _same_row(row: FileRow) -> _Key:
    return row.path, row.mnt_ns, bool(row.marks.unreachable), row.host


def _same_file(file: FileStats) -> _Key:
    return file.path, file.mnt_ns, file.unreachable, file.host or ""


def _same_in_the_end(file: FileStats) -> _Key:
    return final_name(file), file.mnt_ns, file.unreachable, file.host or ""


def combined_header(profiles: Sequence[Profile], selection: Selection = EVERYTHING) -> Header:
    """The merged header of one or more profiles, with the runs that they are of.

    Of what failed on no file it has that which is selected by path: what has no path, or is a sum of several, is not.
    """
    header = functools.reduce(add_headers, (with_runs(profile.header) for profile in profiles))
    if selection == EVERYTHING:
        return header
    wanted = selection.matcher()
    opens = [failed for failed in header.failed_opens if failed.path is not None and wanted(failed.path)]
    return dataclasses.replace(header, failed_opens=opens, unattributed={})


def combined_rows(
    profiles: Sequence[Profile], selection: Selection = EVERYTHING, *, folded: bool = False
) -> Iterator[FileRow]:
    """One row per file of all profiles, in order of path. Memory use does not depend on the number of files.

    With `folded`, temporary files are part of what they became.
    """
    rows = (profile.rows("path", selection=selection, folded=folded) for profile in profiles)
    for _, group in itertools.groupby(heapq.merge(*rows, key=_same_row), _same_row):
        yield functools.reduce(add_rows, group)


def whole_files(
    profiles: Sequence[Profile], selection: Selection = EVERYTHING, *, folded: bool = False
) -> Iterator[FileStats]:
    """Every file of all profiles with all that is known of it, once, in no particular order.

    Whatever several profiles, or several of those who did I/O on it, know of a file is added up; with `folded`, so are
    temporary files and what they became. Memory use does not depend on the number of files.
    """
    if len(profiles) == 1 and not folded and not profiles[0].apart:
        yield from on_hosts(profiles[0], profiles[0].files(selection=selection))
        return
    key = _same_in_the_end if folded else _same_file
    streams = (profile.by_path(selection, folded=folded) for profile in profiles)
    for (_, _, unreachable, _), group in itertools.groupby(heapq.merge(*streams, key=key), key):
        if unreachable:  # each stays by itself
            yield from group
        elif folded:
            yield _folded(group).file
        else:
            yield functools.reduce(_add, group)


_TEMPORARY_NAMES = 5  # that are kept of a file


def _add(a: FileStats, b: FileStats) -> FileStats:
    return _checked(add_files(a, b))


def _checked(total: FileStats) -> FileStats:
    if sum(1 + len(call.errors) for call in total.syscalls.values()) > MOST_NAMES:
        raise UserError(f"more than {MOST_NAMES:,} system calls and errors on one file: no profile of iotrace has them")
    return total


def combined_files(profiles: Sequence[Profile], path: bytes, *, folded: bool = False) -> Iterator[NamedFile]:
    """Everything the profiles know about one path: a record for each mount namespace of each host, one after the other.

    With `folded`, temporary files are part of what they became, and are found by that name as well as by their own.
    """
    key = _same_in_the_end if folded else _same_file
    whole = combined_header(profiles)
    for profile in profiles:
        profile.in_time_of(whole)
    several = len(hosts(whole.runs)) > 1
    streams = (profile.find(path, folded=folded) for profile in profiles)
    if several:
        streams = (on_hosts(profile, files) for profile, files in zip(profiles, streams))
    found = heapq.merge(*streams, key=key)
    for _, group in itertools.groupby(found, key):
        if folded:
            yield _folded(group)
        else:
            yield NamedFile(functools.reduce(_add, group))


def every_file(
    profiles: Sequence[Profile],
    selection: Selection = EVERYTHING,
    seen: Callable[[FileStats], None] = lambda _: None,
    *,
    since: bytes = b"",
    before: bytes = b"",
) -> Iterator[FileStats]:
    """Each file of all profiles under its final name, in the order that `combined_rows` has with `folded`.

    `seen` is called with each of the files of `whole_files` that it is the sum of, before. Memory use does not depend
    on the number of files. `since` and `before` are the first final name, and the one after the last.
    """
    whole = combined_header(profiles)
    for profile in profiles:
        profile.in_time_of(whole)
    streams = [profile.by_path(selection, folded=True, since=since, before=before) for profile in profiles]
    found = heapq.merge(*streams, key=_same_by_path) if len(streams) > 1 else streams[0]
    for _, group in itertools.groupby(found, _same_in_the_end):
        yield _folded(_told(_opened(group), seen)).file


def _same_by_path(file: FileStats) -> Tuple[_Key, bytes]:
    return _same_in_the_end(file), file.path


def _opened(files: Iterator[FileStats]) -> Iterator[FileStats]:
    """The files of a group by the paths that they were opened under, each once; unreachable ones stay by themselves."""
    for (_, unreachable), same in itertools.groupby(files, lambda file: (file.path, file.unreachable)):
        if unreachable:
            yield from same
        else:
            yield functools.reduce(_add, same)


def _told(files: Iterator[FileStats], seen: Callable[[FileStats], None]) -> Iterator[FileStats]:
    for file in files:
        seen(file)
        yield file


def on_hosts(profile: Profile, files: Iterator[FileStats]) -> Iterator[FileStats]:
    """The files of a profile, each of which says which host it is on."""
    for file in files:
        if file.host is None:
            file.host = profile.host
        yield file


def _folded(files: Iterator[FileStats]) -> NamedFile:
    """One file of all that have the same final name."""
    own: Optional[FileStats] = None
    temporary: Optional[FileStats] = None
    names: Dict[bytes, None] = {}
    more = 0
    for file in files:
        if file.path == final_name(file):
            own = file if own is None else _add(own, file)
            continue
        if file.path not in names:
            if len(names) < _TEMPORARY_NAMES:
                names[file.path] = None
            else:
                more += 1
        renamed = under_final_name(file)
        temporary = renamed if temporary is None else _add(temporary, renamed)
    if own is not None and temporary is not None:
        return NamedFile(_checked(add_in_order(temporary, own)), sorted(names), more)
    whole = own or temporary
    assert whole is not None  # a group has at least one
    return NamedFile(whole, sorted(names), more)


def combined_activity(profiles: Sequence[Profile], row: FileRow, *, folded: bool = False) -> Activity:
    """What was done to the file of a row, as `combined_rows` has it, and all that is known of it."""
    files = combined_files(profiles, row.path, folded=folded)
    return of_files(found.file for found in files if _is_of(found.file, row))


def _is_of(file: FileStats, row: FileRow) -> bool:
    same_host = file.host is None or file.host == row.host
    return same_host and file.mnt_ns == row.mnt_ns and file.unreachable == row.marks.unreachable
