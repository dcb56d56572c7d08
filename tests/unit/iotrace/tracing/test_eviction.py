"""Moving files out of the tables: who may go, who must stay, and what is left of either."""

from __future__ import annotations

import contextlib
import errno
import struct
from typing import Any, Callable, Dict, Iterator, List, Tuple

import pytest

from iotrace.profile.parts import Part
from iotrace.profile.rows import file_of
from iotrace.tracing import eviction
from iotrace.tracing.clock import Clock
from iotrace.tracing.collector import Collector
from iotrace.tracing.gathering import Gathering
from iotrace.tracing.names import Name, Names
from programs.facts.catalogue import BY_NAME, Kind
from programs.facts.records import (
    DEPTH_BUCKETS,
    TALLY_WRITE_RUN,
    THREAD_SHIFT,
    Call,
    Depth,
    FileId,
    FileKey,
    FileState,
    OpenFile,
    OpenKey,
    OpKey,
    OpStats,
    Pending,
    PendingKey,
    RingFile,
    RingKey,
    TallyKey,
    ThreadKey,
)
from pybpf.syscalls import BpfError
from tests.unit.iotrace.tracing.tables import Table

ROOM = 16
WRITE = BY_NAME["write"].code


def number(value: int) -> bytes:
    return struct.pack("<Q", value)


class Tables:
    """Tables with files 1 to `count` in them, written to once each."""

    def __init__(self, count: int) -> None:
        sizes = {
            "files": FileId,
            "states": FileState,
            "operations": OpStats,
            "opens": OpenFile,
            "pending": Pending,
            "ring_files": RingFile,
            "slots": Call,
        }
        self.maps: Dict[str, Any] = {name: Table(0, layout.size, 2 * ROOM) for name, layout in sizes.items()}
        self.maps["tallies"] = Table(0, 8, 4 * ROOM)
        self.maps["threads"], self.maps["depths"] = Table(ThreadKey.size, 8, 4 * ROOM), Table(8, Depth.size, ROOM)
        self.names = Names()
        self.kept: List[Part] = []
        self.waits: List[Callable[[], None]] = []
        collector = Collector(self.maps, self.names, big_values=True)
        self.asked: List[int] = []
        self.eviction = eviction.Eviction(
            self.maps,
            collector,
            self.names,
            ROOM,
            gathering=Gathering(Clock(), lambda _names: True, self.kept.append),
            wait=self.wait,
            ask=self.asked.extend,
        )
        for file_id in range(1, count + 1):
            self.file(file_id)

    def wait(self) -> None:
        """What happens while programs are waited for: each wait takes the next of `waits`."""
        if self.waits:
            self.waits.pop(0)()

    def key(self, file_id: int) -> bytes:
        return bytes(FileKey.pack(dentry=file_id, chain=1, inode=file_id, device=1, generation=0, mnt_ns=7))

    def file(self, file_id: int) -> None:
        self.names.first[file_id] = Name(b"/%d" % file_id, "ext4", self.key(file_id))
        self.maps["files"][self.key(file_id)] = FileId.pack(id=file_id, marks=1)
        self.maps["states"][number(file_id)] = FileState.pack(opens=1, operations=1 << WRITE)
        counted = OpStats.pack(head={"calls": 3, "bytes": file_id})
        self.maps["operations"][OpKey.pack(id=file_id, op=WRITE)] = counted
        self.maps["tallies"][TallyKey.pack(id=file_id, op=0, kind=TALLY_WRITE_RUN, item=3)] = number(1)

    def run(self) -> List[int]:
        """Until there is nothing to do; which files have been moved, by what was written to them."""
        while self.eviction.step():
            pass
        return sorted(file_of(part).bytes_written for part in self.kept)

    def known(self) -> List[int]:
        """The files that one can find by name."""
        return sorted(FileId.unpack(raw)["id"] for raw in self.maps["files"].values())


def test_nothing_moves_while_there_is_room() -> None:
    tables = Tables(ROOM // 2 - 1)
    assert tables.run() == []


def test_the_oldest_go_until_a_quarter_is_left() -> None:
    tables = Tables(10)
    assert tables.run() == [1, 2, 3, 4, 5, 6]
    assert tables.known() == sorted(tables.names.first) == [7, 8, 9, 10]
    assert [len(tables.maps[name]) for name in ("states", "operations", "tallies")] == [4, 4, 4]
    file = file_of(tables.kept[0])
    assert (file.mnt_ns, file.path, file.opens, file.bytes_written) == (7, b"/1", 1, 1)
    assert file.sequential_write == {4: 1}
    assert tables.kept[0].by_syscall.startswith('{"open":[1],"write":[3,1]')


def test_more_files_that_come_meanwhile_than_there_is_room_for() -> None:
    """Then there are as many as there can be, and no more can come until some have gone."""
    tables = Tables(10)

    def more() -> None:
        for file_id in range(11, 11 + ROOM - 4):
            tables.file(file_id)

    tables.waits.append(more)
    assert tables.run() == list(range(1, 19))
    assert tables.known() == [19, 20, 21, 22]


def test_a_round_that_is_given_up_leaves_the_rest() -> None:
    tables = Tables(10)
    within: List[str] = []

    @contextlib.contextmanager
    def together() -> Iterator[None]:
        within.append("begun")
        try:
            yield
        finally:
            within.append("ended")

    tables.eviction._together = together
    while not within:
        tables.eviction.step()
    tables.eviction.stop()
    assert not tables.eviction.step()
    assert within == ["begun", "ended"]
    assert sorted(tables.names.first) == sorted(int.from_bytes(key, "little") for key in tables.maps["states"])


def test_threads_and_requests_go_with_their_file() -> None:
    tables, read = Tables(10), BY_NAME["aio_pread"].code
    for file_id in (2, 8):
        state = {"opens": 1, "operations": 1 << WRITE | 1 << read, "threads": 77 << THREAD_SHIFT | 2}
        tables.maps["states"][number(file_id)] = FileState.pack(**state)
        tables.maps["operations"][OpKey.pack(id=file_id, op=read)] = OpStats.pack(head={"calls": 3})
        tables.maps["depths"][number(file_id)] = Depth.pack(most=2, buckets=(0, 2, 1, *[0] * (DEPTH_BUCKETS - 3)))
        for thread in (5, 6):
            tables.maps["threads"][ThreadKey.pack(id=file_id, thread=thread)] = number(0)
    tables.run()
    files = {file_of(part).path: file_of(part) for part in tables.kept}
    assert [files[path].threads for path in (b"/1", b"/2")] == [0, 3]
    assert (files[b"/2"].queue_depth_max, files[b"/2"].queue_depth) == (2, {1: 2, 2: 1})
    assert {ThreadKey.unpack(key)["id"] for key in tables.maps["threads"]} == {8}
    assert list(tables.maps["depths"]) == [number(8)]


def test_what_threads_count_on_their_own_goes_with_the_file() -> None:
    tables = Tables(10)
    tables.maps["shards"] = Table(OpKey.size, OpStats.size, ROOM)
    for file_id, thread in ((2, 50), (2, 51), (8, 50)):
        key = OpKey.pack(id=file_id, op=WRITE, piece=thread)
        tables.maps["shards"][key] = OpStats.pack(head={"calls": thread, "bytes": 100 * file_id})
    tables.run()
    files = {file_of(part).path: file_of(part).syscalls["write"] for part in tables.kept}
    assert [(files[path].calls, files[path].bytes) for path in (b"/1", b"/2")] == [(3, 1), (3 + 50 + 51, 2 + 2 * 200)]
    assert {OpKey.unpack(key)["id"] for key in tables.maps["shards"]} == {8}


def test_many_operations_on_few_files_fill_the_tables_too() -> None:
    """However few: so many go that a quarter of the fullest table is left."""
    tables = Tables(4)
    tables.maps["operations"].max_entries = 8
    assert tables.run() == [1, 2]
    assert len(tables.maps["operations"]) == 2


def test_a_file_that_is_open_stays() -> None:
    tables = Tables(10)
    for file_id in (1, 3):
        tables.maps["opens"][OpenKey.pack(file=file_id, mnt_ns=1)] = OpenFile.pack(id=file_id)
    assert tables.run() == [2, 4, 5, 6, 7, 8]
    assert tables.known() == [1, 3, 9, 10]


def test_a_request_under_way_keeps_its_file() -> None:
    tables = Tables(10)
    tables.maps["pending"][PendingKey.pack(request=1)] = Pending.pack(id=1)
    tables.maps["ring_files"][RingKey.pack(ring=1)] = RingFile.pack(id=2)
    tables.maps["slots"][bytes(4)] = Call.pack(owner=9, call=Kind.CLOSE, id=3)
    tables.maps["slots"][b"\1" + bytes(3)] = Call.pack(owner=8, call=Kind.SCALAR, id=4)
    tables.maps["slots"][b"\2" + bytes(3)] = Call.pack(owner=7, call=0, id=5)
    assert tables.run() == [4, 5, 6]
    assert tables.known() == [1, 2, 3, 7, 8, 9, 10]


@pytest.mark.parametrize("when", range(3))
def test_a_program_that_had_the_id_already_keeps_it(when: int) -> None:
    """It may hand the id on, from table to table, while programs are waited for, but no table goes back."""
    tables = Tables(10)
    opened = (tables.maps["opens"], OpenKey.pack(file=1, mnt_ns=1), OpenFile.pack(id=1))
    ring = (tables.maps["ring_files"], RingKey.pack(ring=1), RingFile.pack(id=1))
    request = (tables.maps["pending"], PendingKey.pack(request=1), Pending.pack(id=1))
    later = (opened, ring, request)[when]
    tables.waits += [lambda: None] * when + [lambda: later[0].update(later[1], later[2])]
    assert tables.run() == [2, 3, 4, 5, 6]
    assert tables.known() == [1, 7, 8, 9, 10]
    assert number(1) in tables.maps["states"]


def test_who_opens_the_file_meanwhile_finds_no_id() -> None:
    tables, seen = Tables(10), []
    tables.waits.append(lambda: seen.append(tables.known()))
    tables.run()
    assert seen == [[7, 8, 9, 10]]


def test_a_file_with_two_ids_keeps_both() -> None:
    """It was opened before its name was taken out, and again after."""
    tables = Tables(10)

    def open_twice() -> None:
        tables.maps["opens"][OpenKey.pack(file=1, mnt_ns=1)] = OpenFile.pack(id=1)
        tables.maps["files"][tables.key(1)] = FileId.pack(id=11)

    tables.waits.append(open_twice)
    assert tables.run() == [2, 3, 4, 5, 6]
    assert tables.known() == [7, 8, 9, 10, 11]
    assert number(1) in tables.maps["states"]


def test_where_all_are_open_it_is_tried_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    tables, now = Tables(10), [100.0]
    monkeypatch.setattr("iotrace.tracing.eviction.time.monotonic", lambda: now[0])
    for file_id in range(1, 11):
        tables.maps["opens"][OpenKey.pack(file=file_id, mnt_ns=1)] = OpenFile.pack(id=file_id)
    assert tables.run() == []
    tables.maps["opens"].clear()
    assert tables.run() == []
    now[0] += 2
    assert tables.run() == [1, 2, 3, 4, 5, 6]


def test_a_table_that_cannot_be_read_to_its_end_keeps_all() -> None:
    tables = Tables(10)

    def fail() -> Iterator[Tuple[bytes, bytes]]:
        raise BpfError(errno.EAGAIN, "reading all keys", "pending")

    tables.waits += [lambda: None, lambda: None, lambda: setattr(tables.maps["pending"], "blocks", fail)]
    assert tables.run() == []
    assert tables.known() == list(range(1, 11))
