"""Adding up records: two system calls, two files, two headers, and the parts that a file was stored in.

The table (`metrics`) says how the values of each metric are merged. This module adds what spans two parts: the first
write of a part may rewrite what the part before wrote last, and its first sync covers what that part left unsynced.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Callable, Dict, Iterable, List, Optional, Sequence, Set, Tuple, TypeVar

from iotrace.profile.metrics import FILE, HEADER, SYSCALL, FileStats, Header, Metric, SyscallStats
from iotrace.profile.parts import Edges
from iotrace.profile.runs import Run, host_name, id_of
from iotrace.profile.series import added, long_enough
from iotrace.profile.values import COMMON_SIZES, Histogram, bucket, latest
from iotrace.profile.whose import Who

Record = TypeVar("Record", FileStats, SyscallStats, Header)


def _merged(table: Sequence[Metric], a: Record, b: Record) -> Record:
    """A record with every metric of its table merged; `b` is the later record."""
    return type(a)(**{metric.name: metric.merge(getattr(a, metric.name), getattr(b, metric.name)) for metric in table})


def add_syscalls(a: SyscallStats, b: SyscallStats) -> SyscallStats:
    """The sum of two records of the same system call."""
    total = _merged(SYSCALL, a, b)
    if total.common_sizes:
        sizes = _CommonSizes()
        sizes.add(a)
        sizes.add(b)
        sizes.settle(total)
    return total


class _CommonSizes:
    """The common sizes of any number of records. What one of them does not list may be what it has most of besides."""

    def __init__(self) -> None:
        self._counts: Dict[int, int] = {}
        self._error = 0  # in sum, of the counts that are listed
        self._hidden = 0  # how often at most a size was asked for in records that do not list it, if none did
        self._listed: Dict[int, int] = {}  # size -> how much of that is of records that list it

    def add(self, call: SyscallStats) -> None:
        hidden = _not_listed(call)
        self._hidden += hidden
        self._error += call.common_sizes_error
        for size, count in call.common_sizes.items():
            self._counts[size] = self._counts.get(size, 0) + count
            self._listed[size] = self._listed.get(size, 0) + hidden

    def settle(self, total: SyscallStats) -> None:
        """Give the sum of the records the most frequent sizes, and by how much their counts may be off."""
        most = sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))[:COMMON_SIZES]
        total.common_sizes = dict(sorted(most))
        total.common_sizes_error = self._error + max((self._hidden - self._listed[size] for size, _ in most), default=0)


def _not_listed(call: SyscallStats) -> int:
    """How often at most a size was asked for that is not among the common ones."""
    others = sum(call.requested.values()) - sum(call.common_sizes.values()) + call.common_sizes_error
    listed = min(call.common_sizes.values(), default=0) if len(call.common_sizes) == COMMON_SIZES else others
    return max(min(others, listed + call.common_sizes_error), 0)


def add_in_order(a: FileStats, b: FileStats) -> FileStats:
    """The sum of two records of the same file, of which `b` is the later one, or the one that facts are taken from."""
    total = _merged(FILE, a, b)
    for name in sorted(a.syscalls.keys() | b.syscalls.keys()):
        total.syscalls[name] = add_syscalls(a.syscalls.get(name, SyscallStats()), b.syscalls.get(name, SyscallStats()))
    if a.series or b.series:
        total.series = added([*a.series, *b.series])
    return total


def _last_seen(file: FileStats) -> int:
    times = [file.last_read_ns, file.last_write_ns, file.last_sync_ns]
    times += [call.last_ok_ns for call in file.syscalls.values()]
    return max((time for time in times if time is not None), default=0)


def add_files(a: FileStats, b: FileStats) -> FileStats:
    """The sum of two records of the same file. If neither has a time, `b` counts as the later one.

    Facts about the present, such as the inode, are taken from the record with the later I/O. The number of incarnations
    is the larger of the two, since the sums do not tell which inodes they have in common.
    """
    return add_in_order(b, a) if _last_seen(a) > _last_seen(b) else add_in_order(a, b)


def add_all(files: Iterable[FileStats], check: Callable[[FileStats], FileStats] = lambda total: total) -> FileStats:
    """The sum of the records of one file, of which there is at least one, in any number of profiles.

    It is that of `add_files`, one after the other, but for common sizes, whose error is smaller. Every sum on the way
    goes through `check`, which may refuse it.
    """
    ordered = iter(files)
    total = next(ordered)
    sizes: Optional[Dict[str, _CommonSizes]] = None
    for file in ordered:
        if sizes is None:
            sizes = {}
            _note_sizes(sizes, total)
        _note_sizes(sizes, file)
        total = check(add_files(total, file))
    for name, sums in (sizes or {}).items():
        sums.settle(total.syscalls[name])
    return total


def _note_sizes(sizes: Dict[str, _CommonSizes], file: FileStats) -> None:
    for name, call in file.syscalls.items():
        if call.requested or call.common_sizes:
            sizes.setdefault(name, _CommonSizes()).add(call)


def add_headers(a: Header, b: Header) -> Header:
    """The header of two runs together: losses add up, values that differ are both named, a shared command is kept."""
    total = _merged(HEADER, with_runs(a), with_runs(b))
    total.interval_ns = long_enough(total.interval_ns, total.ended_ns - total.started_ns)
    return total


_IDENTITY = ("version", "host", "kernel", "machine", "command", "started_ns", "ended_ns", "filters", "attach")


def with_runs(header: Header) -> Header:
    """The header with the run that it is of, also where that had no identity yet."""
    if header.runs:
        return header
    facts = {metric.name: metric.kind.dumped(getattr(header, metric.name)) for metric in HEADER}
    identity = id_of({name: facts[name] for name in _IDENTITY})
    return replace(header, runs=[Run(identity, host_name(header.host), header.started_ns, header.ended_ns)])


# --- parts of a file -------------------------------------------------------------------------------------------------


Whose = Optional[Who]
Group = List[Tuple[FileStats, Edges]]
"""The rows of a file in the same part: one, unless they are apart by who did the I/O."""


class _Sum:
    """The parts of a file that have been added up so far, by whose they are."""

    def __init__(self) -> None:
        self.files: Dict[Whose, FileStats] = {}
        self._unsynced: Dict[Whose, int] = {}  # of the current inode: what an earlier one left is never synced any more
        self._before: Optional[Tuple[Tuple[str, int, int], Edges]] = None  # inode, and edges of the part added last

    def add(self, group: Group) -> None:
        """Add the rows of the next part."""
        file, edges = group[0]
        inode, last_write = _inode(file, edges), edges.last_write
        before, self._before = self._before, (inode, edges)
        same = before is not None and not edges.born and before[0] == inode
        carried = sum(self._unsynced.values()) if same else 0
        if not same:
            self._unsynced = {}
        for row, ends in group:
            total = self.files.get(row.who)
            total = self.files[row.who] = replace(row) if total is None else add_in_order(total, row)
            if same and before is not None:
                total.rewrites += ends.first_write != 0 and ends.first_write == before[1].last_write
                if ends.first_sync:
                    _lengthen(total.bytes_between_syncs, ends.first_sync - 1, carried)
        if same and before is not None:
            if any(ends.first_sync for _, ends in group):
                self._all_synced()
            self._before = inode, edges._replace(last_write=last_write or before[1].last_write)
        for row, ends in group:
            self._unsynced[row.who] = self._unsynced.get(row.who, 0) + row.bytes_unsynced - (0 if same else ends.stale)

    def _all_synced(self) -> None:
        """A sync covers what earlier parts had left, whoever wrote it."""
        for who, left in self._unsynced.items():
            self.files[who].bytes_synced += left
            self.files[who].bytes_unsynced -= left
        self._unsynced = {}


def _inode(file: FileStats, edges: Edges) -> Tuple[str, int, int]:
    return file.device, file.inode, edges.generation


def _lengthen(histogram: Histogram, value: int, more: int) -> None:
    """Move one value to the bucket that it belongs to now that it turns out to be `more` larger."""
    short, whole = bucket(value), bucket(value + more)
    if short != whole and histogram.get(short):
        histogram[short] -= 1
        if not histogram[short]:
            del histogram[short]
        histogram[whole] = histogram.get(whole, 0) + 1


def add_parts(parts: Iterable[Tuple[FileStats, Edges]]) -> List[FileStats]:
    """A file from its parts, of which there is at least one, in order; those of the same order are rows of one part.

    What comes back are its rows: one, unless they are apart by who did the I/O.
    """
    total, ends = _Sum(), _Ends()
    file = None
    for _, group in itertools.groupby(parts, lambda part: part[1].order):
        rows = list(group)
        total.add(rows)
        file, edges = rows[0]
        ends.add(file, edges)
    assert file is not None
    facts = {name: getattr(file, name) for name in _FACTS}
    facts["threads"] = max(row.threads for row in total.files.values())
    return [replace(row, **facts, incarnations=ends.incarnations, ended_as=ends.common) for row in total.files.values()]


_FACTS = [metric.name for metric in FILE if metric.merge is latest]
"""What is true of the file now, whoever did the I/O."""


class _Ends:
    """The incarnations of a path, and under which other path each has ended."""

    def __init__(self) -> None:
        self.incarnations = 0
        self._earlier: Set[Optional[bytes]] = set()
        self._latest: Dict[Tuple[str, int, int], Optional[bytes]] = {}  # of the last incarnation of an inode's number

    def add(self, file: FileStats, edges: Edges) -> None:
        inode = _inode(file, edges)
        if edges.born or inode not in self._latest:  # the number is used again where there are no generations
            self.incarnations += file.incarnations
            if inode in self._latest:
                self._earlier.add(self._latest[inode])
        if file.incarnations > 1:
            self._earlier.add(edges.went)
        self._latest[inode] = file.renamed_to

    @property
    def common(self) -> Optional[bytes]:
        """The path that all have ended under; None if they differ, or one has kept its name."""
        ends = self._earlier.union(self._latest.values())
        return ends.pop() if len(ends) == 1 else None
