"""Copies of programs for kernels that skip one that was preempted (7.2): a call is counted once, whatever goes on.

This kernel skips none, so that each copy runs for every call, right behind the program that has dealt with it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernel.sessions import Form, file_of, nothing_lost

WRITES, SYNCS, FORKS = 30_000, 2000, 1500

WRITER = """
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
for number in range(int(sys.argv[2])):
    os.write(fd, b"x")
for number in range(int(sys.argv[3])):
    os.fsync(fd)
"""


def work(place: Path) -> None:
    """A process writes while others, of which each begins a new generation of targets, come and go."""
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(place), str(WRITES), str(SYNCS)])
    forks = 0
    while writer.poll() is None or forks < FORKS:
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        forks += 1
    assert writer.returncode == 0


@pytest.mark.parametrize("way", ["raw", "perf", "light"])
def test_targets_that_change_during_a_call(way: str, tmp_path: Path) -> None:
    """A copy that looked at the thread anew forgot the mount namespace of the call, which was another file's then."""
    place = tmp_path / "file"
    profile = Form(way, spares=3).trace(lambda: work(place))
    assert nothing_lost(profile)
    rows = [
        (
            file.mnt_ns,
            file.opens,
            {name: file.syscalls[name].calls for name in ("write", "fsync") if name in file.syscalls},
        )
        for file in profile.files
        if file.path == os.fsencode(place)
    ]
    assert rows == [(os.stat("/proc/self/ns/mnt").st_ino, 1, {"write": WRITES, "fsync": SYNCS})]


def write_together(place: Path) -> None:
    """Processes write to one file at the same time."""
    program = "import os, sys; fd = os.open(sys.argv[1], os.O_WRONLY); [os.write(fd, b'x') for _ in range(20_000)]"
    place.touch()
    writers = [subprocess.Popen([sys.executable, "-c", program, str(place)]) for _ in range(4)]
    assert [writer.wait() for writer in writers] == [0] * 4


def test_threads_whose_stacks_have_one_mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mark may be another thread's by the time that a copy looks at it: the call is dealt with for all that."""
    monkeypatch.setattr("programs.way.stacks.STACKS", 1)
    place = tmp_path / "file"
    profile = Form("light", spares=3).trace(lambda: write_together(place))
    assert nothing_lost(profile)
    file = file_of(profile, place)
    assert (file.syscalls["write"].calls, file.bytes_written) == (80_000, 80_000)
