"""Snapshots: the files that changed, as they stand, with nothing taken away."""

from __future__ import annotations

import errno
from typing import Any, Callable, List

import pytest

from iotrace.tracing.clock import Clock
from iotrace.tracing.collector import Collector
from iotrace.tracing.names import Name, Names
from iotrace.tracing.snapshots import Snapshots
from programs.facts.catalogue import BY_NAME
from programs.facts.records import (
    TALLY_ERROR,
    FileKey,
    FileState,
    OpenFile,
    OpenKey,
    OpKey,
    OpStats,
    Pending,
    TallyKey,
)
from tests.unit.iotrace.tracing.tables import Table

CLOCK = Clock()
WRITE, READ = BY_NAME["write"].code, BY_NAME["read"].code


class Counted:
    """Files by number, and what the programs have counted for them."""

    def __init__(self) -> None:
        self.maps: Any = {
            "states": Table(8, FileState.size),
            "operations": Table(OpKey.size, OpStats.size),
            "tallies": Table(TallyKey.size, 8),
            "opens": Table(OpenKey.size, OpenFile.size),
            "pending": Table(8, Pending.size),
            "files": Table(FileKey.size, 8),
        }
        self.names = Names()
        self.collector = Collector(self.maps, self.names, big_values=True)
        self.snapshots = Snapshots(
            self.maps, self.collector, self.names, CLOCK, lambda path, _renamed: path != b"/unwanted"
        )

    def name(self, file_id: int, path: bytes = b"") -> None:
        key = FileKey.pack(dentry=file_id, chain=1, inode=file_id, device=1, generation=0, mnt_ns=7)
        self.names.first[file_id] = Name(path or b"/%d" % file_id, "ext4", key)

    def opened(self, file_id: int, times: int = 1) -> None:
        state = {"opens": times, "operations": 1 << WRITE | 1 << READ}
        self.maps["states"][file_id.to_bytes(8, "little")] = FileState.pack(**state)

    def called(self, file_id: int, op: int, calls: int, last: int = 0) -> None:
        head = {"calls": calls, "bytes": 100 * bool(last), "last": last}
        self.maps["operations"][OpKey.pack(id=file_id, op=op)] = OpStats.pack(head=head)

    def failed(self, file_id: int, op: str, times: int) -> None:
        key = TallyKey.pack(id=file_id, op=BY_NAME[op].code, kind=TALLY_ERROR, item=errno.EIO)
        self.maps["tallies"][key] = times.to_bytes(8, "little")

    def changed(self) -> List[bytes]:
        """The paths that a snapshot has."""
        return [part.path for part in self.snapshots.take().parts.values()]


@pytest.fixture
def counted() -> Counted:
    made = Counted()
    for file_id in (1, 2, 3):
        made.name(file_id)
        made.opened(file_id)
    return made


def test_the_first_has_everything_and_the_next_what_changed(counted: Counted) -> None:
    assert counted.changed() == [b"/1", b"/2", b"/3"]
    assert counted.changed() == []
    counted.called(2, WRITE, 1)
    assert counted.changed() == [b"/2"]
    assert counted.changed() == []


def test_its_files_are_as_a_profile_has_them(counted: Counted) -> None:
    counted.called(2, WRITE, 4, last=9)
    files = {file.path: file for file in counted.snapshots.take().files()}
    assert (files[b"/1"].opens, files[b"/1"].calls, files[b"/1"].syscalls["open"].calls) == (1, 1, 1)
    assert (files[b"/2"].bytes_written, files[b"/2"].syscalls["write"].calls) == (100, 4)


@pytest.mark.parametrize(
    "happens",
    [
        lambda counted: counted.opened(2, 5),
        lambda counted: counted.called(2, WRITE, 4, last=9),
        lambda counted: counted.failed(2, "close", 1),
        lambda counted: (counted.called(2, WRITE, 5), counted.called(2, READ, 5)),
    ],
    ids=["a state", "an operation", "an error", "two operations alike"],
)
def test_whatever_is_counted_is_a_change(counted: Counted, happens: Callable[[Counted], object]) -> None:
    counted.called(2, WRITE, 4)
    counted.called(2, READ, 4)
    counted.changed()
    happens(counted)
    assert counted.changed() == [b"/2"]


def test_a_part_is_the_one_that_the_profile_would_have(counted: Counted) -> None:
    """With its run in progress, as if tracing ended; and as often as one looks."""
    counted.maps["opens"][OpenKey.pack(file=1, mnt_ns=1)] = OpenFile.pack(id=1, run=(4096, 0))
    counted.called(1, READ, 7, last=5)
    counted.failed(1, "read", 2)
    taken = [part for part in counted.snapshots.take().parts.values() if part.path == b"/1"]
    counted.called(2, READ, 1)
    counted.changed()
    assert taken == [
        file.part(CLOCK) for (file,) in counted.collector.take(*counted.collector.ended()) if file.name.path == b"/1"
    ]
    assert '{"4096":1}' in taken[0].columns


def test_nothing_is_taken_away(counted: Counted) -> None:
    before = {name: dict(table) for name, table in counted.maps.items()}
    counted.changed()
    assert {name: dict(table) for name, table in counted.maps.items()} == before
    assert sorted(counted.names.first) == [1, 2, 3]


def test_a_file_comes_with_its_name(counted: Counted) -> None:
    counted.changed()
    counted.opened(4)
    assert counted.changed() == []
    counted.name(4)
    assert counted.changed() == [b"/4"]


def test_only_wanted_files(counted: Counted) -> None:
    counted.name(4, b"/unwanted")
    counted.opened(4)
    assert b"/unwanted" not in counted.changed()


def test_a_file_that_leaves_is_in_the_next_snapshot_once(counted: Counted) -> None:
    first = counted.snapshots.take()
    (records,) = counted.collector.records(2, counted.collector.rest())
    part = records.part(CLOCK)
    counted.snapshots.leaves(part)
    counted.names.forget(2)
    del counted.maps["states"][(2).to_bytes(8, "little")]
    second, third = counted.snapshots.take(), counted.snapshots.take()
    assert second.parts == {} and second.left == {part.edges.order: part}
    assert part.edges.order in first.parts, "the same file has the same number"
    assert third.left == {}
    assert second.taken_ns >= first.taken_ns
