"""Snapshots of real runs: together they are the profile, and the profile is the same with and without them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import pytest

from iotrace.profile import reader
from iotrace.profile.metrics import FileStats, Header
from iotrace.profile.parts import Part
from iotrace.profile.target import Target
from iotrace.profile.writer import Writer
from iotrace.tracing.session import Session, Settings
from pybpf import features

FILES, ROUNDS, ROOM = 200, 10, 64


@pytest.fixture(params=[None, (5, 3)], ids=["this kernel", "one without batches"], autouse=True)
def kernel(request: pytest.FixtureRequest) -> Iterator[None]:
    features.pretend(request.param)
    yield
    features.pretend(None)


def work(place: Path, turn: int) -> None:
    """One turn of several: some files every time, others once; one is open throughout its writes."""
    held = os.open(place / "held", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number in range(turn * FILES // ROUNDS, (turn + 1) * FILES // ROUNDS):
        for name in (f"once-{number}", f"often-{number % 3}"):
            fd = os.open(place / name, os.O_RDWR | os.O_CREAT, 0o600)
            for block in range(number % 7):
                os.pwrite(fd, bytes(512 << number % 4), block * 512)
                os.pread(fd, 4096, 0)
            os.fsync(fd)
            os.close(fd)
            os.write(held, b"x" * number)
    os.close(held)


def files_of(place: Path, parts: List[Part]) -> List[FileStats]:
    """What a profile makes of parts."""
    with Writer(Target(place / "parts", force=True)) as writer:
        for part in parts:
            writer.add(part)
        writer.finish(Header(interval_ns=10_000_000))
    with reader.open(place / "parts") as profile:
        return list(profile.files("path"))


def trace(place: Path, *, snapshots: bool) -> Tuple[List[FileStats], List[Part], List[int]]:
    """The profile's files, the last part of each file that snapshots had, and how many each of them had.

    There is room for fewer files than there are, so that they are moved to the profile meanwhile.
    """
    with Session(Settings(max_files=ROOM, interval=10_000_000)) as session:
        return _trace(session, place, snapshots)


def _trace(session: Session, place: Path, snapshots: bool) -> Tuple[List[FileStats], List[Part], List[int]]:
    latest: Dict[int, Part] = {}
    sizes: List[int] = []
    left = 0

    def look() -> None:
        nonlocal left
        found = session.snapshot()
        latest.update({**found.parts, **found.left})
        sizes.append(len(found.parts) + len(found.left))
        left += len(found.left)

    data = place / "data"
    data.mkdir()
    session.attach()
    session.trace_process(os.getpid(), follow=False)
    session.write_to(Writer(Target(place / "profile", force=True)))
    for turn in range(ROUNDS):
        work(data, turn)
        while session.step(0):
            if snapshots:
                look()
        if snapshots:
            look()
    session.stop()
    if snapshots:
        look()
        assert left, "no file has been moved to the profile"
    session.finish()
    with reader.open(place / "profile") as profile:
        assert not any(profile.header.lost.values())
        return list(profile.files("path")), list(latest.values()), sizes


def chosen(files: List[FileStats], place: Path) -> List[FileStats]:
    """Those below a directory: iotrace's own are counted as well, as it traces itself here."""
    return [file for file in files if file.path.startswith(os.fsencode(place) + b"/")]


def test_all_snapshots_together_are_the_profile(tmp_path: Path) -> None:
    files, parts, sizes = trace(tmp_path, snapshots=True)
    wanted = chosen(files, tmp_path / "data")
    assert len(wanted) == FILES + 4
    known = [replace(file, state=None) for file in wanted]  # what paths lead to is asked when tracing ends
    assert [replace(file, state=None) for file in chosen(files_of(tmp_path, parts), tmp_path / "data")] == known
    assert all(file.series for file in wanted if file.bytes_written), "what files did over time is part of it"
    assert not [file.path for file in wanted if any(row[0] is None for row in file.series)]
    assert {file.state for file in wanted} == {"present"}
    assert max(sizes[1:]) < len(wanted), "the ones that did not change are left out"


def test_a_profile_is_the_same_with_and_without_snapshots(tmp_path: Path) -> None:
    def counts(file: FileStats, place: Path) -> FileStats:
        """Without what differs from run to run: the inode, times, and of very many sizes which are known to be the most
        frequent, as that depends on when a file is moved to the profile."""
        calls = {
            name: replace(
                call,
                latency_ns={0: sum(call.latency_ns.values())},
                latency_sum_ns=0,
                latency_max_ns=0,
                first_ns=None,
                last_ok_ns=None,
                common_sizes={} if call.common_sizes_error else call.common_sizes,
                common_sizes_error=0,
            )
            for name, call in file.syscalls.items()
        }
        differing: Dict[str, Any] = dict.fromkeys(
            ("first_read_ns", "last_read_ns", "first_write_ns", "last_write_ns", "last_sync_ns")
        )
        relative = os.path.relpath(file.path, os.fsencode(place))
        differing["series"] = [sum(column) for column in list(zip(*file.series))[1:-1]]  # not when, nor how long
        return replace(file, path=relative, inode=0, syscalls=calls, **differing)

    found = []
    for snapshots in (False, True):
        place = tmp_path / str(snapshots)
        place.mkdir()
        files = chosen(trace(place, snapshots=snapshots)[0], place / "data")
        found.append([counts(file, place) for file in files])
    assert found[0] == found[1] and len(found[0]) == FILES + 4
