"""Reads, writes and syncs of groups of files."""

from __future__ import annotations

import pytest

from iotrace.profile import activity
from iotrace.profile.metrics import FileStats, SyscallStats

KIB = 1024


def calls(number: int, size: int, **more: object) -> SyscallStats:
    """As many calls that moved as many bytes each as they were asked for, a power of two."""
    values = {"requested": {size: number}, "completed": {size: number}, "common_sizes": {size: number}, **more}
    return SyscallStats(number, number * size, **values)  # type: ignore[arg-type]


def test_calls_add_up_by_direction() -> None:
    file = FileStats(
        1,
        b"/f",
        opens=1,
        bytes_synced=3,
        bytes_unsynced=4,
        bytes_between_syncs={2: 1},
        syscalls={
            "read": calls(2, KIB),
            "pread64": SyscallStats(3, 100, errors={"EIO": 1}, requested={KIB: 3}, completed={64: 1, 0: 1}),
            "write": calls(5, 8),
            "fsync": SyscallStats(7, errors={"EIO": 2}, latency_ns={64: 5}, latency_sum_ns=400),
            "open": SyscallStats(1, latency_ns={64: 1}, latency_sum_ns=70),
            "from_the_future": SyscallStats(1),
        },
    )
    found = activity.of_files([file, file])
    assert (found.files, found.opens) == (2, 2)
    assert (found.read.calls, found.read.bytes, found.read.errors, found.read.zero) == (10, 4296, 2, 2)
    assert (found.read.moved, found.written.moved) == (6, 10)
    assert found.read.requested == {KIB: 10} and found.read.completed == {KIB: 4, 64: 2, 0: 2}
    assert (found.written.calls, found.written.bytes) == (10, 80)
    assert (found.syncs.calls, found.syncs.errors, found.syncs.bytes, found.syncs.unsynced) == (14, 4, 6, 8)
    assert found.syncs.between == {2: 2} and found.syncs.latencies.total == 800
    assert found.lifetime.total == 140 and found.busy_ns == 940
    assert found.errors == {"EIO": 6}
    assert found.calls["from_the_future"] == 2 and sum(found.calls.values()) == 38


@pytest.mark.parametrize(
    ("opens", "transfers", "runs", "random"),
    [
        (1, 100, 1, 0.0),  # from the beginning to the end
        (1, 100, 100, 0.99),  # the first one has nothing before it
        (0, 100, 100, 0.99),  # the same, opened before tracing
        (100, 100, 100, 0.0),  # opened for each
        (1, 100, 51, 0.5),
        (2, 0, 0, 0.0),
    ],
)
def test_what_is_random(opens: int, transfers: int, runs: int, random: float) -> None:
    syscalls = {"read": calls(transfers, KIB)} if transfers else {}
    histogram = {KIB: runs} if runs else {}
    file = FileStats(1, b"/f", opens=opens, syscalls=syscalls, sequential_read=histogram)
    assert activity.of_files([file]).read.random == random


def test_opens_are_shared_by_both_directions() -> None:
    """Ten opens, half of what went through them were reads, each at another place: five of them came first."""
    file = FileStats(
        1,
        b"/f",
        opens=10,
        syscalls={"read": calls(50, KIB), "write": calls(50, KIB)},
        sequential_read={KIB: 50},
        sequential_write={50 * KIB: 1},
    )
    found = activity.of_files([file])
    assert (found.read.jumps, found.written.jumps) == (45, 0)


@pytest.mark.parametrize(
    ("requested", "completed", "errors", "short"),
    [
        ({KIB: 10}, {KIB: 10}, 0, 0),
        ({KIB: 10}, {KIB: 8, 64: 2}, 0, 2),
        ({KIB: 10}, {KIB: 9, 0: 1}, 0, 0),  # the end of the file
        ({KIB: 10}, {KIB: 9}, 1, 0),  # an error
        ({KIB: 10, 64: 10}, {KIB: 5, 64: 10, 8: 5}, 0, 5),
        ({0: 3}, {0: 3}, 0, 0),
    ],
)
def test_short_transfers(requested: dict[int, int], completed: dict[int, int], errors: int, short: int) -> None:
    number = sum(requested.values())
    call = SyscallStats(number, errors={"EIO": errors} if errors else {}, requested=requested, completed=completed)
    assert activity.of_files([FileStats(1, b"/f", syscalls={"read": call})]).read.short == short


def test_sizes_say_how_many_are_not_known() -> None:
    one = SyscallStats(10, requested={KIB: 10}, common_sizes={KIB: 7}, common_sizes_error=2)
    two = SyscallStats(10, requested={KIB: 4, 1: 6}, common_sizes={KIB: 4, 1: 6})
    sizes = activity.of_files([FileStats(1, b"/f", syscalls={"read": one, "pread64": two})]).read.sizes
    assert (sizes.total, sizes.missing) == (20, 5)
    assert sizes.most_frequent(1) == [(KIB, 11)] and sizes.most_frequent(9) == [(KIB, 11), (1, 6)]


@pytest.mark.parametrize(("brought", "ahead", "share"), [(0, 0, 0.0), (5, 5, 0.5), (10, 0, 1.0), (40, 30, 1.0)])
def test_what_comes_from_storage(brought: int, ahead: int, share: float) -> None:
    """What was read ahead serves later reads; more than was read is all of it."""
    call = SyscallStats(
        2,
        10,
        storage_bytes=brought,
        readahead_bytes=ahead,
        latency_ns={64: 1, 4096: 1},
        storage_latency_ns={4096: 1},
        latency_max_ns=5000,
    )
    read = activity.of_files([FileStats(1, b"/f", syscalls={"read": call})]).read
    assert read.from_storage == share
    assert read.missed.histogram == {4096: 1} and read.cached.histogram == {64: 1}
