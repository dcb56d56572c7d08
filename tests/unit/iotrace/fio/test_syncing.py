"""fsync=N from numbers of writes and of syncs."""

from __future__ import annotations

import pytest

from iotrace.fio import syncing
from iotrace.fio.model import Load
from iotrace.profile.metrics import FileStats, SyscallStats


def load(writes: int, syncs: int, unsynced: int, name: str = "fsync") -> Load:
    found = Load(())
    found.add(
        FileStats(
            1,
            b"/log",
            bytes_written=writes,
            bytes_synced=writes - unsynced,
            bytes_unsynced=unsynced,
            bytes_between_syncs={1: syncs},
            syscalls={"write": SyscallStats(writes, writes, completed={1: writes}), name: SyscallStats(syncs)},
        )
    )
    return found


@pytest.mark.parametrize("every", [1, 2, 7, 16])
@pytest.mark.parametrize("writes", [64, 100, 512])
def test_what_fio_does_is_what_it_is_told(writes: int, every: int) -> None:
    """fio syncs after so many writes, but not after the last."""
    (pace,) = syncing.paces(load(writes, (writes - 1) // every, 1), writes, divisible=True)
    assert (writes - 1) // pace.every == (writes - 1) // every and not pace.at_the_end


def test_a_sync_in_the_end() -> None:
    (pace,) = syncing.paces(load(100, 10, 0), 100, divisible=True)
    assert (pace.every, pace.at_the_end, pace.expected) == (10, True, 10)
    (pace,) = syncing.paces(load(100, 1, 0), 100, divisible=True)
    assert (pace.every, pace.at_the_end, pace.expected) == (0, True, 1)


def test_between_two_whole_numbers_there_are_two_jobs() -> None:
    paces = syncing.paces(load(300, 200, 0), 300, divisible=True)
    assert [pace.every for pace in paces] == [1, 2]
    assert sum(pace.writes for pace in paces) == 300
    assert abs(sum(pace.expected for pace in paces) - 200) <= 2
    assert len(syncing.paces(load(300, 200, 0), 300, divisible=False)) == 1


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("fsync", "fsync"),
        ("fdatasync", "fdatasync"),
        ("aio_fdsync", "fdatasync"),
        ("sync_file_range", "sync_file_range"),
    ],
)
def test_options(name: str, option: str) -> None:
    assert syncing.option_of(load(10, 2, 1, name)) == option
