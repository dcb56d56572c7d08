"""Runs with --light: what is counted is what a run without it counts."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Dict, List, Mapping

import pytest

from tests import needs

from . import aio, observe, rings
from .observe import Command, path_of
from .scenario import errors_of
from .traced import trace

pytestmark = needs.root

FACTS = (
    *("opens", "closes", "bytes_read", "bytes_written", "bytes_synced", "bytes_unsynced", "rewrites", "lowest_offset"),
    *("highest_offset", "direct_calls", "unaligned_calls", "durable_writes", "threads", "sequential_read"),
    *("sequential_write", "bytes_between_syncs", "state", "size", "mapped"),
)
OF_CALLS = ["calls", "bytes", "errors", "requested", "completed", "common_sizes", "common_sizes_error"]
APPLICATIONS = """
dd if=/dev/zero of=zeros bs=5000 count=300 conv=fsync 2>&1
cp zeros copy
seq 20000 > lines
sed -n 's/9/0/p' lines > edited
cat zeros lines >> all
tail -c 5000 all | head -c 100
tar cf all.tar zeros lines edited
mv copy renamed
rm zeros
"""
SQL = """
import sqlite3
db = sqlite3.connect("db")
db.execute("create table t(a, b)")
for number in range(30):
    with db:
        db.execute("insert into t values(?, ?)", (number, "x" * number * 50))
assert db.execute("select count(*), sum(length(b)) from t").fetchone() == (30, 50 * 435)
"""


def facts(place: Path, document: Mapping[str, Any]) -> Dict[bytes, Dict[str, object]]:
    """What is counted of the files below a directory, by their paths there."""
    below = bytes(place) + b"/"
    found = {}
    for file in document["files"]:
        path = path_of(file)
        if path.startswith(below):
            calls = {name: {what: call.get(what) for what in OF_CALLS} for name, call in file["syscalls"].items()}
            found[path[len(below) :]] = {**{fact: file[fact] for fact in FACTS}, "calls": calls}
    return found


def run(place: Path, options: List[str]) -> Dict[bytes, Dict[str, object]]:
    work = place / "".join(options)
    work.mkdir()
    words = f"{APPLICATIONS}exec python3 -I -S -c '{SQL}'"
    observation = observe.alone(Command(["sh", "-ec", words], work), options)
    assert observation.status == 0, observation.stderr
    assert not any(observation.document["lost"].values())
    return facts(work, observation.document)


@pytest.mark.skipif(shutil.which("tar") is None, reason="no tar")
def test_applications_are_counted_alike(place: Path) -> None:
    light = run(place, ["--light"])
    assert light == run(place, ["--attach=raw"])
    assert {b"all", b"all.tar", b"copy", b"edited", b"db", b"db-journal", b"lines", b"zeros"} <= light.keys()


@pytest.mark.parametrize(
    "name", ["every kind of transfer", "a ring read without a call until exit_group", "every reason to refuse"]
)
def test_requests_of_linux_aio(place: Path, name: str) -> None:
    scenario = aio.SCENARIOS[name]
    found = trace(place, scenario.text, ["--light"])
    assert not list(scenario.differences(found))
    assert errors_of(found, "aio_") == scenario.unattributed


def test_requests_of_io_uring(place: Path) -> None:
    scenario = next(iter(rings.SCENARIOS.values()))
    found = trace(place, scenario.text, ["--light"])
    if found.lacks is not None:
        needs.impossible(f"this kernel lacks {found.lacks}")
    assert not list(scenario.differences(found))
