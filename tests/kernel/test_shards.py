"""Counters of a thread's own: with and without them a profile has the same sums, whoever looks at what time."""

from __future__ import annotations

import os
import threading
from collections import Counter
from pathlib import Path
from typing import Dict, Iterator, Set, Tuple

import pytest

from iotrace.kernel import cache
from programs.counting import shards
from programs.facts.records import OpKey
from tests import needs

from .sessions import RAW, Child, Pause, file_of, finished, histogram
from .test_glances import test_all_glances_together_are_the_profile
from .test_snapshots import test_all_snapshots_together_are_the_profile

__all__ = [
    "test_all_glances_together_are_the_profile",
    "test_all_snapshots_together_are_the_profile",
]  # run once more, with shards

pytestmark = needs.root
THREADS, ROUNDS = 6, 250


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every fourth call makes its thread counters of its own, in programs that no other test finds in a cache."""
    monkeypatch.setattr(shards, "OFTEN", 4)
    monkeypatch.setenv(cache.VARIABLE, "")
    yield


@pytest.fixture
def kernel() -> None:
    """What the tests above ask for: this one."""


Done = Dict[Tuple[int, str], "Counter[int]"]


def share(place: Path) -> Done:
    """Threads that write to and read from three files, each in its own order; the sizes by file and call."""
    fds = [os.open(place / str(number), os.O_RDWR | os.O_CREAT, 0o600) for number in range(3)]
    done: Done = {(number, name): Counter() for number in range(3) for name in ("pread64", "pwrite64")}
    lock = threading.Lock()

    def work(thread: int) -> None:
        mine: Done = {key: Counter() for key in done}
        for turn in range(ROUNDS):
            number = (turn >> thread % 3) % 3
            size = 100 if turn % 5 else 200 + thread % 2
            os.pwrite(fds[number], bytes(size), turn * 512)
            os.pread(fds[number], 512, turn * 512)
            mine[number, "pwrite64"][size] += 1
            mine[number, "pread64"][512] += 1
        with lock:
            for key, sizes in mine.items():
                done[key].update(sizes)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for fd in fds:
        os.close(fd)
    return done


def test_what_threads_count_on_their_own_adds_up(tmp_path: Path) -> None:
    def work(pause: Pause) -> None:
        share(tmp_path)
        pause()

    (tmp_path / "again").mkdir()
    expected = share(tmp_path / "again")  # which thread makes which calls does not depend on anything
    with Child(work) as child, RAW.session() as session:
        session.trace_process(child.pid, follow=True)
        child.step()
        owners: Dict[Tuple[int, int], Set[int]] = {}
        for raw, _ in session.loaded.maps["shards"].items():
            key = OpKey.unpack(raw)
            owners.setdefault((key["id"], key["op"]), set()).add(key["piece"])
        assert len(owners) == len(expected) and max(map(len, owners.values())) == THREADS
        child.end()
        profile = finished(session)
    for (number, name), sizes in expected.items():
        call = file_of(profile, tmp_path / str(number)).syscalls[name]
        assert call.calls == sum(sizes.values()) == sum(call.latency_ns.values())
        assert call.requested == histogram(list(sizes.elements()))
        assert (call.common_sizes, call.common_sizes_error) == (dict(sizes), 0)
        if name == "pwrite64":
            assert call.bytes == sum(size * count for size, count in sizes.items())
            assert call.completed == call.requested
        assert call.latency_max_ns <= call.latency_sum_ns
