"""From the records of the programs to a profile: names arrive as events while tracing, counters are read at the end."""

from __future__ import annotations

import errno
import struct
import time
from collections import defaultdict
from typing import Any, DefaultDict, Dict, List, Mapping, Optional, Set, Tuple

from iotrace.model import READS, WRITES, FileStats, SyscallStats, bucket, earliest, latest
from iotrace.names import Name, Names
from programs.layout import (
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
    Lost,
    OpenFile,
    OpHead,
    OpKey,
    OpStats,
    Pending,
    Runs,
    TallyKey,
)
from programs.operations import BY_CODE
from pybpf.maps import Map as BpfMap

_NO_SIZES = bytes(8 * SIZE_BUCKETS)
_NO_RUNS = bytes(8 * RUN_BUCKETS)
_ID = struct.Struct("<Q")


def lower_bound(number: int) -> int:
    """The smallest value in bucket `number` of the kernel's histograms."""
    return 1 << (number - 1) if number else 0


def errno_name(number: int) -> str:
    """EIO for 5; the kernel's own numbers, which no libc names, as they are."""
    return errno.errorcode.get(number, _INTERNAL.get(number, str(number)))


_INTERNAL = {512: "ERESTARTSYS", 513: "ERESTARTNOINTR", 514: "ERESTARTNOHAND", 516: "ERESTART_RESTARTBLOCK"}


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


class Collector:
    """Reads the maps once the programs are detached and adds up what belongs to one path."""

    def __init__(self, maps: Mapping[str, BpfMap[Any]], names: Names, clock: Clock, big_values: bool) -> None:
        self._maps = maps
        self._names = names
        self._clock = clock
        self._big_values = big_values
        self.unattributed: DefaultDict[str, Dict[str, int]] = defaultdict(dict)
        self.unnamed = 0
        self._files: Dict[int, FileStats] = {}
        self._order: Dict[Tuple[int, bytes], FileStats] = {}
        self._last: Dict[Tuple[int, bytes], int] = {}  # the id of the file that is, or was last, at a path
        self._inodes: DefaultDict[Tuple[int, bytes], Set[Tuple[int, int, int]]] = defaultdict(set)

    def lost(self) -> Dict[str, int]:
        """The programs' own account of what they could not record."""
        return dict(zip(Lost.fields, Lost.struct.unpack(self._maps["lost"].at(0))))  # type: ignore[attr-defined]

    def files(self) -> List[FileStats]:
        """Every file that was seen, in the order of first sight."""
        self._identify()
        self._add_states()
        self._add_operations()
        self._end_runs()
        self._add_tallies()
        for file in self._order.values():
            _total(file)
        return list(self._order.values())

    # -- which file -------------------------------------------------------------------------------------------------

    def _identify(self) -> None:
        """Makes a FileStats for each path; ids that share one share it."""
        keys = []
        for raw_key, raw in self._maps["files"].items():
            keys.append((FileId.struct.unpack(raw)[0], FileKey.struct.unpack(raw_key)))
        keys.sort()  # ids grow with time: the last one's inode is the path's last
        for file_id, (_dentry, _mnt, inode, device, generation, mnt_ns, _pad) in keys:
            name = self._names.first.get(file_id)
            dev = f"{device >> 20}:{device & 0xFFFFF}"
            if name is None:
                self.unnamed += 1
                name = Name(b"/.../unresolved:%s:%d" % (dev.encode(), inode), "")
            where = (mnt_ns, name.path)
            file = self._order.get(where)
            if file is None:
                file = self._order[where] = FileStats(mnt_ns, name.path)
            self._files[file_id] = file
            self._last[where] = file_id
            inodes = self._inodes[where]
            inodes.add((device, inode, generation))
            file.incarnations = len(inodes)
            file.device, file.inode, file.fstype = dev, inode, name.fstype
            file.renamed_to = self._names.renamed.get(file_id)
            file.deleted = file_id in self._names.deleted

    # -- counters ---------------------------------------------------------------------------------------------------

    def _add_states(self) -> None:
        for raw_key, raw in self._maps["states"].items():
            file_id = _ID.unpack(raw_key)[0]
            file = self._files.get(file_id)
            if file is None:
                continue
            (opens, closes, rewrites, _first, _last,
             unsynced, synced, _sync, flags, _operations) = FileState.struct.unpack(raw)  # fmt: skip
            file.opens += opens
            file.closes += closes
            file.rewrites += rewrites
            file.bytes_unsynced += unsynced
            file.bytes_synced += synced
            if self._last[(file.mnt_ns, file.path)] == file_id:
                file.deleted |= bool(flags & FILE_DELETED)
            file.mapped |= bool(flags & FILE_MAPPED)
            for name, count in (("open", opens), ("close", closes)):
                if count:
                    _call(file, name).calls += count

    def _add_operations(self) -> None:
        if self._big_values:
            head_at, completed_at = OpStats.head.offset, OpStats.completed.offset
            latency_at, runs_at = OpStats.latency.offset, OpStats.runs.offset
            for key, raw in self._maps["operations"].items():
                self._add_head(key, raw[head_at : head_at + OpHead.size])
                self._add_completed(key, raw[completed_at : completed_at + Completed.size])
                self._add_latency(key, raw[latency_at : latency_at + Latency.size])
                self._add_runs(key, raw[runs_at : runs_at + Runs.size])
            return
        for name, add in (("operations", self._add_head), ("completed", self._add_completed),
                          ("latency", self._add_latency), ("runs", self._add_runs)):  # fmt: skip
            for key, raw in self._maps[name].items():
                add(key, raw)

    def _of(self, key: bytes) -> Optional[Tuple[FileStats, str]]:
        file_id, op, _ = OpKey.struct.unpack(key)
        file = self._files.get(file_id)
        return (file, BY_CODE[op].name) if file is not None and op in BY_CODE else None

    def _add_head(self, key: bytes, raw: bytes) -> None:
        found = self._of(key)
        if found is None:
            return
        file, name = found
        call = _call(file, name)
        calls, moved, first, last, lowest, highest, direct, durable = _HEAD.unpack_from(raw)
        call.calls += calls
        call.bytes += moved
        file.direct_calls += direct
        file.durable_writes += durable
        start, end = self._clock.unix(first), self._clock.unix(last)
        call.first_ns = earliest(call.first_ns, start)
        call.last_ok_ns = latest(call.last_ok_ns, end)
        file.lowest_offset = earliest(file.lowest_offset, lowest - 1 if lowest else None)
        file.highest_offset = latest(file.highest_offset, highest - 1 if highest else None)
        if name in _SIZED:
            _add(call.requested, raw[_HEAD.size :], _SIZES)

    def _add_completed(self, key: bytes, raw: bytes) -> None:
        found = self._of(key)
        if found is not None and raw != _NO_SIZES:
            _add(_call(*found).completed, raw, _SIZES)

    def _add_latency(self, key: bytes, raw: bytes) -> None:
        found = self._of(key)
        if found is not None:
            _add(_call(*found).latency_ns, raw, _LATENCIES)

    def _add_runs(self, key: bytes, raw: bytes) -> None:
        found = self._of(key)
        if found is not None and raw != _NO_RUNS:
            file, name = found
            _add(file.sequential_write if name in _WRITES else file.sequential_read, raw, _RUNS)

    def _end_runs(self) -> None:
        """The runs that were in progress when tracing ended."""
        for _, raw in self._maps["opens"].items():
            values = OpenFile.struct.unpack(raw)
            file = self._files.get(values[OpenFile.id.index])
            if file is None:
                continue
            read, write = values[OpenFile.run.index : OpenFile.run.index + 2]
            for run, histogram in ((read, file.sequential_read), (write, file.sequential_write)):
                _end_run(histogram, run)
        for _, raw in self._maps["pending"].items():
            values = Pending.struct.unpack(raw)
            file = self._files.get(values[Pending.id.index])
            if file is not None:
                name = BY_CODE[values[Pending.op.index]].name
                runs = file.sequential_write if name in _WRITES else file.sequential_read
                _end_run(runs, values[Pending.broken.index])

    def _add_tallies(self) -> None:
        for raw_key, raw in self._maps["tallies"].items():
            file_id, op, kind, item = TallyKey.struct.unpack(raw_key)
            count = _ID.unpack(raw)[0]
            if not file_id:
                self.unattributed[BY_CODE[op].name][errno_name(item)] = count
                continue
            file = self._files.get(file_id)
            if file is None:
                continue
            if kind == TALLY_ERROR:
                call = _call(file, BY_CODE[op].name)
                name = errno_name(item)
                call.errors[name] = call.errors.get(name, 0) + count
                if BY_CODE[op].name == "close":
                    call.calls += count  # of the others, the programs count every return
                continue
            if kind == TALLY_REQUESTED:
                histogram = _call(file, BY_CODE[op].name).requested
            else:
                histogram = {TALLY_READ_RUN: file.sequential_read, TALLY_WRITE_RUN: file.sequential_write,
                             TALLY_BETWEEN_SYNCS: file.bytes_between_syncs}[kind]  # fmt: skip
            lower = lower_bound(item)
            histogram[lower] = histogram.get(lower, 0) + count


def _end_run(histogram: Dict[int, int], run: int) -> None:
    if run:
        histogram[bucket(run)] = histogram.get(bucket(run), 0) + 1


_HEAD = struct.Struct("<8Q")
_SIZES = struct.Struct(f"<{SIZE_BUCKETS}Q")
_RUNS = struct.Struct(f"<{RUN_BUCKETS}Q")
_LATENCIES = struct.Struct(f"<{LATENCY_BUCKETS}Q")
_SIZED = frozenset(READS + WRITES)
_READS, _WRITES = frozenset(READS), frozenset(WRITES)
_COVERING = ("fsync", "fdatasync", "aio_fsync", "aio_fdsync", "uring_fsync")

assert OpHead.requested.offset == _HEAD.size


def _call(file: FileStats, name: str) -> SyscallStats:
    call = file.syscalls.get(name)
    if call is None:
        call = file.syscalls[name] = SyscallStats()
    return call


def _add(histogram: Dict[int, int], raw: bytes, shape: struct.Struct) -> None:
    for number, count in enumerate(shape.unpack(raw)):
        if count:
            lower = lower_bound(number)
            histogram[lower] = histogram.get(lower, 0) + count


def _total(file: FileStats) -> None:
    """What follows from the calls: bytes and times per direction."""
    for name, call in file.syscalls.items():
        if name in _READS:
            file.bytes_read += call.bytes
            file.first_read_ns = earliest(file.first_read_ns, call.first_ns)
            file.last_read_ns = latest(file.last_read_ns, call.last_ok_ns)
        elif name in _WRITES:
            file.bytes_written += call.bytes
            file.first_write_ns = earliest(file.first_write_ns, call.first_ns)
            file.last_write_ns = latest(file.last_write_ns, call.last_ok_ns)
        elif name in _COVERING:
            file.last_sync_ns = latest(file.last_sync_ns, call.last_ok_ns)
