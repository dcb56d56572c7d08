"""Rows apart by who did the I/O, and intervals, where it gets tight: every kind of request, files that come and go
through small tables, tables that are full. What rows and intervals add up to is what the run has without them."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, Dict, List

import pytest

from tests import needs
from tests.vm import guest, requests

from . import observe, workloads
from .compare import disagreements
from .observe import both, both_by_selector
from .over_time import added_or_lost, check, totals
from .traced import trace

pytestmark = needs.root

APART = ["--by", "process", "--interval", "10ms"]


@pytest.fixture
def apart(way: List[str]) -> List[str]:
    return [*way, *APART]


CHEAP = ("compileall", "dd", "git-work", "logrotate", "nginx-read", "nginx-sendfile", "rsync", "sqlite-wal")


@needs.programs("strace")
@pytest.mark.parametrize("name", CHEAP)
def test_applications_have_the_same_in_rows_apart(name: str, place: Path) -> None:
    """As strace has it, which knows nothing of rows."""
    absent = workloads.missing(name)
    if absent:
        needs.missing(" ".join(absent))
    found = both(workloads.WORKLOADS[name].prepare(place), APART)
    assert disagreements(found.strace, found.document) == []
    check(found.document)
    assert all(list(file["who"]) == ["process"] for file in found.document["files"])


@needs.programs("strace")
@pytest.mark.parametrize("name", ["git-clone", "postgresql"])
def test_processes_of_applications_by_number(name: str, place: Path) -> None:
    absent = workloads.missing(name)
    if absent:
        needs.missing(" ".join(absent))
    command = workloads.WORKLOADS[name].prepare(place)
    found = both_by_selector(command, lambda pid: ["--pid", str(pid), "--follow", *APART])
    assert disagreements(found.strace, found.document) == []
    check(found.document)


def test_every_kind_of_request(apart: List[str], place: Path) -> None:
    """All scripts of Linux AIO and io_uring, in one run."""
    work = [sys.executable, "-B", str(Path(guest.__file__))]
    for family in requests.FAMILIES:
        (place / family).mkdir()
        work += ["--work", family]
    command = observe.iotrace("run", "-q", *apart, "-o", str(place / "p"), "--", *work)
    subprocess.run(command, cwd=place, check=True)
    document = observe.export(place / "p")
    verdicts = {family: requests.judge(family, place / family, document) for family in requests.FAMILIES}
    old = os.environ.get("PRETEND_KERNEL") == "4.14"
    worst = {"incomplete"} if old else set()  # as a call carries fewer requests where programs are longer
    assert {status for status, _ in verdicts.values()} <= {"ok", "impossible", *worst}, verdicts
    check(document)


def by_path(document: Dict[str, Any], place: Path) -> Dict[str, List[Dict[str, Any]]]:
    """The rows of the files of a directory, by name."""
    found: Dict[str, List[Dict[str, Any]]] = {}
    for file in document["files"]:
        if file["path"].startswith(f"{place}/"):
            found.setdefault(file["path"][len(str(place)) + 1 :], []).append(file)
    return found


# Two processes by turns, so that what is what is known by arithmetic.
BY_TURNS = """
def called(name):
    libc.prctl(15, name, 0, 0, 0)

def two(work, *arguments):
    called(b"one")
    work(*arguments, 1)
    def other():
        called(b"two")
        work(*arguments, 2)
    child(other)
    called(b"one")
"""


def calls(row: Dict[str, Any]) -> int:
    return sum(call["calls"] for name, call in row["syscalls"].items() if name not in ("open", "close"))


def test_files_that_come_and_go_through_small_tables(apart: List[str], place: Path) -> None:
    found = trace(
        place,
        BY_TURNS
        + textwrap.dedent(
            """
        def some(start, factor):
            for number in range(start, start + 40):
                for name in (f"once-{number}", "often"):
                    fd = os.open(name, RW, 0o644)
                    os.pwrite(fd, bytes(10 * factor), 0)
                    os.pread(fd, 5, 0)
                    os.close(fd)
            time.sleep(0.02)  # slow enough for any machine
        for turn in range(20):
            two(some, 40 * turn)
        """
        ),
        [*apart, "--max-files", "4096"],
    )
    check(found.document)
    files = by_path(found.document, place)
    often = {row["who"]["process"]: row for row in files["often"]}
    assert {who: (row["bytes_written"], calls(row)) for who, row in often.items()} == {
        "one": (8_000, 1600),
        "two": (16_000, 1600),
    }
    assert sum(row["rewrites"] for row in often.values()) == 1599
    for number in range(800):
        rows = {row["who"]["process"]: row for row in files[f"once-{number}"]}
        assert {who: (row["bytes_written"], calls(row)) for who, row in rows.items()} == {
            "one": (10, 2),
            "two": (20, 2),
        }
        assert [rows[who]["rewrites"] for who in ("one", "two")] == [0, 1]


def test_full_tables(apart: List[str], place: Path) -> None:
    """Nothing can move, as all is open: what has no room is lost, and counted, and the rest adds up."""
    found = trace(
        place,
        BY_TURNS
        + textwrap.dedent(
            """
        fds = [create(f"f{number}") for number in range(60)]
        def all_of_them(factor):
            for fd in fds:
                for _ in range(factor):
                    os.pwrite(fd, bytes(100), 0)
        two(all_of_them)
        for fd in fds:
            os.fsync(fd)
        """
        ),
        [*apart, "--max-files", "24"],
        complete=False,
    )
    rows = [row for files in by_path(found.document, place).values() for row in files if row["opens"] or calls(row)]
    made = {"one": 2, "two": 2}  # calls on each file, with the sync
    assert all(calls(row) <= made[row["who"]["process"]] for row in rows if row["path"] != str(place / "workload.py"))
    counted = sum(calls(row) for row in rows)
    assert 0 < counted < 60 * 4 <= counted + found.document["lost"]["calls"]
    assert all(added_or_lost(row) == totals(row) for row in found.document["files"])
