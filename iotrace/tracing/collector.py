"""From the records of the programs to the parts of a profile.

Names arrive as events while tracing; counters are read when a file's record is not going to change any more, one file
after the other, so that memory does not grow with what they hold. What is read goes straight into rows: histograms
recur in most files, so the bytes of each are turned into text once.
"""

from __future__ import annotations

import errno
import functools
import json
import struct
import time
from collections import defaultdict
from typing import Any, Callable, DefaultDict, Dict, Iterable, Iterator, List, Mapping, Optional, Tuple

from iotrace.profile.model import Histogram, bucket, earliest, latest
from iotrace.profile.parts import Edges, Part, encode, signed
from iotrace.tracing import inflight
from iotrace.tracing.names import Name, Names
from programs.facts.catalogue import BY_CODE, OPERATIONS, READ, WRITE, Operation
from programs.facts.records import (
    FILE_DELETED,
    FILE_MAPPED,
    LATENCY_BUCKETS,
    RUN_BUCKETS,
    SIZE_BUCKETS,
    TALLY_BETWEEN_SYNCS,
    TALLY_ERROR,
    TALLY_READ_RUN,
    TALLY_REQUESTED,
    TALLY_WRITE_RUN,
    Completed,
    FileId,
    FileKey,
    FileState,
    Latency,
    OpenFile,
    OpHead,
    OpKey,
    OpStats,
    Pending,
    Runs,
    TallyKey,
)
from pybpf.maps import Map

_ID = struct.Struct("<Q")
_HEAD = struct.Struct("<8Q")
_SIZES = struct.Struct(f"<{SIZE_BUCKETS}Q")
_RUNS = struct.Struct(f"<{RUN_BUCKETS}Q")
_LATENCIES = struct.Struct(f"<{LATENCY_BUCKETS}Q")
_NO_RUNS = bytes(Runs.size)

# Where the histograms are in OpStats.
_REQUESTED = slice(_HEAD.size, OpHead.size)
_COMPLETED, _LATENCY, _RUN = (
    slice(part.offset, part.offset + record.size)
    for part, record in ((OpStats.completed, Completed), (OpStats.latency, Latency), (OpStats.runs, Runs))
)
assert OpHead.requested.offset == _HEAD.size


def lower_bound(number: int) -> int:
    """The smallest value in bucket `number` of the kernel's histograms."""
    return 1 << (number - 1) if number else 0


def errno_name(number: int) -> str:
    """EIO for 5: by the kernel's names, where libc has two for a number, or none."""
    return _KERNEL.get(number, errno.errorcode.get(number, str(number)))


_KERNEL = {
    35: "EDEADLK",
    95: "EOPNOTSUPP",
    512: "ERESTARTSYS",
    513: "ERESTARTNOINTR",
    514: "ERESTARTNOHAND",
    516: "ERESTART_RESTARTBLOCK",
}


class Clock:
    """Turns the programs' time, CLOCK_MONOTONIC, into unix time. Both are read at once, in nanoseconds."""

    def __init__(self) -> None:
        tries = []
        for _ in range(5):
            before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
            wall = time.time_ns()
            after = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
            tries.append((after - before, wall - (before + after) // 2))
        self._offset = min(tries)[1]

    def unix(self, monotonic: int) -> Optional[int]:
        """Nanoseconds since 1970, None for a time that never was."""
        return monotonic + self._offset if monotonic else None


@functools.lru_cache(maxsize=256)
def _operations(mask: int) -> List[Operation]:
    """The operations in `FileState.operations`."""
    return [operation for operation in OPERATIONS if mask >> operation.code & 1]


def _cells(raw: bytes, shape: struct.Struct) -> Histogram:
    return {lower_bound(number): count for number, count in enumerate(shape.unpack(raw)) if count}


@functools.lru_cache(maxsize=4096)
def _sizes(raw: bytes) -> str:
    """A histogram of sizes as JSON."""
    return encode(_cells(raw, _SIZES)) or "null"


@functools.lru_cache(maxsize=4096)
def _latencies(raw: bytes) -> Tuple[str, int]:
    """A histogram of latencies as JSON, and the least time that it stands for."""
    cells = _cells(raw, _LATENCIES)
    return encode(cells) or "null", sum(lower * count for lower, count in cells.items())


Tally = Tuple[int, int, int, int]
"""Operation, kind, item and count."""

_TALLY = struct.Struct("<IIQQ")  # TallyKey without the file, and the count


class Rest:
    """What belongs to a file but is found under other keys than its own: sparse counters, runs in progress."""

    def __init__(self) -> None:
        self.tallies: Dict[int, bytes] = {}
        self.runs: Dict[int, List[Tuple[int, int]]] = {}  # (0 for reads or 1 for writes, bytes)

    def add_tally(self, key: bytes, count: bytes) -> None:
        """A record of `tallies`."""
        file_id = _ID.unpack_from(key)[0]
        self.tallies[file_id] = self.tallies.get(file_id, b"") + key[_ID.size :] + count

    def add_run(self, file_id: int, direction: int, run: int) -> None:
        """A run that was in progress, if it had any bytes."""
        if run:
            self.runs.setdefault(file_id, []).append((direction, run))

    def of(self, file_id: int) -> Tuple[List[Tally], List[Tuple[int, int]]]:
        """What there is of one file."""
        raw = self.tallies.get(file_id, b"")
        return (list(_TALLY.iter_unpack(raw)) if raw else []), self.runs.get(file_id, [])


class Collector:
    """Reads the maps, and makes a part of the profile of each file's records."""

    def __init__(self, maps: Mapping[str, Map[Any]], names: Names, clock: Clock, big_values: bool) -> None:
        self._maps = maps
        self._names = names
        self._clock = clock
        self.unattributed: DefaultDict[str, Dict[str, int]] = defaultdict(dict)
        self.unnamed = 0
        self._state = maps["states"].finder()
        self._operation = maps["operations"].finder() if big_values else self._joined()

    def _joined(self) -> Callable[[bytes], Optional[bytes]]:
        """Finds an OpStats that the programs keep in parts."""
        head = self._maps["operations"].finder()
        parts = [
            (self._maps[name].finder(), bytes(record.size))
            for name, record in (("completed", Completed), ("latency", Latency), ("runs", Runs))
        ]

        def find(key: bytes) -> Optional[bytes]:
            raw = head(key)
            return None if raw is None else raw + b"".join(part(key) or none for part, none in parts)

        return find

    def finish(self) -> Iterator[Part]:
        """What is left in the maps when tracing has ended: every file, in the order of first sight."""
        rest = self.rest()
        unnamed = self._unnamed()
        for file_id, name in list(unnamed.items()):
            self.unnamed += 1
            self._names.first[file_id] = name
        for file_id in list(self._names.first):
            part = self.part(file_id, rest)
            self._names.forget(file_id)
            if part is not None:
                yield part

    def rest(self) -> Rest:
        """The sparse counters of all files, and their runs in progress, as if tracing ended now."""
        rest = Rest()
        for key, count in self._maps["tallies"].items():
            if _ID.unpack_from(key)[0]:
                rest.add_tally(key, count)
            else:
                _file_id, op, _kind, item = TallyKey.struct.unpack(key)
                self.unattributed[BY_CODE[op].name][errno_name(item)] = _ID.unpack(count)[0]
        for _, raw in self._maps["opens"].items():
            values = OpenFile.struct.unpack(raw)
            for direction in (0, 1):
                rest.add_run(values[OpenFile.id.index], direction, values[OpenFile.run.index + direction])
        for _, raw in inflight.requests(self._maps):
            values = Pending.struct.unpack(raw)
            writes = BY_CODE[values[Pending.op.index]].direction == WRITE
            rest.add_run(values[Pending.id.index], int(writes), values[Pending.broken.index])
        return rest

    def _unnamed(self) -> Dict[int, Name]:
        """Files whose name has never arrived, under one that no file can have."""
        found: Dict[int, Name] = {}
        for key, raw in self._maps["files"].items():
            file_id = FileId.struct.unpack(raw)[0]
            if file_id not in self._names.first:
                _dentry, _mnt, inode, device, *_ = FileKey.struct.unpack(key)
                path = b"/.../unresolved:%s:%d" % (_device(device).encode(), inode)
                found[file_id] = Name(path, "", key)
        return dict(sorted(found.items()))

    # -- one file ---------------------------------------------------------------------------------------------------

    def part(self, file_id: int, rest: Rest, read: Optional[List[bytes]] = None) -> Optional[Part]:
        """All that is known of a file now; None if the programs have no record of it.

        Nothing is forgotten or deleted, so a file that goes on can be read as often as one likes. The keys of the
        operations' records that were read go to `read`.
        """
        raw_state = self._state(_ID.pack(file_id))
        if raw_state is None:
            return None
        tallies, runs = rest.of(file_id)
        name = self._names.first[file_id]
        renamed, deleted = self._names.renamed.get(file_id), file_id in self._names.deleted
        (opens, closes, rewrites, first_write, last_write, unsynced, synced, first_sync, flags, operations) = (
            FileState.struct.unpack(raw_state)
        )
        found = _Found(self._clock, tallies, runs)
        for number, call in ((opens, "open"), (closes, "close")):
            if number or call in found.errors:
                found.add_count(call, number)
        for operation in _operations(operations):
            key = OpKey.struct.pack(file_id, operation.code, 0)
            raw = self._operation(key)
            if raw is not None:
                found.add(operation, raw)
                if read is not None:
                    read.append(key)
        found.add_rest()
        _dentry, _mnt, inode, device, generation, mnt_ns, _pad = FileKey.struct.unpack(name.key)
        columns = (
            mnt_ns,
            name.path,
            renamed,
            _device(device),
            signed(inode),
            name.fstype,
            1,
            int(deleted or flags & FILE_DELETED != 0),
            int(flags & FILE_MAPPED != 0),
            opens,
            closes,
            found.bytes_read,
            found.bytes_written,
            synced,
            unsynced,
            rewrites,
            found.lowest,
            found.highest,
            found.direct,
            found.durable,
            found.first_read,
            found.last_read,
            found.first_write,
            found.last_write,
            found.last_sync,
            encode(found.runs[0]),
            encode(found.runs[1]),
            encode(found.between_syncs),
            found.calls,
            found.error_count,
            found.syncs,
            found.busy,
        )
        edges = Edges(file_id - (1 << 63), generation, first_write, last_write, first_sync, self._names.changed)
        return Part(columns, "{" + ",".join(found.json) + "}", edges)


@functools.lru_cache(maxsize=256)
def _device(number: int) -> str:
    return f"{number >> 20}:{number & 0xFFFFF}"


class _Found:
    """What the operations on one file come to."""

    calls = error_count = syncs = busy = 0
    bytes_read = bytes_written = direct = durable = 0
    lowest: Optional[int] = None
    highest: Optional[int] = None
    first_read: Optional[int] = None
    last_read: Optional[int] = None
    first_write: Optional[int] = None
    last_write: Optional[int] = None
    last_sync: Optional[int] = None

    def __init__(self, clock: Clock, tallies: Iterable[Tally], runs: Iterable[Tuple[int, int]]) -> None:
        self._unix = clock.unix
        self.runs: Tuple[Histogram, Histogram] = ({}, {})
        self.between_syncs: Histogram = {}
        self.errors: Dict[str, Dict[str, int]] = {}
        self.large: Dict[str, Histogram] = {}  # requests that the dense histogram has no room for
        self.json: List[str] = []
        for op, kind, item, count in tallies:
            self._tally(op, kind, item, count)
        for direction, run in runs:
            _count(self.runs[direction], bucket(run), 1)

    def _tally(self, op: int, kind: int, item: int, count: int) -> None:
        if kind == TALLY_ERROR:
            self.errors.setdefault(BY_CODE[op].name, {})[errno_name(item)] = count
            self.error_count += count
        elif kind == TALLY_REQUESTED:
            _count(self.large.setdefault(BY_CODE[op].name, {}), lower_bound(item), count)
        elif kind in (TALLY_READ_RUN, TALLY_WRITE_RUN):
            _count(self.runs[kind - TALLY_READ_RUN], lower_bound(item), count)
        elif kind == TALLY_BETWEEN_SYNCS:
            _count(self.between_syncs, lower_bound(item), count)

    def add_count(self, name: str, number: int) -> None:
        """Opens or closes: nothing more is known of them. Successful ones, to which those that failed are added."""
        errors = self.errors.pop(name, None)
        if errors:
            number += sum(errors.values())
            self.json.append(f'"{name}":[{number},0,null,null,{json.dumps(errors)}]')
        else:
            self.json.append(f'"{name}":[{number}]')
        self.calls += number

    def add_rest(self) -> None:
        """Sparse counters of operations that have no record: there was no room for one."""
        for name in {**self.errors, **self.large}:
            errors, requested = self.errors.get(name), encode(self.large.get(name, {}))
            self.json.append(f'"{name}":[0,0,null,null,{json.dumps(errors)},{requested or "null"}]')

    def add(self, operation: Operation, raw: bytes) -> None:
        """One operation's OpStats."""
        calls, moved, first, last, lowest, highest, direct, durable = _HEAD.unpack_from(raw)
        self.calls += calls
        start, end = self._unix(first), self._unix(last)
        requested = completed = "null"
        if operation.syncs:
            self.syncs += calls
            if operation.covers:
                self.last_sync = latest(self.last_sync, end)
        else:
            requested, completed = self._requested(operation, raw[_REQUESTED]), _sizes(raw[_COMPLETED])
            self._add_transfers(operation, moved, start, end)
            self.direct += direct
            self.durable += durable
            if highest and (self.highest is None or self.highest < highest - 1):
                self.highest = highest - 1
            if lowest and (self.lowest is None or self.lowest > lowest - 1):
                self.lowest = lowest - 1
        runs = raw[_RUN]
        if runs != _NO_RUNS:
            for lower, count in _cells(runs, _RUNS).items():
                _count(self.runs[operation.direction == WRITE], lower, count)
        latency, busy = _latencies(raw[_LATENCY])
        self.busy += busy
        errors = self.errors.pop(operation.name, None) if self.errors else None
        self.json.append(
            f'"{operation.name}":[{calls},{moved},{start or "null"},{end or "null"},'
            f"{json.dumps(errors) if errors else 'null'},{requested},{completed},{latency}]"
        )

    def _add_transfers(self, operation: Operation, moved: int, start: Optional[int], end: Optional[int]) -> None:
        if operation.direction == READ:
            self.bytes_read += moved
            self.first_read, self.last_read = earliest(self.first_read, start), latest(self.last_read, end)
        else:
            self.bytes_written += moved
            self.first_write, self.last_write = earliest(self.first_write, start), latest(self.last_write, end)

    def _requested(self, operation: Operation, raw: bytes) -> str:
        large = self.large.pop(operation.name, None) if self.large else None
        return encode({**_cells(raw, _SIZES), **large}) or "null" if large else _sizes(raw)


def _count(histogram: Histogram, lower: int, count: int) -> None:
    histogram[lower] = histogram.get(lower, 0) + count
