"""From the programs' records to files: hand-packed contents of the maps, and what they must add up to."""

from __future__ import annotations

import errno
import json
import os
import struct
import tempfile
import time
from typing import Any, Dict, List, Optional, Tuple

import pytest

from iotrace.profile import reader
from iotrace.profile.metrics import FileStats, Header
from iotrace.profile.parts import Part, as_part
from iotrace.profile.values import DELETED, bucket
from iotrace.profile.writer import Writer
from iotrace.tracing.clock import Clock
from iotrace.tracing.collector import Collector
from iotrace.tracing.decoding import errno_name, lower_bound
from iotrace.tracing.gathering import Gathering
from iotrace.tracing.names import Fate, Name, Names
from programs.facts.catalogue import BY_NAME
from programs.facts.records import (
    FILE_DELETED,
    FILE_MAPPED,
    LATENCY_BUCKETS,
    LATENCY_PIECE,
    LATENCY_PIECES,
    RUN_BUCKETS,
    SIZE_BUCKETS,
    TALLY_BETWEEN_SYNCS,
    TALLY_ERROR,
    TALLY_LATENCY,
    TALLY_READ_RUN,
    TALLY_REQUESTED,
    TALLY_WRITE_RUN,
    Completed,
    FileId,
    FileKey,
    FileState,
    LatencyPiece,
    OpenFile,
    OpenKey,
    OpHead,
    OpKey,
    OpStats,
    Requested,
    Runs,
    TallyKey,
)
from tests.unit.iotrace.tracing.tables import Table

NS = 4026531841
CLOCK = Clock()
Cells = Dict[int, int]


def number(value: int) -> bytes:
    return struct.pack("<Q", value)


def cells(histogram: Cells, count: int) -> Tuple[int, ...]:
    return tuple(histogram.get(cell, 0) for cell in range(count))


class Records:
    """The programs' side: records as they leave them, whole or in parts."""

    def __init__(self, big_values: bool) -> None:
        self.big_values = big_values
        names = (
            "files",
            "states",
            "operations",
            "requested",
            "completed",
            "latency",
            "runs",
            "opens",
            "pending",
            "tallies",
        )
        self.maps: Dict[str, Any] = {name: Table() for name in names}
        self.names = Names()
        self.states: Dict[int, Dict[str, int]] = {}

    def file(
        self,
        file_id: int,
        path: bytes = b"",
        *,
        inode: int = 1,
        generation: int = 0,
        mnt_ns: int = NS,
        device: int = 8 << 20 | 1,
        **state: int,
    ) -> None:
        key = FileKey.pack(dentry=file_id, chain=1, inode=inode, device=device, generation=generation, mnt_ns=mnt_ns)
        self.maps["files"][key] = FileId.pack(id=file_id, marks=1)
        self.states[file_id] = {"operations": 0, **state}
        if path:
            self.names.first[file_id] = Name(path, "ext4", key)

    def operation(
        self,
        file_id: int,
        name: str,
        *,
        sizes: Cells,
        latency: Cells,
        runs: Optional[Cells] = None,
        common: Optional[Dict[str, Any]] = None,
        **head: int,
    ) -> None:
        """Histograms map bucket numbers to counts; `sizes` are both requested and completed."""
        key = OpKey.pack(id=file_id, op=BY_NAME[name].code)
        if file_id in self.states:
            self.states[file_id]["operations"] |= 1 << BY_NAME[name].code
        requested = cells(sizes, SIZE_BUCKETS)
        parts: Dict[str, Dict[str, Any]] = {
            "head": head,
            "requested": {**(common or {}), "buckets": requested},
            "completed": {"buckets": requested},
            "latency": {"buckets": cells(latency, LATENCY_BUCKETS)},
            "runs": {"buckets": cells(runs or {}, RUN_BUCKETS)},
        }
        if self.big_values:
            self.maps["operations"][key] = OpStats.pack(**parts)
            return
        self.maps["operations"][key] = OpHead.pack(**parts["head"])
        for part, record in (("requested", Requested), ("completed", Completed), ("runs", Runs)):
            self.maps[part][key] = record.pack(**parts[part])
        for piece in range(LATENCY_PIECES):
            some = parts["latency"]["buckets"][piece * LATENCY_PIECE :][:LATENCY_PIECE]
            if any(some):
                key = OpKey.pack(id=file_id, op=BY_NAME[name].code, piece=piece)
                self.maps["latency"][key] = LatencyPiece.pack(buckets=some)

    def tally(self, file_id: int, op: str, kind: int, item: int, count: int) -> None:
        code = BY_NAME[op].code if op else 0
        self.maps["tallies"][TallyKey.pack(id=file_id, op=code, kind=kind, item=item)] = number(count)

    def opened(self, file_id: int, read_run: int = 0, write_run: int = 0) -> None:
        key = OpenKey.pack(file=len(self.maps["opens"]), mnt_ns=1)
        self.maps["opens"][key] = OpenFile.pack(id=file_id, run=(read_run, write_run))

    def collector(self) -> Collector:
        for key, state in self.states.items():
            self.maps["states"][number(key)] = FileState.pack(**state)
        return Collector(self.maps, self.names, self.big_values)

    def files(self) -> Dict[bytes, FileStats]:
        return {file.path: file for file in written(self.collector())}


def written(collector: Collector) -> List[FileStats]:
    """The files of the profile that the collector's parts make."""
    return read_back(*parts(collector))


def parts(collector: Collector, *, apart: bool = False) -> List[Part]:
    found: List[Part] = []
    gathering = Gathering(CLOCK, lambda _names: True, found.append)
    gathering.apart = apart
    for rows in collector.take(*collector.ended()):
        gathering.take(rows)
    gathering.flush()
    return found


def read_back(*parts: Part) -> List[FileStats]:
    """The files of the profile that these parts make."""
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "p")
        with Writer(path) as writer:
            for part in parts:
                writer.add(part)
            writer.finish(Header())
        with reader.open(path) as profile:
            return list(profile.files())


@pytest.fixture(params=[True, False], ids=["whole records", "records in parts"])
def records(request: pytest.FixtureRequest) -> Records:
    return Records(request.param)


def test_one_file(records: Records) -> None:
    now = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    records.file(1, b"/data", inode=131, opens=3, closes=2, rewrites=4, unsynced=5, synced=6)
    records.operation(
        1,
        "pread64",
        sizes={0: 1, 1: 2, 13: 3},
        latency={24: 5, 26: 1},
        runs={14: 1},
        common={"first": 1 + 1, "common": [{"bytes": 4096 + 1, "count": 3}, {"bytes": 0 + 1, "count": 1}, {}, {}]},
        calls=7,
        bytes=12290,
        busy=3456,
        slowest=700,
        unaligned=6,
        unaligned_direct=1,
        first=now - 900,
        last=now - 100,
        lowest=1,
        highest=12288,
        direct=2,
    )
    records.operation(
        1,
        "write",
        sizes={32: 1},
        latency={LATENCY_BUCKETS - 1: 1},
        runs={32: 1, 1: 2},
        calls=1,
        bytes=1 << 31,
        first=now - 800,
        last=now - 700,
        lowest=4097,
        highest=(1 << 31) + 4096,
        durable=1,
    )
    records.operation(1, "fsync", sizes={}, latency={112: 1}, calls=1, first=now - 600, last=now - 500)
    records.tally(1, "fsync", TALLY_LATENCY, 212, 2)
    records.tally(1, "open", TALLY_LATENCY, 56, 3)
    file = records.files()[b"/data"]
    assert (file.mnt_ns, file.device, file.inode, file.fstype, file.incarnations) == (NS, "8:1", 131, "ext4", 1)
    assert (file.opens, file.closes, file.rewrites, file.bytes_unsynced, file.bytes_synced) == (3, 2, 4, 5, 6)
    assert (file.bytes_read, file.bytes_written) == (12290, 1 << 31)
    assert (file.lowest_offset, file.highest_offset) == (0, (1 << 31) + 4095)
    assert (file.direct_calls, file.durable_writes) == (2, 1)
    read, write, sync = (file.syscalls[name] for name in ("pread64", "write", "fsync"))
    assert (read.calls, read.bytes, read.requested, read.completed) == (7, 12290, *[{0: 1, 1: 2, 4096: 3}] * 2)
    assert (write.requested, write.latency_ns) == ({1 << 31: 1}, {(1 << 32) * 15 // 16: 1})
    assert (read.latency_ns, sync.latency_ns) == ({512: 5, 640: 1}, {1 << 20: 1, 6 << 30: 2})
    assert (read.latency_sum_ns, read.latency_max_ns, file.syscalls["open"].latency_ns) == (3456, 700, {8192: 3})
    assert (read.common_sizes, read.common_sizes_error) == ({0: 1, 1: 2, 4096: 3}, 0)
    assert (file.unaligned_calls, file.unaligned_direct_calls) == (6, 1)
    assert (file.sequential_read, file.sequential_write) == ({8192: 1}, {1: 2, 1 << 31: 1})
    assert (sync.requested, sync.completed, sync.bytes) == ({}, {}, 0)
    assert (file.syscalls["open"].calls, file.syscalls["close"].calls) == (3, 2)
    moments = [file.first_read_ns, file.first_write_ns, file.last_write_ns, file.last_sync_ns, file.last_read_ns]
    assert [moment - moments[0] for moment in moments if moment and moments[0]] == [0, 100, 200, 400, 800]
    assert abs((moments[0] or 0) - time.time_ns()) < 60 * 10**9


def test_the_first_open_and_close_are_with_the_file_and_others_among_the_sparse_counters(records: Records) -> None:
    """Buckets 40 and 49 begin at 8 x 16 ns x 2^4 and 9 x 16 ns x 2^5."""
    records.file(1, b"/a", opens=3, closes=1, opening=700, first_open=40 + 1, first_close=49 + 1)
    records.tally(1, "open", TALLY_LATENCY, 49, 2)
    records.file(2, b"/b", opens=1, closes=1, first_close=0 + 1)
    records.tally(2, "open", TALLY_LATENCY, 40, 1)
    first, second = (file.syscalls for file in records.files().values())
    assert first["open"].latency_ns == {2048: 1, 4608: 2}
    assert first["close"].latency_ns == {4608: 1}
    assert second["open"].latency_ns == {2048: 1}
    assert second["close"].latency_ns == {0: 1}


def test_its_rows_are_those_that_the_file_itself_would_make(records: Records) -> None:
    """The collector makes rows out of the programs' records, the writer out of a file in memory."""
    records.file(
        1, b"/data", inode=(1 << 64) - 7, opens=3, closes=2, rewrites=4, unsynced=5, synced=6, flags=FILE_MAPPED
    )
    head: Dict[str, Any] = {
        "calls": 7,
        "bytes": 12290,
        "first": 10**9,
        "last": 2 * 10**9,
        "lowest": 1,
        "highest": 12288,
    }
    records.operation(1, "pread64", sizes={0: 1, 13: 3}, latency={10: 6}, busy=99, runs={14: 1}, direct=2, **head)
    records.operation(
        1, "writev", sizes={1: 2, 32: 1}, latency={20: 6, 21: 2}, busy=98, runs={14: 1}, durable=1, **head
    )
    records.operation(1, "aio_fsync", sizes={}, latency={}, calls=2)
    records.operation(1, "sync_file_range", sizes={}, latency={3: 1}, busy=97, calls=1, first=10**9, last=2 * 10**9)
    records.tally(1, "writev", TALLY_ERROR, errno.EIO, 3)
    records.tally(1, "open", TALLY_ERROR, errno.EACCES, 2)
    records.tally(1, "pwrite64", TALLY_REQUESTED, 64, 1)
    records.tally(1, "", TALLY_BETWEEN_SYNCS, 9, 3)
    (part,) = parts(records.collector())
    (file,) = read_back(part)
    again = as_part(file, part.edges)
    assert part.columns == again.columns
    full, shortest = json.loads(part.by_syscall), json.loads(again.by_syscall)
    assert full.keys() == shortest.keys()
    for name, values in shortest.items():
        assert full[name] == values


def test_ids_of_one_path_are_one_file(records: Records) -> None:
    """Two inodes, one of them by two ids, as if its dentry had been dropped; the last one says what is there now."""
    records.file(3, b"/data", inode=12, opens=100, flags=FILE_MAPPED)
    records.file(1, b"/data", inode=11, opens=1, flags=FILE_DELETED)
    records.file(2, b"/data", inode=11, opens=10)
    for file_id, low, high in ((2, 51, 60), (3, 0, 0), (1, 71, 80)):
        records.operation(file_id, "read", sizes={1: file_id}, latency={1: 1}, calls=file_id, lowest=low, highest=high)
    (file,) = records.files().values()
    assert (file.inode, file.incarnations, file.opens, file.mapped) == (12, 2, 111, True)
    assert not file.deleted, "the path has been made again"
    assert (file.lowest_offset, file.highest_offset) == (50, 79)
    assert (file.syscalls["read"].calls, file.syscalls["read"].completed) == (6, {1: 6})


@pytest.mark.parametrize("generations", [(5, 5), (5, 6)])
def test_an_inode_number_that_is_used_again_is_another_inode(generations: Tuple[int, int]) -> None:
    records = Records(True)
    for file_id, generation in enumerate(generations, 1):
        records.file(file_id, b"/data", inode=11, generation=generation)
    assert records.files()[b"/data"].incarnations == len(set(generations))


def test_the_last_file_of_a_path_is_the_one_that_is_deleted(records: Records) -> None:
    records.file(1, b"/data", inode=11)
    records.file(2, b"/data", inode=12, flags=FILE_DELETED)
    records.file(3, b"/other")
    records.names.fates[3] = Fate(DELETED)
    assert all(file.deleted and file.state == DELETED for file in records.files().values())


def test_a_renamed_file_is_not_a_deleted_one(records: Records) -> None:
    """What it was written under leads to nothing any more, but it is there."""
    records.file(1, b"/x.lock", flags=FILE_DELETED)
    records.names.fates[1] = Fate(DELETED, b"/x")
    (file,) = records.files().values()
    assert (file.state, file.renamed_to, file.deleted) == (DELETED, b"/x", False)


def test_a_file_that_is_created_again_is_another_one_without_generations(records: Records) -> None:
    """As on overlayfs, where the inode's number is the same: what was written before is never synced any more."""
    for file_id in (1, 2):
        records.file(file_id, b"/r", inode=11, first_write=1, last_write=1, unsynced=100)
        records.names.first[file_id] = records.names.first[file_id]._replace(born=True)
    (file,) = records.files().values()
    assert (file.incarnations, file.rewrites, file.bytes_unsynced) == (2, 0, 200)


def test_what_no_path_leads_to_is_no_part_of_what_the_same_path_leads_to(records: Records) -> None:
    records.file(1, b"/a", opens=1)
    records.file(2, b"/a", opens=2)
    records.names.first[2] = records.names.first[2]._replace(unreachable=True)
    found = written(records.collector())
    assert sorted((file.opens, file.unreachable) for file in found) == [(1, False), (2, True)]


def test_one_path_in_two_mount_namespaces_is_two_files(records: Records) -> None:
    records.file(1, b"/data", mnt_ns=NS, opens=1)
    records.file(2, b"/data", mnt_ns=NS + 1, opens=2)
    assert [(file.mnt_ns, file.opens) for file in written(records.collector())] == [(NS, 1), (NS + 1, 2)]


def test_a_file_without_a_name_is_counted_and_kept(records: Records) -> None:
    records.file(1, inode=77, device=259 << 20 | 1048575, opens=2)
    collector = records.collector()
    (file,) = written(collector)
    assert collector.unnamed == 1
    assert (file.path, file.device, file.opens) == (b"/.../unresolved:259:1048575:77", "259:1048575", 2)


def test_what_belongs_to_no_known_file_is_left_out(records: Records) -> None:
    """A record may have been made for a file that found no room."""
    records.states[9] = {"opens": 1, "operations": 0}
    records.operation(9, "read", sizes={1: 1}, latency={1: 1}, calls=1)
    records.opened(9, read_run=5)
    records.tally(9, "read", TALLY_ERROR, errno.EIO, 1)
    assert records.files() == {}


def test_errors_and_other_rare_counts(records: Records) -> None:
    records.file(1, b"/a")
    records.file(2, b"/a", inode=2)
    for file_id in (1, 2):
        records.tally(file_id, "read", TALLY_ERROR, errno.EIO, 3)
        records.tally(file_id, "read", TALLY_ERROR, 512, 1)
        records.tally(file_id, "close", TALLY_ERROR, errno.EINTR, 2)
        records.tally(file_id, "pwrite64", TALLY_REQUESTED, 64, 1)
        records.tally(file_id, "", TALLY_READ_RUN, 1, 7)
        records.tally(file_id, "", TALLY_WRITE_RUN, 41, 8)
        records.tally(file_id, "", TALLY_BETWEEN_SYNCS, 0, 9)
    records.tally(0, "write", TALLY_ERROR, errno.EBADF, 23)
    records.tally(0, "write", TALLY_ERROR, errno.EFAULT, 1)
    collector = records.collector()
    (file,) = written(collector)
    assert file.syscalls["read"].errors == {"EIO": 6, "ERESTARTSYS": 2}
    assert file.syscalls["read"].calls == 0, "of all but close the programs count every return"
    assert (file.syscalls["close"].errors, file.syscalls["close"].calls) == ({"EINTR": 4}, 4)
    assert file.syscalls["pwrite64"].requested == {1 << 63: 2}
    assert (file.sequential_read, file.sequential_write) == ({1: 14}, {1 << 40: 16})
    assert file.bytes_between_syncs == {0: 18}
    assert collector.unattributed == {"write": {"EBADF": 23, "EFAULT": 1}}


def test_a_file_is_read_as_often_as_one_likes(records: Records) -> None:
    """What is read while tracing goes on leaves the file as it was, sparse counters and runs in progress included."""
    records.file(1, b"/a", opens=2)
    records.operation(1, "read", sizes={13: 3}, latency={10: 3}, calls=3, bytes=12288)
    records.tally(1, "read", TALLY_ERROR, errno.EIO, 3)
    records.opened(1, read_run=4096)
    collector = records.collector()
    (first,), (second,) = collector.records(1, collector.rest()), collector.records(1, collector.rest())
    (final,) = parts(collector)
    assert first == second
    assert first.part(CLOCK) == final
    assert '"EIO": 3' in final.by_syscall and '{"4096":1}' in final.columns


def test_runs_that_tracing_cut_off_end_with_it(records: Records) -> None:
    records.file(1, b"/a")
    records.opened(1, read_run=4096, write_run=1)
    records.opened(1, read_run=8191)
    records.opened(1)
    file = records.files()[b"/a"]
    assert (file.sequential_read, file.sequential_write) == ({4096: 2}, {1: 1})


def test_the_last_name_of_a_path_is_that_of_its_last_file(records: Records) -> None:
    records.file(1, b"/a")
    records.file(2, b"/a", inode=2)
    records.names.renamed = {1: b"/b", 2: b"/c"}
    assert records.files()[b"/a"].renamed_to == b"/c"


def test_buckets_are_those_of_the_model() -> None:
    """Bucket k of the programs holds [2^(k-1), 2^k), bucket 0 zero."""
    for value in (0, 1, 2, 3, 4, 4095, 4096, (1 << 63) - 1, 1 << 63, (1 << 64) - 1):
        assert lower_bound(value.bit_length()) == bucket(value)


def test_errors_have_names() -> None:
    """The kernel's own are in include/linux/errno.h: they reach tracers, and never a program."""
    assert [errno_name(n) for n in (5, 9, 512, 514, 4095)] == ["EIO", "EBADF", "ERESTARTSYS", "ERESTARTNOHAND", "4095"]


def test_errors_with_two_names_have_the_kernels() -> None:
    """uapi/asm-generic/errno.h; EWOULDBLOCK, EDEADLOCK and ENOTSUP are libc's."""
    assert [errno_name(n) for n in (11, 35, 95)] == ["EAGAIN", "EDEADLK", "EOPNOTSUPP"]


def test_the_clock_turns_monotonic_time_into_unix_time() -> None:
    clock = CLOCK
    before, now, after = time.time_ns(), time.clock_gettime_ns(time.CLOCK_MONOTONIC), time.time_ns()
    found = clock.unix(now)
    assert found is not None and before - 10**8 < found < after + 10**8
    assert clock.unix(0) is None
