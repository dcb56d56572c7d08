"""Sums of files and headers; `test_metrics` holds them to the table, `test_writer` adds up what was cut."""

from __future__ import annotations

from iotrace.profile.merge import add_files, add_headers
from iotrace.profile.metrics import FileStats, Header, SyscallStats


def _file(calls: int, last: int) -> FileStats:
    call = SyscallStats(calls, 10 * calls, last - 5, last, {"EIO": 1}, {16: calls}, {8: calls}, {512: calls})
    return FileStats(1, b"/a", opens=calls, last_read_ns=last, syscalls={"read": call})


def test_merging_adds_counts_and_widens_times_and_extents() -> None:
    early, late = _file(2, 100), _file(3, 200)
    early.first_read_ns, early.lowest_offset, early.highest_offset = 90, 5, 9
    early.inode, early.incarnations, early.mapped = 7, 3, True
    late.lowest_offset, late.inode, late.deleted, late.sequential_read = 0, 8, True, {64: 1}
    for a, b in ((early, late), (late, early)):
        merged = add_files(a, b)
        assert (merged.opens, merged.first_read_ns, merged.last_read_ns) == (5, 90, 200)
        assert (merged.lowest_offset, merged.highest_offset) == (0, 9)
        assert (merged.inode, merged.deleted, merged.mapped, merged.incarnations) == (8, True, True, 3)
        assert merged.sequential_read == {64: 1}
        assert merged.syscalls["read"] == SyscallStats(5, 50, 95, 200, {"EIO": 2}, {16: 5}, {8: 5}, {512: 5})


def test_of_two_files_without_times_the_second_is_the_later() -> None:
    assert add_files(FileStats(1, b"/a", inode=1), FileStats(1, b"/a", inode=2)).inode == 2


def test_a_system_call_that_only_one_file_saw_stays() -> None:
    opened = FileStats(1, b"/a", syscalls={"open": SyscallStats(2)})
    assert list(add_files(_file(1, 5), opened).syscalls.items()) == [
        ("open", SyscallStats(2)),
        ("read", _file(1, 5).syscalls["read"]),
    ]


def test_the_sum_shares_nothing_with_what_was_added() -> None:
    a, b = _file(1, 5), FileStats(1, b"/a")
    total = add_files(a, b)
    total.syscalls["read"].requested[16] = 100
    total.sequential_read[1] = 1
    assert (a, b) == (_file(1, 5), FileStats(1, b"/a"))


def test_headers_add_losses_and_name_what_differs() -> None:
    a = Header(
        host="one",
        started_ns=5,
        ended_ns=9,
        command=[b"x"],
        lost={"events": 1, "files": 0, "calls": 2},
        coverage={"aio": "full", "io_uring": "none"},
        unattributed={"read": {"EBADF": 3}},
    )
    b = Header(
        host="two",
        started_ns=7,
        ended_ns=20,
        command=[b"y"],
        lost={"events": 4, "files": 1, "calls": 0},
        coverage={"aio": "full", "io_uring": "full"},
        unattributed={"read": {"EBADF": 4, "EIO": 1}},
    )
    both = add_headers(a, b)
    assert (both.host, both.started_ns, both.ended_ns, both.command) == ("one / two", 5, 20, [])
    assert both.lost == {"events": 5, "files": 1, "calls": 2}
    assert both.coverage == {"aio": "full", "io_uring": "none / full"}
    assert both.unattributed == {"read": {"EBADF": 7, "EIO": 1}}
    assert add_headers(both, b).host == "one / two"
