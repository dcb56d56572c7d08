"""Grouping files, adding them up, and sorting groups: pure functions of the contents of profiles.

Every view that shows groups takes its numbers from here. Nothing in this module draws.
"""

from __future__ import annotations

import heapq
import os
from dataclasses import dataclass, field
from operator import add
from typing import Any, Callable, Dict, Generic, Iterable, Iterator, List, NamedTuple, Sequence, Tuple, TypeVar

from iotrace.errors import UserError
from iotrace.globs import EVERYTHING, Selection
from iotrace.profile.combined import whole_files
from iotrace.profile.metrics import FileStats
from iotrace.profile.reader import SORTS, Profile
from iotrace.profile.rows import FileRow, Marks, Sums, add_sums
from iotrace.profile.tree import shared_directory

Key = TypeVar("Key")

MEMORY = 100 << 20
"""Bytes that groups may take together: 180,000 of them. SQLite sorts the files of a single profile, of any number."""

MOST_SYSCALLS = 1024
"""Kinds of system calls: iotrace knows 40."""

_GROUP, _LINE = 500, 700  # bytes of a group, and of one that is shown, as measured, without its key
_FEW = 10_000  # lines that are chosen out of any number


MOST_FILES = 20_000
"""Files of a profile that are looked at one by one, at up to 100 us each; of larger profiles the busiest."""


class Busiest(NamedTuple):
    """The files of profiles that are looked at one by one."""

    found: Iterator[FileStats]
    every: bool  # whether there are no others
    calls: int  # on all files that are selected


def busiest(profiles: Sequence[Profile], selection: Selection = EVERYTHING) -> Busiest:
    """The selected files of profiles, each once; of profiles with more than `MOST_FILES`, as many that have most calls,
    and then those of each profile by themselves."""
    totals = [profile.totals(selection) for profile in profiles]

    every = all(total.files <= MOST_FILES for total in totals)

    def found() -> Iterator[FileStats]:
        if every:
            yield from whole_files(profiles, selection)
            return
        for profile, total in zip(profiles, totals):
            few = total.files <= MOST_FILES
            yield from profile.files(None if few else "calls", 0 if few else MOST_FILES, selection)

    return Busiest(found(), every, sum(total.sums.calls for total in totals))


@dataclass
class Group(Generic[Key]):
    """The sums over a group of files, or over one system call on them. Keys of the same grouping can be ordered."""

    key: Key
    files: int
    sums: Sums


@dataclass
class FileGroup(Group[Tuple[bytes, int, str]]):
    """A single file, identified by path, mount namespace and host."""

    marks: Marks


class Mount(NamedTuple):
    """A file system in a mount namespace, and the deepest directory that contains all of its files."""

    mnt_ns: int
    fstype: str
    device: str
    directory: bytes


AnyGroup = TypeVar("AnyGroup", bound=Group[Any])


# --- grouping --------------------------------------------------------------------------------------------------------


def by_file(rows: Iterable[FileRow]) -> Iterator[FileGroup]:
    """Each file as a group of its own, one after the other."""
    for row in rows:
        yield FileGroup((row.path, row.mnt_ns, row.host), 1, row.sums, row.marks)


def directory(path: bytes, depth: int = 0) -> bytes:
    """The directory of a path, cut to at most `depth` names; 0 for no limit."""
    found = os.path.dirname(path)
    return (b"/".join(found.split(b"/")[: depth + 1]) if depth else found) or b"/"


def extension(path: bytes) -> bytes:
    """The end of a file's name from the last dot on, or "(none)"."""
    return os.path.splitext(path)[1] or b"(none)"


def grouped(rows: Iterable[FileRow], key: Callable[[FileRow], Key], size: Callable[[Key], int]) -> Iterator[Group[Key]]:
    """Group files by a key, of which `size` says how many bytes it takes. The groups are in the order of their first
    files. Raises `UserError` if they do not fit into `MEMORY`."""
    groups: Dict[Key, Tuple[int, ...]] = {}  # the number of files, and their sums
    left = MEMORY
    for row in rows:
        name = key(row)
        found = groups.get(name)
        one = (1, *row.sums)
        if found is None:
            left -= _GROUP + size(name)
            if left < 0:
                raise UserError(f"more than {len(groups):,} groups: --depth, --path or --exclude make them fewer")
        groups[name] = one if found is None else tuple(map(add, found, one))
    for name, (files, *sums) in groups.items():
        yield Group(name, files, Sums(*sums))


def by_directory(rows: Iterable[FileRow], depth: int = 0) -> Iterator[Group[bytes]]:
    """Group files by `directory`."""
    return grouped(rows, lambda row: directory(row.path, depth), len)


def by_extension(rows: Iterable[FileRow]) -> Iterator[Group[bytes]]:
    """Group files by `extension`."""
    return grouped(rows, lambda row: extension(row.path), len)


def by_host(rows: Iterable[FileRow]) -> Iterator[Group[str]]:
    """Group files by the host that they are on."""
    return grouped(rows, lambda row: row.host, len)


class Unlike(NamedTuple):
    """A figure of a group that is far from those of the others."""

    key: str
    column: str  # one of `columns.USUAL`
    value: int
    usual: int  # the median of all


_FAR, _MATTERS, _ENOUGH = 2, 0.05, 3
"""A figure is far off beyond so many times the median, or below such a part of it, if the difference is that share of
the sum over all; it takes so many groups."""


def unlike_the_others(groups: Sequence[Group[str]]) -> List[Unlike]:
    """The figures by which single groups stand out, the farthest off first."""
    found: List[Tuple[float, Unlike]] = []
    for name, fields in _FIGURES.items():
        values = [sum(getattr(group.sums, each) for each in fields) for group in groups]
        usual, whole = sorted(values)[(len(values) - 1) // 2] if values else 0, sum(values)
        for group, value in zip(groups, values):
            far = value > _FAR * usual or value * _FAR < usual
            if len(groups) >= _ENOUGH and far and abs(value - usual) >= _MATTERS * whole:
                found.append((abs(value - usual) / whole, Unlike(group.key, name, value, usual)))
    return [each for _, each in sorted(found, reverse=True)]


_FIGURES = {name: SORTS[name] for name in ("read", "written", "calls", "errors", "syncs")}


def by_mount(rows: Iterable[FileRow]) -> List[Group[Mount]]:
    """Group files by file system and mount namespace."""
    found: Dict[Tuple[int, str, str], bytes] = {}  # the directory that all are in

    def key(row: FileRow) -> Tuple[int, str, str]:
        mount = row.mnt_ns, row.fstype, row.device
        place = os.path.dirname(row.path)
        common = found.setdefault(mount, place)
        if common != place:
            found[mount] = shared_directory(common, place)
        return mount

    def size(mount: Tuple[int, str, str]) -> int:
        return 500 + len(mount[1]) + len(mount[2]) + len(found[mount])

    groups = grouped(rows, key, size)
    return [Group(Mount(*group.key, found[group.key] or b"/"), group.files, group.sums) for group in groups]


def by_who(profiles: Iterable[Profile], by: str, selection: Selection = EVERYTHING) -> Iterator[Group[bytes]]:
    """Group files by whose I/O it was: by "process", "cgroup" or "user", which the runs were `--by`.

    A file that several did I/O on counts for each of them. Raises `UserError` for other profiles.
    """
    found: Dict[bytes, Group[bytes]] = {}
    for profile in profiles:
        before = len(found)
        for who, files, sums in profile.whose(by, selection):
            group = found.setdefault(who.word, Group(who.word, 0, Sums()))
            group.files, group.sums = group.files + files, add_sums(group.sums, sums)
        if profile.header.filters.get("by") != by and len(found) == before:
            raise UserError(f"{profile.name}: whose I/O it was is not in it: trace with iotrace run --by {by}")
    yield from found.values()


# --- adding up, sorting ----------------------------------------------------------------------------------------------


@dataclass
class Whole:
    """The sums over all groups that were counted by `watching`."""

    groups: int = 0
    files: int = 0
    sums: Sums = field(default_factory=Sums)

    def watching(self, groups: Iterable[AnyGroup]) -> Iterator[AnyGroup]:
        """Pass groups on, and add them up on the way."""
        for group in groups:
            self.groups += 1
            self.files += group.files
            self.sums = add_sums(self.sums, group.sums)
            yield group


def in_order(groups: Iterable[AnyGroup], sort: str, limit: int = 0) -> List[AnyGroup]:
    """The first `limit` groups (0: all) in the order that `sort` has in `SORTS`; ties are in order of their keys.

    Raises `UserError` if they do not fit into `MEMORY`.
    """

    def key(group: AnyGroup) -> Tuple[int, Any]:
        return -sum(getattr(group.sums, name) for name in SORTS[sort]), group.key

    if 0 < limit <= _FEW:
        return heapq.nsmallest(limit, groups, key)
    found: List[AnyGroup] = []
    left = MEMORY
    for group in groups:
        left -= _LINE + _length(group.key)
        if left < 0:
            raise UserError(f"more than {len(found):,} lines to sort: --limit {_FEW} shows the first of them")
        found.append(group)
    found.sort(key=key)
    return found[:limit] if limit else found


def _length(key: Any) -> int:
    """Bytes of the names in a key."""
    parts = key if isinstance(key, tuple) else (key,)
    return sum(len(part) for part in parts if isinstance(part, (bytes, str)))
