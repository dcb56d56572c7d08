"""Processes as /proc shows them: names, descent, threads."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Dict, Iterator, List, Tuple

import pytest

from iotrace.tracing import processes


@pytest.fixture
def family() -> Iterator[List[int]]:
    """The numbers of a shell, its child and its grandchild, all asleep."""
    script = "sh -c 'sleep 1000 & echo $!; wait' & echo $!; wait"
    shell = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True)
    assert shell.stdout is not None
    pids = [shell.pid, *sorted(int(shell.stdout.readline()) for _ in range(2))]
    yield pids
    os.killpg(shell.pid, signal.SIGKILL)
    shell.wait()
    shell.stdout.close()


def test_descendants(family: List[int]) -> None:
    shell, child, grandchild = family
    assert sorted(processes.descendants([shell])) == [child, grandchild]
    assert processes.descendants([child]) == [grandchild]
    assert processes.descendants([grandchild]) == []
    assert sorted(processes.descendants([shell, child])) == [child, grandchild]
    assert set(family) <= set(processes.names())


def test_names_and_life(family: List[int]) -> None:
    assert processes.comm(family[0]) == b"sh"
    assert processes.alive(family[0])


def test_a_zombie_is_not_alive() -> None:
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not processes.alive(child.pid)
    assert processes.thread_group(child.pid) == child.pid
    child.wait()
    assert not processes.alive(child.pid)
    assert processes.thread_group(child.pid) is None and processes.comm(child.pid) is None


def test_a_name_full_of_traps(tmp_path: Path) -> None:
    """The fields of /proc/PID/stat stand behind a name that may hold anything, brackets and spaces too."""
    trap = tmp_path / "a) Z 1 (b"
    trap.symlink_to("/bin/sleep")
    child = subprocess.Popen([str(trap), "1000"])
    try:
        while processes.comm(child.pid) != b"a) Z 1 (b":
            assert child.poll() is None
        assert processes.alive(child.pid)
        assert child.pid in processes.descendants([os.getpid()])
    finally:
        child.kill()
        child.wait()


def test_a_thread_belongs_to_its_process() -> None:
    numbers: List[int] = []
    done = threading.Event()

    def work() -> None:
        numbers.append(threading.get_native_id())
        done.wait()

    thread = threading.Thread(target=work)
    thread.start()
    while not numbers:
        pass
    assert numbers[0] != os.getpid()
    assert processes.thread_group(numbers[0]) == os.getpid()
    done.set()
    thread.join()


def test_a_call_that_a_thread_waits_in() -> None:
    numbers: List[int] = []
    out, into = os.pipe()

    def work() -> None:
        numbers.append(threading.get_native_id())
        os.read(out, 4097)

    thread = threading.Thread(target=work)
    thread.start()
    found: Dict[int, Tuple[int, List[int]]] = {}
    deadline = time.monotonic() + 60
    while not numbers or found.get(numbers[0], (0, [0, 0, 0]))[1][2] != 4097:
        assert time.monotonic() < deadline, found
        found = {tid: (number, words) for tid, number, words in processes.under_way(os.getpid())}
    os.write(into, b"x")
    thread.join()
    number, words = found[numbers[0]]
    assert number == {"x86_64": 0, "aarch64": 63}[os.uname().machine]  # read
    assert words[0] == out
    assert numbers[0] not in [tid for tid, _, _ in processes.under_way(os.getpid())]
    assert list(processes.under_way(1 << 22)) == []  # beyond the greatest process id
