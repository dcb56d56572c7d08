"""Glances at real runs: together they are what the profile has, also of files that were moved to it meanwhile."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Dict, Iterator, List, Tuple

import pytest

from iotrace.profile import reader
from iotrace.profile.target import Target
from iotrace.profile.writer import Writer
from iotrace.tracing.glances import CALLS, Change, latency_histogram
from iotrace.tracing.session import Session, Settings
from pybpf import features

FILES, ROUNDS, ROOM = 400, 10, 256
CALLS_MADE = 2 * (FILES * 7 + FILES // 10) + ROUNDS * 2 + FILES


KERNELS = {"this kernel": None, "one without batches": (5, 3), "records in parts": (4, 17)}


@pytest.fixture(params=list(KERNELS.values()), ids=list(KERNELS))
def kernel(request: pytest.FixtureRequest) -> Iterator[None]:
    features.pretend(request.param)
    yield
    features.pretend(None)


def work(place: Path, turn: int) -> None:
    """One turn of several: some files every time, others once, with reads that fail."""
    held = os.open(place / "held", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number in range(turn * FILES // ROUNDS, (turn + 1) * FILES // ROUNDS):
        for name in (f"once-{number}", f"often-{number % 3}"):
            fd = os.open(place / name, os.O_WRONLY | os.O_CREAT, 0o600)
            os.write(fd, bytes(512))
            with contextlib.suppress(OSError):
                os.read(fd, 10)
            if number % 10 == 0:
                os.fsync(fd)
            os.close(fd)
            fd = os.open(place / name, os.O_RDONLY)
            os.pread(fd, 4096, 0)
            os.close(fd)
        os.write(held, b"x" * number)
    os.close(held)


Sums = Dict[Tuple[bytes, bytes], List[int]]


def add(sums: Sums, changes: List[Change]) -> None:
    for change in changes:
        who = change.place.who
        key = (change.place.path, b"" if who is None else who.word)
        before = sums.setdefault(key, [0] * 6)
        before[:] = map(sum, zip(before, change.counts))


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("by", ["", "process"])
def test_all_glances_together_are_the_profile(tmp_path: Path, by: str) -> None:
    sums: Sums = {}
    held = moved = 0
    (tmp_path / "data").mkdir()
    below = os.fsencode(tmp_path / "data") + b"/"

    def look() -> None:
        nonlocal held
        glance = session.glance()
        add(sums, glance.changes)
        assert glance.lost == 0
        for change in glance.changes:
            if change.place.path == below + b"held":
                held += sum(latency_histogram(change.latencies, change.slow).values())

    with Session(Settings(max_files=ROOM, by=by)) as session:
        session.watch()
        session.attach()
        session.trace_process(os.getpid(), follow=False)
        session.write_to(Writer(Target(tmp_path / "profile")))
        for turn in range(ROUNDS):
            work(tmp_path / "data", turn)
            if turn % 2:
                look()
            while session.step(0):
                pass
        session.stop()
        look()
        moved = FILES - session.files()
        session.finish()
    assert moved > 0
    assert 0 < held <= FILES, "of what has moved to the profile there are no latencies"
    with reader.open(tmp_path / "profile") as profile:
        expected = {}
        for file in profile.files():
            if file.path.startswith(below):
                syncs = sum(call.calls for name, call in file.syscalls.items() if name == "fsync")
                errors = sum(sum(call.errors.values()) for call in file.syscalls.values())
                busy = sum(call.latency_sum_ns for call in file.syscalls.values())
                counts = [file.calls, file.bytes_read, file.bytes_written, syncs, errors, busy]
                expected[file.path, b"" if file.who is None else file.who.word] = counts
    assert {key: found for key, found in sums.items() if key[0].startswith(below)} == expected
    assert len(expected) == FILES + 4 and sum(row[CALLS] for row in expected.values()) == CALLS_MADE
