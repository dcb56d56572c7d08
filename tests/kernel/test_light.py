"""Runs whose data calls have no program at their entry: which of them are timed, and who is at the file position."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
from collections import Counter
from pathlib import Path
from typing import Callable, List
from typing import Counter as Counts

import pytest

from tests import needs
from tests.kernel.sessions import LIGHT, RAW, Child, Form, Profile, file_of, finished, nothing_lost

pytestmark = needs.root

F_SETPIPE_SZ, PIPE = 1031, 4096
THREADS, SHORT = 24, 3  # short calls for each long one
ROUNDS = 12
LONG = 0.03  # seconds that such a call waits for room in a pipe: longer than a window
ENOUGH, TRIES = 60, 8  # calls that were timed, to tell shares by


def together(works: List[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def mixed(path: Path) -> None:
    """Of the calls of each thread one in SHORT + 1 takes longer than a window: sendfile to a pipe that is full."""

    def work() -> None:
        fd = os.open(path, os.O_RDONLY)
        reading, writing = os.pipe()
        fcntl.fcntl(writing, F_SETPIPE_SZ, PIPE)
        for _ in range(ROUNDS):
            for _ in range(SHORT):
                assert os.sendfile(writing, fd, 0, 100) == 100
                os.read(reading, PIPE)
            os.write(writing, bytes(PIPE))
            room = threading.Timer(LONG, os.read, (reading, PIPE))
            room.start()
            assert os.sendfile(writing, fd, 0, 100) == 100
            room.join()
            os.read(reading, PIPE)

    together([work] * THREADS)


def watched(work: Callable[[], None]) -> Profile:
    """The profile of a child that does the work, while the session opens and closes windows."""
    with Child(lambda _pause: work()) as child, LIGHT.session() as session:
        session.trace_process(child.pid, follow=True)
        ends = threading.Thread(target=child.end)
        ends.start()
        while ends.is_alive():
            session.step(0.05)
        return finished(session)


def test_long_calls_are_timed_as_often_as_short_ones(tmp_path: Path) -> None:
    """If a call had to begin and end in a window no long one would be; if it had to be under way, nearly only those.

    A quarter of the calls is long: of 60 that were timed, five standard deviations are 0.28.
    """
    path = tmp_path / "data"
    path.write_bytes(bytes(4096))
    found: Counts[int] = Counter()
    for _ in range(TRIES):
        call = file_of(watched(lambda: mixed(path)), path).syscalls["sendfile_read"]
        assert call.calls == THREADS * ROUNDS * (SHORT + 1) == sum(call.latency_ns.values()) + call.untimed_calls
        found.update(call.latency_ns)
        if sum(found.values()) >= ENOUGH:
            break
    timed = sum(found.values())
    assert timed >= ENOUGH
    long = sum(count for lower, count in found.items() if lower >= LONG * 0.8e9)
    assert 0 < long / timed < 0.25 + 0.28


@pytest.mark.parametrize("form", [RAW, LIGHT], ids=["raw", "light"])
def test_runs_of_threads_that_share_a_descriptor_end_where_one_seeks(form: Form, tmp_path: Path) -> None:
    """Two threads write in turn, 30 times each, and one seeks before its turns 9, 19 and 29, counted from 0."""
    path = tmp_path / "data"

    def work() -> None:
        fd = os.open(path, os.O_RDWR | os.O_CREAT)
        turns = [threading.Semaphore(1), threading.Semaphore(0)]

        def write(number: int) -> None:
            for count in range(30):
                turns[number].acquire()
                if number == 0 and count % 10 == 9:
                    os.lseek(fd, 4096, os.SEEK_CUR)
                os.write(fd, bytes(100))
                os.lseek(fd, 0, os.SEEK_CUR)
                turns[1 - number].release()

        together([lambda: write(0), lambda: write(1)])

    profile = form.trace(work)
    file = file_of(profile, path)
    assert nothing_lost(profile)
    assert file.sequential_write == {1024: 3, 128: 1}  # of 18, 20, 20 and 2 writes
    assert file.highest_offset == 60 * 100 + 3 * 4096 - 1
    assert file.rewrites == 0


def test_what_returns_its_own_number_is_counted_whatever_signal_is_on_its_way(tmp_path: Path) -> None:
    """A read of nothing, a write of one byte: so much seems to return what a filter has made a SIGSYS of (x86_64)."""
    path, calls = tmp_path / "data", 10000

    def work() -> None:
        fd = os.open(path, os.O_RDWR | os.O_CREAT)
        signal.signal(signal.SIGALRM, lambda _number, _frame: None)
        signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.0001)
        for _ in range(calls):
            assert os.write(fd, b"x") == 1
            assert os.read(fd, 100) == b""
        signal.setitimer(signal.ITIMER_REAL, 0)

    found = file_of(LIGHT.trace(work), path).syscalls
    assert (found["read"].calls, found["write"].calls) == (calls, calls)
