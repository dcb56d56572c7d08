"""What was done to a file, or to any group of files, in the terms of whoever asks: reads, writes and syncs.

A profile has counts for each system call. People ask what was read and written, in which sizes, how much of it in
order, and how long it took, whichever calls were used. Everything here adds up: the activity of a group is the sum of
those of its files, in any order, and of several profiles the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple

from iotrace.profile.latencies import Latencies
from iotrace.profile.metrics import FileStats, SyscallStats, timed_ns
from iotrace.profile.values import Histogram
from programs.facts.catalogue import BY_NAME, READ, WRITE, Operation

UNKNOWN = Operation(0, "")  # a profile may have calls that this version does not know


_MOST = {"merge": max}
"""Metadata of a number of which the largest counts."""


class _Sum:
    """What adds up, field by field: numbers, tables of numbers, and what adds up itself."""

    def merge(self, other: Any) -> None:
        """Add another one of the same kind."""
        for each in fields(self):  # type: ignore[arg-type]
            mine, more = getattr(self, each.name), getattr(other, each.name)
            if each.metadata == _MOST:
                setattr(self, each.name, max(mine, more))
            elif isinstance(mine, int):
                setattr(self, each.name, mine + more)
            elif isinstance(mine, dict):
                add_histogram(mine, more)
            else:
                mine.merge(more)


@dataclass
class Sizes(_Sum):
    """Exact sizes that were asked for, as far as they are known, among `total` calls.

    Of each file and system call the four most frequent are known (`SyscallStats.common_sizes`), so that a size that is
    among them in no file is missing, and a count may be too small by what `missing` says.
    """

    counts: Dict[int, int] = field(default_factory=dict)
    total: int = 0
    missing: int = 0

    def add(self, call: SyscallStats) -> None:
        """Add those of a system call on a file."""
        asked = sum(call.requested.values())
        self.total += asked
        self.missing += max(asked - sum(call.common_sizes.values()), 0) + call.common_sizes_error
        for size, count in call.common_sizes.items():
            self.counts[size] = self.counts.get(size, 0) + count

    def most_frequent(self, number: int) -> List[Tuple[int, int]]:
        """The most frequent sizes and their counts, the most frequent first."""
        return sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))[:number]


@dataclass
class Calls(_Sum):
    """The sums over the calls of one kind: of a system call, of all reads, writes or syncs, or of everything."""

    calls: int = 0
    bytes: int = 0
    errors: int = 0
    waited: int = 0  # calls for which bytes were brought from storage
    requested: Histogram = field(default_factory=dict)
    completed: Histogram = field(default_factory=dict)
    latencies: Latencies = field(default_factory=Latencies)

    def add(self, call: SyscallStats) -> None:
        """Add a system call on a file."""
        self.calls += call.calls
        self.bytes += call.bytes
        self.waited += call.storage_calls
        if call.errors:
            self.errors += sum(call.errors.values())
        if call.requested or call.completed:
            add_histogram(self.requested, call.requested)
            add_histogram(self.completed, call.completed)
        self.latencies.add(call)


@dataclass
class Transfers(Calls):
    """Reads, or writes."""

    zero: int = 0  # calls that moved nothing: for reads, the end of the file
    short: int = 0  # at least so many successful calls moved less than they were asked for, and more than nothing
    moved: int = 0  # calls that moved something
    jumps: int = 0  # of those: that began elsewhere than where the one before had ended
    storage_bytes: int = 0  # brought from storage, with what was read ahead
    readahead_bytes: int = 0  # of these, beyond what the calls returned
    waiting: Histogram = field(default_factory=dict)  # latencies of the calls that had bytes brought from storage
    sizes: Sizes = field(default_factory=Sizes)

    @property
    def random(self) -> float:
        """The share of the calls that moved something which did not go on where the one before had ended, 0 to 1."""
        return self.jumps / self.moved if self.moved else 0.0

    @property
    def from_storage(self) -> float:
        """Bytes brought from storage for each byte read, at most 1: what was read ahead serves a later read."""
        return min(1.0, self.storage_bytes / self.bytes) if self.bytes else 0.0

    @property
    def missed(self) -> Latencies:
        """The latencies of the calls that had bytes brought from storage."""
        return Latencies(dict(self.waiting), most=self.latencies.most)

    @property
    def cached(self) -> Latencies:
        """The latencies of the calls that the page cache served."""
        rest = {lower: count - self.waiting.get(lower, 0) for lower, count in self.latencies.histogram.items()}
        return Latencies({lower: count for lower, count in rest.items() if count > 0}, most=self.latencies.most)

    def add(self, call: SyscallStats) -> None:
        """Add a system call on a file."""
        super().add(call)
        if call.storage_bytes or call.storage_latency_ns:
            self.storage_bytes += call.storage_bytes
            self.readahead_bytes += call.readahead_bytes
            add_histogram(self.waiting, call.storage_latency_ns)
        self.zero += call.completed.get(0, 0)
        self.short += _short(call)
        self.sizes.add(call)


@dataclass
class Syncs(Calls):
    """fsync and its kin; `bytes` are those that they made durable."""

    unsynced: int = 0  # bytes written and not made durable by any
    between: Histogram = field(default_factory=dict)  # bytes written to a file between two


@dataclass
class Activity(_Sum):
    """The sums over a group of files."""

    files: int = 0
    opens: int = 0
    closes: int = 0
    errors: Dict[str, int] = field(default_factory=dict)  # errno -> calls of every kind
    size: int = 0  # bytes of the files, as last seen, and at least as far as they were touched
    mapped: int = 0  # files that were mapped, too: what went through memory is in no number
    direct: int = 0  # data calls on O_DIRECT descriptors
    unaligned: int = 0  # data calls whose offset or size is not a multiple of 4,096
    unaligned_direct: int = 0  # of these, those on O_DIRECT descriptors
    durable: int = 0  # writes that are durable when they return
    rewrites: int = 0
    threads: int = field(default=0, metadata=_MOST)  # that did I/O on one file; 64: so many or more
    queue_depth: int = field(default=0, metadata=_MOST)  # requests of one file in flight
    asynchronous: int = 0  # requests of Linux AIO and io_uring
    read: Transfers = field(default_factory=Transfers)
    written: Transfers = field(default_factory=Transfers)
    syncs: Syncs = field(default_factory=Syncs)
    lifetime: Latencies = field(default_factory=Latencies)  # of opens and closes
    calls: Dict[str, int] = field(default_factory=dict)  # system call -> calls

    @property
    def latencies(self) -> Latencies:
        """The latencies of successful calls of every kind."""
        every = Latencies()
        for part in (self.read.latencies, self.written.latencies, self.syncs.latencies, self.lifetime):
            every.merge(part)
        return every

    @property
    def busy_ns(self) -> int:
        """The time that successful calls took together."""
        parts = (self.read.latencies, self.written.latencies, self.syncs.latencies, self.lifetime)
        return sum(part.total for part in parts)

    @property
    def times_read(self) -> Optional[float]:
        """Bytes read for each byte of the files; None if they have none."""
        return self.read.bytes / self.size if self.size else None

    def add(self, file: FileStats) -> None:
        """Add a file."""
        self.files += 1
        self.size += size_of(file)
        self.opens += file.opens
        self.closes += file.closes
        self.mapped += file.mapped
        self.direct += file.direct_calls
        self.unaligned += file.unaligned_calls
        self.unaligned_direct += file.unaligned_direct_calls
        self.durable += file.durable_writes
        self.rewrites += file.rewrites
        self.threads = max(self.threads, file.threads)
        self.queue_depth = max(self.queue_depth, file.queue_depth_max)
        self.asynchronous += sum(file.queue_depth.values())
        self.syncs.bytes += file.bytes_synced
        self.syncs.unsynced += file.bytes_unsynced
        add_histogram(self.syncs.between, file.bytes_between_syncs)
        for name, call in file.syscalls.items():
            self.add_call(name, call)
        (reads, read_jumps), (writes, write_jumps) = order_of(file)
        self.read.moved += reads
        self.read.jumps += read_jumps
        self.written.moved += writes
        self.written.jumps += write_jumps

    def add_call(self, name: str, call: SyscallStats) -> None:
        """Add a system call on a file, without what is known of the file alone."""
        operation = BY_NAME.get(name, UNKNOWN)
        self.calls[name] = self.calls.get(name, 0) + call.calls
        if call.errors:
            add_histogram(self.errors, call.errors)
        if operation.direction == READ:
            self.read.add(call)
        elif operation.direction == WRITE:
            self.written.add(call)
        elif operation.syncs:
            self.syncs.add(call)
        else:
            self.lifetime.add(call)


def of_files(files: Iterable[FileStats]) -> Activity:
    """The activity of a group of files."""
    found = Activity()
    for file in files:
        found.add(file)
    return found


def untimed_share(file: FileStats) -> float:
    """By what `busy_ns` of the intervals is to be multiplied for an estimate of all transfers, timed or not."""
    data = [call for call in file.syscalls.values() if call.untimed_ns]
    if not data:
        return 1.0
    timed = sum(
        timed_ns(call) for name, call in file.syscalls.items() if BY_NAME.get(name, UNKNOWN).direction is not None
    )
    return 1 + sum(call.untimed_ns for call in data) / timed if timed else 1.0


def size_of(file: FileStats) -> int:
    """Bytes of a file, as last seen, and at least as far as it was touched."""
    return max(file.size or 0, (file.highest_offset or -1) + 1)


def order_of(file: FileStats) -> Tuple[Tuple[int, int], Tuple[int, int]]:
    """How many reads, and how many writes, moved anything, and how many of each began elsewhere than where the one
    before had ended."""
    reads, writes = _moved(file)
    both = reads + writes
    if not both:
        return (0, 0), (0, 0)
    read_runs, write_runs = sum(file.sequential_read.values()), sum(file.sequential_write.values())
    return (reads, _jumps(file, reads, both, read_runs)), (writes, _jumps(file, writes, both, write_runs))


def add_histogram(to: Dict[Any, int], more: Mapping[Any, int]) -> None:
    """Add a histogram, or another table of counts, to another, in place."""
    for bucket, count in more.items():
        to[bucket] = to.get(bucket, 0) + count


def moved(call: SyscallStats) -> int:
    """How many calls moved anything."""
    return sum(call.completed.values()) - call.completed.get(0, 0)


def _moved(file: FileStats) -> Tuple[int, int]:
    """How many reads, and how many writes, moved anything."""
    found = [0, 0]
    for name, call in file.syscalls.items():
        if call.completed:
            direction = BY_NAME.get(name, UNKNOWN).direction
            if direction is not None:
                found[direction] += moved(call)
    return found[READ], found[WRITE]


def _jumps(file: FileStats, moved: int, both: int, runs: int) -> int:
    """How many transfers of one direction began elsewhere than where the one before had ended.

    Each of them begins a run, but so does the first after an open, which has nothing before it. Opens are those of both
    directions: they are taken to be spread as the transfers are.
    """
    first = max(1, file.opens * moved // both)
    return max(0, min(runs, moved) - first)


def _short(call: SyscallStats) -> int:
    """How many successful calls moved less than they were asked for, at least, and more than nothing.

    Both histograms are known, not their pairs: as many as have left the upper buckets between the two. Failed calls,
    and those that moved nothing, are in `requested` alone.
    """
    if call.requested == call.completed:
        return 0
    worst = over = 0
    for lower in sorted({*call.requested, *call.completed}, reverse=True):
        if lower == 0:
            break
        over += call.requested.get(lower, 0) - call.completed.get(lower, 0)
        worst = max(worst, over)
    nothing = sum(call.errors.values()) + call.completed.get(0, 0) - call.requested.get(0, 0)
    return max(0, worst - max(nothing, 0))
