"""Decoding the programs' records of a file into its metrics, under the names that the table of metrics gives them.

Many files have the same histograms, so the JSON text of each is kept.
"""

from __future__ import annotations

import errno
import functools
import json
import os
import struct
from typing import Dict, Iterable, List, Optional, Sequence, Tuple

from iotrace.profile.metrics import TOTALS
from iotrace.profile.parts import COLUMNS, Edges, Part, call_json, call_texts, columns
from iotrace.profile.values import DELETED, Counts, Histogram, add_tables, bucket, encode, fine_bounds, greatest, least
from iotrace.profile.whose import Who
from iotrace.tracing import common_sizes
from iotrace.tracing.clock import Clock
from iotrace.tracing.names import Fate, Name
from programs.facts.catalogue import BY_CODE, OPERATIONS, READ, WRITE, Operation
from programs.facts.records import (
    FILE_DELETED,
    FILE_MAPPED,
    LATENCY_BUCKETS,
    MOST_THREADS,
    RUN_BUCKETS,
    SIZE_BUCKETS,
    TALLY_BETWEEN_SYNCS,
    TALLY_ERROR,
    TALLY_LATENCY,
    TALLY_READ_RUN,
    TALLY_READAHEAD_BYTES,
    TALLY_REQUESTED,
    TALLY_STORAGE_BYTES,
    TALLY_STORAGE_LATENCY,
    TALLY_UNTIMED,
    TALLY_WRITE_RUN,
    THREAD_SHIFT,
    Completed,
    FileKey,
    Latency,
    OpHead,
    OpStats,
    Requested,
    Runs,
)

HEAD = OpHead.struct
_SIZES = struct.Struct(f"<{SIZE_BUCKETS}Q")
_RUNS = struct.Struct(f"<{RUN_BUCKETS}Q")
LATENCIES = struct.Struct(f"<{LATENCY_BUCKETS}I")
_NO_RUNS = bytes(Runs.size)
_NOTHING: Histogram = {}
_UNTIMED = -1  # in the place of a latency

# Where the histograms are in OpStats.
_COMMON = slice(OpStats.requested.offset, OpStats.requested.offset + Requested.buckets.offset)
_BUCKETS = slice(_COMMON.stop, OpStats.requested.offset + Requested.size)
_COMPLETED, LATENCY, _RUN = (
    slice(part.offset, part.offset + record.size)
    for part, record in ((OpStats.completed, Completed), (OpStats.latency, Latency), (OpStats.runs, Runs))
)


def lower_bound(number: int) -> int:
    """The smallest value in bucket `number` of the programs' histograms."""
    return 1 << (number - 1) if number else 0


def errno_name(number: int) -> str:
    """The name of an error, such as EIO for 5. Where libc has two names, or none, it is the kernel's."""
    return _KERNEL.get(number, errno.errorcode.get(number, str(number)))


# include/uapi/asm-generic/errno.h, and include/linux/errno.h for those that only tracers see.
_KERNEL = {
    35: "EDEADLK",
    95: "EOPNOTSUPP",
    512: "ERESTARTSYS",
    513: "ERESTARTNOINTR",
    514: "ERESTARTNOHAND",
    516: "ERESTART_RESTARTBLOCK",
}


@functools.lru_cache(maxsize=256)
def operations(mask: int) -> List[Operation]:
    """The operations in `FileState.operations`."""
    return [operation for operation in OPERATIONS if mask >> operation.code & 1]


@functools.lru_cache(maxsize=256)
def device_name(number: int) -> str:
    """The kernel's dev_t as "major:minor"."""
    return f"{number >> 20}:{number & 0xFFFFF}"


def _cells(raw: bytes, shape: struct.Struct) -> Histogram:
    return {lower_bound(number): count for number, count in enumerate(shape.unpack(raw)) if count}


@functools.lru_cache(maxsize=4096)
def _sizes(raw: bytes) -> Tuple[str, int]:
    """A histogram of sizes as JSON, and how many there are."""
    cells = _cells(raw, _SIZES)
    return encode(cells) or "null", sum(cells.values())


def _fine_cells(raw: bytes) -> Histogram:
    return {fine_bounds(number)[0]: count for number, count in enumerate(LATENCIES.unpack(raw)) if count}


@functools.lru_cache(maxsize=4096)
def _latencies(raw: bytes) -> str:
    """A histogram of latencies as JSON."""
    return encode(_fine_cells(raw)) or "null"


_fine_bound = functools.lru_cache(maxsize=1024)(lambda number: fine_bounds(number)[0])


@functools.lru_cache(maxsize=4096)
def _common(raw: bytes, requests: int) -> Tuple[str, int]:
    """The most frequent sizes of so many requests as JSON, and by how much their counts may be off."""
    sizes, error = common_sizes.read(raw, requests)
    return encode(sizes) or "null", error


def _count(histogram: Histogram, lower: int, count: int) -> None:
    histogram[lower] = histogram.get(lower, 0) + count


REQUESTS = frozenset(operation.name for operation in OPERATIONS if operation.name.startswith(("aio_", "uring_")))
"""Operations of requests that complete later."""
_BROUGHT = {TALLY_STORAGE_BYTES: "storage_bytes", TALLY_READAHEAD_BYTES: "readahead_bytes"}
_OPERATION = (
    *("calls", "bytes", "first_ns", "last_ok_ns", "errors", "requested", "completed"),
    *("latency_ns", "latency_sum_ns", "latency_max_ns", "common_sizes", "common_sizes_error"),
)
_operation_text = call_texts(*_OPERATION)
_STORAGE = ("storage_bytes", "storage_calls", "storage_latency_ns", "readahead_bytes")
_NOT_FROM_STORAGE = (0, 0, "null", 0)
_storage_text = call_texts(*_OPERATION, *_STORAGE)
_sampled_text = call_texts(*_OPERATION, *_STORAGE, "untimed_calls", "untimed_ns")
_lifetime_text = call_texts("calls", "errors", "latency_ns", "latency_sum_ns", "latency_max_ns")


def is_buffered(raw: bytes) -> bool:
    """Whether some calls of an OpStats were on descriptors that are not O_DIRECT."""
    head = HEAD.unpack_from(raw)
    return bool(head[OpHead.direct.index] < head[OpHead.calls.index])


def thread_count(word: int) -> int:
    """How many threads FileState.threads tells of: MOST_THREADS stand for so many and more."""
    return min(1 + word % (1 << THREAD_SHIFT), MOST_THREADS) if word else 0


Tally = Tuple[int, int, int, int]
"""Operation, kind, item and count."""


class Decoder:
    """The metrics of a file, as attributes of their names. They are built up from its records."""

    __slots__ = (
        *(metric.name for metric in (*COLUMNS, *TOTALS)),
        *[
            "_clock",
            "_unix",
            "_json",
            "_errors",
            "_large",
            "_slow",
            "_waited",
            "_brought",
            "_generation",
            "_born",
            "_first_write",
            "_last_write",
            "_first_sync",
            "_flags",
            "_seen",
        ],
    )

    def __init__(
        self,
        clock: Clock,
        name: Name,
        state: Tuple[int, ...],
        tallies: Iterable[Tally],
        who: Optional[Who] = None,
    ) -> None:
        """`state` are the words of the file's FileState, `tallies` its sparse counters; `who` did the I/O, where a file
        has a row for each."""
        self.who = who
        self._clock, self._unix = clock, clock.unix
        self._json: List[str] = []  # by system call
        self._errors: Dict[str, Counts] = {}  # of operations that have not been added yet
        self._large: Dict[str, Histogram] = {}  # their requests that the dense histogram has no room for
        self._slow: Dict[str, Histogram] = {}  # their latencies, likewise
        self._waited: Dict[str, Histogram] = {}  # latencies of those that waited for storage
        self._brought: Dict[str, Counts] = {}  # what these had brought, by the names of metrics
        self.sequential_read: Histogram = {}
        self.sequential_write: Histogram = {}
        self.bytes_between_syncs: Histogram = {}
        self.bytes_read = self.bytes_written = self.direct_calls = self.durable_writes = 0
        self.unaligned_calls = self.unaligned_direct_calls = 0
        self.calls = self.errors = self.syncs = self.busy_ns = 0
        self.lowest_offset: Optional[int] = None
        self.highest_offset: Optional[int] = None
        self.first_read_ns: Optional[int] = None
        self.last_read_ns: Optional[int] = None
        self.first_write_ns: Optional[int] = None
        self.last_write_ns: Optional[int] = None
        self.last_sync_ns: Optional[int] = None
        self._add_tallies(tallies)
        _dentry, _chain, self.inode, device, self._generation, self.mnt_ns, _pad = FileKey.struct.unpack(name.key)
        self.path, self.fstype, self.device, self.incarnations = name.path, name.fstype, device_name(device), 1
        self.unreachable, self._born = name.unreachable, name.born
        (
            self.opens,
            self.closes,
            self.rewrites,
            self._first_write,
            self._last_write,
            self.bytes_unsynced,
            self.bytes_synced,
            self._first_sync,
            self._flags,
            *_more,  # first latencies, which are among the tallies; operations that have a record, which is to be added
            opening,
            slowest_open,
            closing,
            slowest_close,
            self._seen,
            threads,
        ) = state
        self.threads = thread_count(threads) if threads else 0
        self.queue_depth: Histogram = {}
        self.queue_depth_max = 0
        self.mapped = self._flags & FILE_MAPPED != 0
        self.host: Optional[str] = None  # that of the run
        self._add_lifetime("open", self.opens, opening, slowest_open)
        self._add_lifetime("close", self.closes, closing, slowest_close)

    def _add_tallies(self, tallies: Iterable[Tally]) -> None:
        for op, kind, item, count in tallies:
            if kind == TALLY_LATENCY:  # as most are
                name = BY_CODE[op].name
                cells = self._slow.get(name)
                if cells is None:
                    cells = self._slow[name] = {}
                bound = _fine_bound(item)
                cells[bound] = cells.get(bound, 0) + count
            else:
                self._add_tally(op, kind, item, count)

    def _add_tally(self, op: int, kind: int, item: int, count: int) -> None:
        if kind == TALLY_ERROR:
            self._errors.setdefault(BY_CODE[op].name, {})[errno_name(item)] = count
            self.errors += count
        elif kind == TALLY_REQUESTED:
            _count(self._large.setdefault(BY_CODE[op].name, {}), lower_bound(item), count)
        elif kind == TALLY_READ_RUN:
            _count(self.sequential_read, lower_bound(item), count)
        elif kind == TALLY_WRITE_RUN:
            _count(self.sequential_write, lower_bound(item), count)
        elif kind == TALLY_STORAGE_LATENCY:
            lower = _UNTIMED if item == TALLY_UNTIMED else _fine_bound(item)
            _count(self._waited.setdefault(BY_CODE[op].name, {}), lower, count)
        elif kind in _BROUGHT:
            self._brought.setdefault(BY_CODE[op].name, {})[_BROUGHT[kind]] = count
        elif kind == TALLY_BETWEEN_SYNCS:
            _count(self.bytes_between_syncs, lower_bound(item), count)

    def _add_lifetime(self, name: str, succeeded: int, latency: int, slowest: int) -> None:
        """Add opens or closes that succeeded; those that failed, and the histogram, are in the sparse counters."""
        errors = self._errors.pop(name, None) if self._errors else None
        calls = succeeded + sum(errors.values()) if errors else succeeded
        if not calls:
            return
        cells = self._slow.pop(name, None)
        latencies = (encode(cells) or "null") if cells else "null"
        entry = _lifetime_text(calls, json.dumps(errors) if errors else "null", latencies, latency, slowest)
        self._json.append(f'"{name}":{entry}')
        self.calls += calls
        self.busy_ns += latency

    def add_depth(self, most: int, buckets: Sequence[int]) -> None:
        """Add how many requests were in flight when one was submitted."""
        self.queue_depth_max = most
        self.queue_depth = {lower_bound(number): count for number, count in enumerate(buckets) if count}

    def add_run(self, direction: int, run: int) -> None:
        """Add a run in progress, given in bytes."""
        _count(self.sequential_write if direction == WRITE else self.sequential_read, bucket(run), 1)

    def add_operation(self, operation: Operation, raw: bytes) -> None:
        """Add the OpStats of an operation."""
        calls, moved, first, last, lowest, highest, direct, durable, *more = HEAD.unpack_from(raw)
        latency_sum, latency_max, unaligned, unaligned_direct = more
        self.calls += calls
        start, end = self._unix(first), self._unix(last)
        requested = completed = common = "null"
        error = 0
        if operation.direction is None:
            if operation.syncs:
                self.syncs += calls
            if operation.covers:
                self.last_sync_ns = greatest(self.last_sync_ns, end)
        else:
            requested, requests = self._requested(operation.name, raw[_BUCKETS])
            completed = _sizes(raw[_COMPLETED])[0]
            common, error = _common(raw[_COMMON], requests)
            self._add_transfers(operation.direction, moved, start, end, raw[_RUN])
            self.direct_calls += direct
            self.unaligned_calls += unaligned
            self.unaligned_direct_calls += unaligned_direct
            self.durable_writes += durable
            if highest:  # offsets plus one; 0 is none
                self.highest_offset = greatest(self.highest_offset, highest - 1)
            if lowest:
                self.lowest_offset = least(self.lowest_offset, lowest - 1)
        self.busy_ns += latency_sum
        errors = self._errors.pop(operation.name, None) if self._errors else None
        untimed, untimed_ns = self._untimed(operation, raw[LATENCY], calls, errors, latency_sum)
        latency = self._latencies(operation.name, raw[LATENCY])
        storage: Optional[Tuple[int, int, str, int]] = None
        if operation.name in self._brought:
            storage = self._storage(operation.name)
        elif direct == calls and moved and operation.direction == READ and operation.name in REQUESTS:
            storage = (moved, calls - sum(errors.values()) if errors else calls, latency, 0)
        values = (
            *(calls, moved, start or "null", end or "null", json.dumps(errors) if errors else "null"),
            *(requested, completed, latency, latency_sum, latency_max, common, error),
        )
        if untimed:
            entry = _sampled_text(*values, *(storage or _NOT_FROM_STORAGE), untimed, untimed_ns)
        else:
            entry = _operation_text(*values) if storage is None else _storage_text(*values, *storage)
        self._json.append(f'"{operation.name}":{entry}')

    def _add_transfers(self, direction: int, moved: int, start: Optional[int], end: Optional[int], runs: bytes) -> None:
        if direction == READ:
            self.bytes_read += moved
            self.first_read_ns, self.last_read_ns = least(self.first_read_ns, start), greatest(self.last_read_ns, end)
            ended = self.sequential_read
        else:
            self.bytes_written += moved
            self.first_write_ns = least(self.first_write_ns, start)
            self.last_write_ns = greatest(self.last_write_ns, end)
            ended = self.sequential_write
        if runs != _NO_RUNS:
            for lower, count in _cells(runs, _RUNS).items():
                _count(ended, lower, count)

    def _requested(self, name: str, raw: bytes) -> Tuple[str, int]:
        large = self._large.pop(name, None) if self._large else None
        if not large:
            return _sizes(raw)
        cells = {**_cells(raw, _SIZES), **large}
        return encode(cells) or "null", sum(cells.values())

    def _latencies(self, name: str, raw: bytes) -> str:
        slow = self._slow.pop(name, None) if self._slow else None
        return encode(add_tables(_fine_cells(raw), slow)) or "null" if slow else _latencies(raw)

    def _untimed(
        self, operation: Operation, raw: bytes, calls: int, errors: Optional[Counts], latency_sum: int
    ) -> Tuple[int, int]:
        """How many of the calls that succeeded were not timed, and how long they took, in ns, as estimated."""
        if not self._clock.sampled or operation.direction is None or operation.name in REQUESTS:
            return 0, 0
        succeeded = calls - sum(errors.values()) if errors else calls
        timed = sum(LATENCIES.unpack(raw)) + sum(self._slow.get(operation.name, _NOTHING).values())
        untimed, ns = self._clock.estimate(succeeded, timed, latency_sum)
        self.busy_ns += ns
        return untimed, ns

    def _storage(self, name: str) -> Tuple[int, int, str, int]:
        """Bytes from storage, calls that waited for it, a histogram of their latencies, and bytes read ahead."""
        brought, waited = self._brought.pop(name), self._waited.pop(name, _NOTHING)
        calls = sum(waited.values())
        waited.pop(_UNTIMED, None)
        latency = encode(waited) or "null"
        return brought.get("storage_bytes", 0), calls, latency, brought.get("readahead_bytes", 0)

    def _set_fate(self, fate: Fate) -> None:
        self.renamed_to, self.state = fate.renamed_to, fate.state
        if fate.device is not None:
            self.device = f"{os.major(fate.device)}:{os.minor(fate.device)}"
        self.size = fate.size if fate.size is not None else self._seen - 1 if self._seen else None
        if fate.state is None and self._flags & FILE_DELETED:
            self.state = DELETED
        self.deleted = self.state == DELETED and fate.renamed_to is None

    def _add_left(self) -> None:
        for name in {**self._errors, **self._large, **self._slow, **self._brought}:
            values: Dict[str, object] = {"errors": self._errors.get(name), "requested": self._large.get(name)}
            values["latency_ns"] = self._slow.get(name)
            values.update(self._brought.get(name, {}))
            self._json.append(f'"{name}":{call_json(values)}')

    def part(
        self,
        fate: Fate,
        order: int,
        *,
        incarnations: int = 1,
        went: Optional[bytes] = None,
        stale: int = 0,
        series: bytes = b"",
        row: int = 0,
    ) -> Part:
        """Everything that was added, as a part of the profile. See `Edges` for `order`, `went`, `stale` and `row`."""
        if self._errors or self._large or self._slow or self._brought:  # of operations that had no room for a record
            self._add_left()
        self._set_fate(fate)
        self.incarnations = incarnations
        self.ended_as = self.renamed_to if incarnations == 1 or went == self.renamed_to else None
        ends = self._generation, self._first_write, self._last_write, self._first_sync, int(self._born)
        edges = Edges(order, *ends, stale, went, row)
        return Part(columns(self, self), "{" + ",".join(self._json) + "}", edges, series or None)
