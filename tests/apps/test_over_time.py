"""What files did over time: the intervals add up to the totals of the run, and lie where the workload's own clock has
them."""

from __future__ import annotations

from pathlib import Path
from typing import List

import pytest

from pybpf import features
from tests import needs

from . import workloads
from .aio import PRELUDE
from .compare import disagreements
from .observe import both
from .over_time import MS, added, added_or_lost, check, totals
from .ring import trace_ring
from .traced import trace

pytestmark = needs.root


@pytest.fixture(params=["raw", "perf", "4.14", "fentry"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> List[str]:
    """The options of a way in, with intervals; 4.14: with what that kernel has alone."""
    if request.param == "4.14":
        monkeypatch.setenv("PRETEND_KERNEL", "4.14")
    elif request.param == "fentry" and not features.FEATURES["fentry"].supported():
        needs.impossible("no fentry on system calls")
    return ["--interval", "10ms", *(["--attach", request.param] if request.param in ("perf", "fentry") else [])]


@needs.programs("strace", "sqlite3")
def test_the_intervals_of_an_application_add_up_and_change_nothing(way: List[str], place: Path) -> None:
    found = both(workloads.WORKLOADS["sqlite-wal"].prepare(place), way)
    assert disagreements(found.strace, found.document) == []
    assert max(check(found.document).values()) > 5


def test_requests_and_threads_add_up(way: List[str], place: Path) -> None:
    script = (
        PRELUDE
        + """
fd, context = create("data", 1 << 20), Context()
for turn in range(3):
    assert context.submit(*[request(PREAD, fd, 512, n * 512) for n in range(20)]) == 20
    context.reap(20)
    assert context.one(FSYNC, fd, buffer=0) == 0
    assert context.one(PWRITE, fd, 4096, 0) == 4096
    time.sleep(0.02)
assert context.one(PREAD, fd, 4096, 0, buffer=4096) == -errno.EFAULT

def work():
    for _ in range(2000):
        os.pwrite(fd, b"x", 0)
        os.pread(fd, 100, 0)
    refused(errno.EINVAL, os.pread, fd, 1, -5)
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
os.fsync(fd)
"""
    )
    found = trace(place, script, way)
    check(found.document)
    rows = added(found["data"])
    assert rows[:6] == [8000 + 60 + 5, 8000 * 100 + 60 * 512, 8003, 8000 + 3 * 4096, 4, 5]


def test_requests_of_a_ring_add_up(place: Path) -> None:
    found = trace_ring(
        place,
        """
        fd = create("data", 65536)
        ring, at = Ring(), memory(65536)
        for turn in range(3):
            assert ring.one(READ, fd, at, 4096, 0) == 4096
            assert ring.one(WRITE, fd, at, 512, 0) == 512
            assert ring.one(FSYNC, fd) == 0
            time.sleep(0.02)
        assert ring.one(READ, fd, 8, 4096, 0) == -errno.EFAULT
        """,
        ["--interval", "10ms"],
    )
    check(found.document)
    assert added(found["data"])[:6] == [4, 3 * 4096, 3, 3 * 512, 3, 1]
    assert len(found["data"]["series"]) >= 3


def test_calls_lie_where_the_clock_of_their_process_has_them(way: List[str], place: Path) -> None:
    found = trace(
        place,
        """
        fd, times = create("data"), []
        for turn in range(4):
            before = time.time_ns()
            for _ in range(turn + 1):
                os.write(fd, bytes(1000))
            times.append((before, time.time_ns()))
            time.sleep(0.03)
        say(times)
        """,
        way,
    )
    rows = {row[0]: row for row in found["data"]["series"]}
    begun, left = found.document["started_ns"], dict(rows)
    for turn, (before, after) in enumerate(found.said):
        inside = range((before - begun - MS) // (10 * MS), (after - begun + MS) // (10 * MS) + 1)
        calls = sum(left.pop(number)[3] for number in inside if number in left)
        assert calls == turn + 1
    assert not left


def test_files_that_come_and_go_through_small_tables(way: List[str], place: Path) -> None:
    """Each takes its intervals along; one is there all the time, and comes again under other numbers."""
    found = trace(
        place,
        """
        for number in range(1500):
            for name in (f"once-{number}", "often"):
                fd = os.open(name, RW)
                os.write(fd, bytes(number))
                os.fsync(fd)
                os.close(fd)
        """,
        [*way, "--max-files", "256"],
        complete=False,
    )
    intervals = {
        file["path"]: len(file["series"]) for file in found.document["files"] if added_or_lost(file) == totals(file)
    }
    assert len(intervals) == len(found.document["files"])
    assert intervals[str(place / "often")] > 3
