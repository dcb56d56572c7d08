"""Failed opens from the programs' map: paths behind their directories, and bounds for what is kept."""

from __future__ import annotations

import struct
from typing import List, Optional

import pytest

from iotrace.profile.failed_opens import FailedOpen
from iotrace.tracing import refused
from iotrace.tracing.names import Names
from iotrace.tracing.refused import Refused
from programs.facts.records import (
    EVENT_DIRECTORY,
    EVENT_TRUNCATED,
    EVENT_UNREACHABLE,
    REFUSED_ADRIFT,
    REFUSED_CUT,
    REFUSED_TEXT,
    RefusedKey,
)
from tests.unit.iotrace.tracing.tables import Table
from tests.unit.iotrace.tracing.test_names import event

ENOENT, EACCES = 2, 13


class Programs(Table):
    """The map as the programs fill it."""

    def __init__(self, max_entries: int = 4096) -> None:
        super().__init__(RefusedKey.size, 8, max_entries)

    def count(self, text: bytes, count: int = 1, *, errno: int = ENOENT, marks: int = 0, directory: int = 0) -> None:
        key = RefusedKey.pack(errno=errno, marks=marks, directory=directory, text=text.ljust(REFUSED_TEXT, b"\0"))
        self[key] = struct.pack("<Q", count)


def most(table: Table, total: int, names: Optional[Refused] = None) -> List[FailedOpen]:
    found = names or Refused(table)  # type: ignore[arg-type]
    found.read()
    return found.most({"ENOENT": total})


def test_a_path_is_behind_its_directory() -> None:
    table = Programs()
    found = Refused(table)  # type: ignore[arg-type]
    names = Names(found.found)
    names.take(event(EVENT_DIRECTORY, 5, b"/srv"))
    names.take(event(EVENT_DIRECTORY | EVENT_UNREACHABLE, 6, b"/no"))
    names.take(event(EVENT_DIRECTORY | EVENT_TRUNCATED, 7, b"/no"))
    table.count(b"a\0garbage", 9, directory=5)
    table.count(b"a", 1, directory=5)
    table.count(b"/etc/a", 8, directory=5)
    table.count(b"b", 7)
    table.count(b"/c", 6)
    for number, directory in enumerate((6, 7, 8)):
        table.count(b"d%d" % number, 5 - number, directory=directory)
    table.count(b"e", 2, marks=REFUSED_ADRIFT)
    table.count(b"f", 1, marks=REFUSED_CUT)
    assert [(failed.path, failed.times, failed.cut) for failed in most(table, 43, found)] == [
        (b"/srv/a", 10, False),
        (b"/srv/etc/a", 8, False),
        (b"/b", 7, False),
        (b"/c", 6, False),
        (b"d0", 5, False),
        (b"d1", 4, False),
        (b"d2", 3, False),
        (b"e", 2, False),
        (b"/f", 1, True),
    ]


def test_a_map_that_fills_up_is_emptied_of_what_is_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refused, "_PAUSE", 0)
    table = Programs(4096)
    found = Refused(table)  # type: ignore[arg-type]
    total = 0
    for turn in range(20):
        for number in range(1000):
            table.count(b"/often-%d" % number, 100 * (turn + 1) + number)
        for number in range(1200):
            table.count(b"/rare-%d-%d" % (turn, number))
        total += 1200
        found.step()
        assert len(table) <= 1024
    often = sum(2000 + number for number in range(1000))
    rows = most(table, total + often, found)
    assert len(rows) == 1001 and rows[-1] == FailedOpen(None, "ENOENT", False, total)
    assert {row.path: row.times for row in rows[:-1]} == {b"/often-%d" % n: 2000 + n for n in range(1000)}


def test_paths_of_directories_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refused, "_ROOM", 1000)
    table = Programs()
    found = Refused(table)  # type: ignore[arg-type]
    for number in range(1, 100):
        found.found(number, b"/" + b"x" * 99)
        table.count(b"a%d" % number, number, directory=number)
    rows = most(table, sum(range(1, 100)), found)
    assert [row.path is not None and row.path.startswith(b"/xxx") for row in rows] == [True] * 10 + [False] * 89
