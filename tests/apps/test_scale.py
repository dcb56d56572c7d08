"""Many processes and many files in one run: what is reported plus what is admitted to be lost is what was done."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Iterator

import pytest

from . import observe
from .traced import Traced, trace

pytestmark = pytest.mark.skipif(observe.missing() is not None, reason=str(observe.missing()))

PROCESSES = 20_000
FILES = 100_000

MANY_FILES = f"""
for directory in range(100):
    os.mkdir(f"d{{directory:02}}")
for number in range({FILES}):
    fd = os.open(f"d{{number % 100:02}}/f{{number}}", RW, 0o644)
    os.write(fd, b"x")
    os.close(fd)
"""


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="scale-", dir=observe.DISK) as directory:
        yield Path(directory)


def total(found: Traced, key: str) -> int:
    """The calls of one kind on the script's own files."""
    below = bytes(found.place) + b"/"
    files = [file for file in found.document["files"] if observe.path_of(file).startswith(below)]
    return sum(file["syscalls"].get(key, {"calls": 0})["calls"] for file in files if not file["path"].endswith(".py"))


def test_short_lived_processes(place: Path) -> None:
    """Two processes beget 10,000 each, one after the other; every child writes to one of 97 files and is gone."""
    found = trace(
        place,
        f"""
        def beget(first):
            for number in range(first, {PROCESSES}, 2):
                pid = os.fork()
                if pid == 0:
                    fd = os.open(f"f{{number % 97}}", RW | os.O_APPEND, 0o644)
                    os.write(fd, bytes(10))
                    os.close(fd)
                    os._exit(0)
                assert os.waitpid(pid, 0)[1] == 0
        pid = os.fork()
        if pid == 0:
            beget(1)
            os._exit(0)
        beget(0)
        assert os.waitpid(pid, 0)[1] == 0
        """,
    )
    assert {key: total(found, key) for key in ("open", "write", "close")} == {
        "open": PROCESSES,
        "write": PROCESSES,
        "close": PROCESSES,
    }
    assert len(found.names) == 97
    assert sum(found[name]["bytes_written"] for name in found.names) == 10 * PROCESSES


def test_many_files_with_room_for_all(place: Path) -> None:
    found = trace(place, MANY_FILES, ["--max-files", str(2 * FILES)])
    assert len(found.names) == FILES
    assert all(total(found, key) == FILES for key in ("open", "write", "close"))


def test_more_files_than_there_is_room_for(place: Path) -> None:
    """Whatever does not fit is counted as lost, call by call."""
    found = trace(place, MANY_FILES, ["--max-files", "1000"], complete=False)
    counted = sum(total(found, key) for key in ("open", "write", "close"))
    lost = found.document["lost"]
    assert lost["events"] == 0
    assert counted + lost["calls"] == 3 * FILES
    assert len(found.names) + lost["files"] >= FILES
