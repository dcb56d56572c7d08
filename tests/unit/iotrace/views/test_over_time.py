"""What was done over time, drawn."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import List

import pytest

from iotrace.errors import UserError
from iotrace.globs import EVERYTHING, Selection
from iotrace.profile import reader
from iotrace.profile.metrics import FileStats
from iotrace.profile.series import Row
from iotrace.profile.writer import write
from iotrace.views import over_time
from tests.unit.iotrace.views.samples import HEADER

SECOND = 10**9
TRACED = dataclasses.replace(HEADER, ended_ns=HEADER.started_ns + 8 * SECOND, interval_ns=SECOND)


def drawn(place: Path, rows: List[Row], columns: int = 80, selection: Selection = EVERYTHING) -> List[str]:
    other: Row = (7, 0, 0, 0, 0, 0, 9, 0)
    write(place / "p", TRACED, [FileStats(1, b"/a", series=rows), FileStats(1, b"/b", series=[other])], force=True)
    out = io.StringIO()
    with reader.open(place / "p") as profile:
        over_time.show(out, [profile], selection, columns=columns)
    return out.getvalue().split("\n\n", 1)[1].splitlines()


def test_a_character_for_each_interval(tmp_path: Path) -> None:
    rows: List[Row] = [(0, 1, 8192, 0, 0, 0, 0, 5), (3, 1, 4096, 2, 1024, 1, 0, 5), (4, 1, 1, 0, 0, 0, 0, 5)]
    lines = drawn(tmp_path, rows)
    assert lines[0] == "1.00 s a column, 8.00 s in all"
    assert lines[1] == "read     █  ▄▁    at most 8.00 KiB/s"
    assert lines[2] == "written     █     at most 1.00 KiB/s"
    assert lines[3] == "reads    █  ██    at most 1/s"
    assert lines[-2] == "errors          █ at most 9/s"
    assert lines[-1] == "half of all bytes moved in 12% of the time; if spread evenly, in 50%"
    assert not any(line.startswith("errors") for line in drawn(tmp_path, rows, selection=Selection((b"/a",))))


def test_more_intervals_than_columns_are_added_up(tmp_path: Path) -> None:
    rows: List[Row] = [(number, 1, 100, 0, 0, 0, 0, 0) for number in range(8)]
    assert over_time.binned({number: list(row) for number, *row in rows if number is not None}, 8, 3) == [
        [3, 300, 0, 0, 0, 0, 0],
        [3, 300, 0, 0, 0, 0, 0],
        [2, 200, 0, 0, 0, 0, 0],
    ]
    lines = drawn(tmp_path, rows, columns=36)
    assert lines[0] == "1.00 s a column, 8.00 s in all" and max(map(len, lines)) <= 60


def test_in_which_part_of_the_time_half_of_it_happened() -> None:
    assert over_time.half_in([5, 5, 5, 5]) == "50%"
    assert over_time.half_in([0, 97, 1, 2]) == "25%"


def test_what_has_no_time_is_told(tmp_path: Path) -> None:
    assert drawn(tmp_path, [(None, 1, 1, 0, 0, 0, 0, 0)])[-1].startswith("part of it happened at times that are not")


def test_without_intervals_it_says_what_to_do(tmp_path: Path) -> None:
    write(tmp_path / "p", HEADER, [])
    with reader.open(tmp_path / "p") as profile, pytest.raises(UserError, match="--interval auto"):
        over_time.show(io.StringIO(), [profile])


@pytest.mark.parametrize(
    ("values", "unicode", "shown"),
    [([0, 1, 8, 4], True, " ▁█▄"), ([0, 1, 8], False, " .@"), ([0, 0], True, "  "), ([], True, "")],
)
def test_bars(values: List[int], unicode: bool, shown: str) -> None:
    assert over_time.bars(values, unicode) == shown
