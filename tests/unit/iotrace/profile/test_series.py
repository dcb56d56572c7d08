"""Rows of what a file did over time: their text, their sums, and rows of two runs in common intervals."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Dict, List, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotrace.profile import reader, series
from iotrace.profile.combined import combined_files
from iotrace.profile.merging import merge
from iotrace.profile.metrics import FileStats, Header
from iotrace.profile.parts import Edges, as_part
from iotrace.profile.series import ROW, UNKNOWN, Row
from iotrace.profile.target import Target
from iotrace.profile.writer import Writer, write

numbers = st.integers(0, (1 << 63) - 1)
rows = st.lists(
    st.tuples(st.none() | st.integers(0, 2 * series.MOST_INTERVALS), *[numbers] * 7),
    max_size=5,
    unique_by=lambda row: row[0],
)
raws = st.lists(st.tuples(st.integers(0, 50), *[st.integers(0, 1000)] * 7), max_size=20)


@given(rows)
def test_rows_survive_their_text(found: List[Row]) -> None:
    assert series.read(series.encode(found)) == found


def test_zeros_at_the_end_are_left_out() -> None:
    assert series.encode([(3, 1, 4096, 0, 0, 0, 0, 0), (5, 0, 0, 0, 0, 0, 0, 0)]) == "[[3,1,4096],[5,0]]"


@pytest.mark.parametrize(
    "text", ["5", "{}", "[5]", "[[1]]", "[[1,2,3,4,5,6,7,8,9]]", "[[-1,2]]", "[[1.5,2]]", '[["1",2]]', "[[1,null]]",
             "[[1,2],[1,3]]", "[[null,1],[null,2]]", f"[[0,{1 << 63}]]", "[[true,1]]", "[[1000000,1]]"]
)  # fmt: skip
def test_what_is_no_series_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        series.read(text)


@given(raws, st.integers(1, 9))
def test_nothing_is_lost_by_longer_intervals(found: List[Tuple[int, ...]], length: int) -> None:
    raw = b"".join(ROW.pack(*row) for row in found)
    expected = [sum(column) for column in list(zip(*found))[1:]] or [0] * 7
    for made in (raw, series.merged(raw), series.merged(raw, length), series.joined(raw, b"")):
        assert series.sums(made) == expected
        numbered = series.numbered(made, length)
        assert [sum(column) for column in list(zip(*numbered))[1:]] == expected or not found
        assert [row[0] for row in numbered] == sorted({row[0] // length for row in found})


def test_many_rows_of_one_interval_become_one() -> None:
    raw = b""
    for _ in range(1000):
        raw = series.joined(raw, ROW.pack(7, 1, 2, 3, 4, 5, 6, 7))
    assert len(raw) <= 64 * ROW.size and series.sums(raw) == [1000 * n for n in range(1, 8)]


def test_parts_of_a_file_add_up(tmp_path: Path) -> None:
    """Whatever their intervals were when they left the tables, they are those of the end."""
    with Writer(tmp_path / "p") as writer:
        for order, begins in enumerate(((0, 100, 350), (300, UNKNOWN), ())):
            part = as_part(FileStats(1, b"/a"), Edges(order))
            writer.add(part._replace(series=b"".join(ROW.pack(at, 1, 10, 0, 0, 0, 0, 5) for at in begins) or None))
        writer.add(as_part(FileStats(1, b"/b"), Edges(9))._replace(series=ROW.pack(900, 0, 0, 2, 20, 1, 1, 6)))
        writer.add_file(FileStats(1, b"/c"))
        writer.finish(Header(interval_ns=200))
    a = [(0, 2, 20, 0, 0, 0, 0, 10), (1, 2, 20, 0, 0, 0, 0, 10), (None, 1, 10, 0, 0, 0, 0, 5)]
    with reader.open(tmp_path / "p") as profile:
        found = {file.path: file.series for file in profile.files()}
    assert found == {b"/a": a, b"/b": [(4, 0, 0, 2, 20, 1, 1, 6)], b"/c": []}
    database = sqlite3.connect(str(tmp_path / "p"))
    query = (
        "SELECT number, read_calls, interval.busy_ns FROM interval JOIN file ON file.id = file_id WHERE path = x'2f61'"
    )
    assert sorted(map(str, database.execute(query))) == ["(0, 2, 10)", "(1, 2, 10)", "(None, 1, 5)"]


def test_two_runs_have_common_intervals(tmp_path: Path) -> None:
    files: Dict[str, Tuple[Header, List[Row]]] = {
        "a": (Header(started_ns=1000, interval_ns=100), [(0, 1, 1, 0, 0, 0, 0, 1), (9, 1, 1, 0, 0, 0, 0, 1)]),
        "b": (Header(started_ns=1250, interval_ns=400), [(0, 2, 2, 0, 0, 0, 0, 2), (None, 4, 4, 0, 0, 0, 0, 4)]),
    }
    for name, (header, found) in files.items():
        write(tmp_path / name, header, [FileStats(1, b"/f", series=found)])
    expected = [(0, 3, 3, 0, 0, 0, 0, 3), (2, 1, 1, 0, 0, 0, 0, 1), (None, 4, 4, 0, 0, 0, 0, 4)]
    with reader.open(tmp_path / "a") as a, reader.open(tmp_path / "b") as b:
        (file,) = (named.file for named in combined_files([b, a], b"/f"))
    assert file.series == expected
    for fan_in in (1, 2):
        merge([tmp_path / "b", tmp_path / "a"], Target(tmp_path / "all", force=True), fan_in=fan_in)
        with reader.open(tmp_path / "all") as profile:
            assert (profile.header.started_ns, profile.header.interval_ns) == (1000, 400)
            assert [file.series for file in profile.files()] == [expected]


def test_runs_far_apart_have_longer_intervals(tmp_path: Path) -> None:
    """So that there are no more than a profile may have."""
    for number, begin in enumerate((0, 10**15)):
        header = Header(host="h", started_ns=begin, ended_ns=begin + 10**9, interval_ns=10**9)
        write(tmp_path / str(number), header, [FileStats(1, b"/f", series=[(0, 1, 0, 0, 0, 0, 0, 0)])])
    merge([tmp_path / "0", tmp_path / "1"], Target(tmp_path / "all"))
    with reader.open(tmp_path / "all") as profile:
        assert profile.header.interval_ns == 32 * 10**9
        (file,) = profile.files()
    assert [row[:2] for row in file.series] == [(0, 1), (10**6 // 32, 1)]


def test_a_series_that_somebody_made_is_checked(tmp_path: Path) -> None:
    for number, text in enumerate((json.dumps([[1]]), "x" * ((4 << 20) - 1), "[" * 1000)):
        path = tmp_path / str(number)
        write(path, Header(interval_ns=1), [FileStats(1, b"/f", series=[(0, 1, 0, 0, 0, 0, 0, 0)])])
        database = sqlite3.connect(str(path))
        database.execute("UPDATE series SET intervals = ?", (text,))
        database.commit()
        with pytest.raises(reader.ProfileError), reader.open(path) as profile:
            list(profile.files())
