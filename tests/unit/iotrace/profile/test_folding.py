"""What was done under a temporary name, as a part of the file that it became."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Tuple

import pytest

from iotrace.globs import EVERYTHING, Selection
from iotrace.profile import reader
from iotrace.profile.combined import combined_files, combined_rows
from iotrace.profile.metrics import FileStats, Header, SyscallStats
from iotrace.profile.reader import Profile
from iotrace.profile.rows import FileRow
from iotrace.profile.writer import write


def file(path: bytes, ended_as: Optional[bytes], written: int, mnt_ns: int = 1) -> FileStats:
    calls = {"write": SyscallStats(1, written, requested={16: 1})}
    return FileStats(
        mnt_ns, path, ended_as, ended_as, "8:1", bytes_written=written, sequential_write={16: 1}, syscalls=calls
    )


def files() -> Iterator[FileStats]:
    yield file(b"/X.1", b"/X", 1)
    yield file(b"/X", None, 2)
    yield file(b"/X.2", b"/X", 4)
    yield file(b"/X.1", b"/X", 8, mnt_ns=2)
    yield file(b"/Y.tmp", b"/Y", 16)  # nobody has opened Y since
    several = file(b"/tmp", None, 32)  # its incarnations have gone different ways
    several.renamed_to = b"/Z"
    yield several
    lost = file(b"/X", None, 64)
    lost.unreachable = True
    yield lost


FOLDED = {(b"/X", 1): [7, 64], (b"/X", 2): [8], (b"/Y", 1): [16], (b"/tmp", 1): [32]}


@pytest.fixture
def profile(tmp_path: Path) -> Iterator[Profile]:
    write(tmp_path / "p", Header(), files())
    with reader.open(tmp_path / "p") as opened:
        yield opened


def written(rows: List[FileRow]) -> Dict[Tuple[bytes, int], List[int]]:
    found: Dict[Tuple[bytes, int], List[int]] = {}
    for row in rows:
        found.setdefault((row.path, row.mnt_ns), []).append(row.sums.bytes_written)
    return {key: sorted(sizes) for key, sizes in found.items()}


@pytest.mark.parametrize("sort", [None, *reader.SORTS])
def test_rows_are_folded_in_every_order(profile: Profile, sort: Optional[str]) -> None:
    if sort is None:
        rows = list(profile.rows(folded=True))
    else:
        rows = list(profile.rows(sort, folded=True))
        first = next(iter(profile.rows(sort, 1, folded=True)))
        assert first == rows[0]
    assert written(rows) == FOLDED
    assert written(list(combined_rows([profile], folded=True))) == FOLDED
    assert sum(map(len, written(list(profile.rows(sort))).values())) == 7


def test_the_marks_of_a_folded_row_are_its_own(profile: Profile) -> None:
    marks = {(row.path, row.sums.bytes_written): row.marks for row in profile.rows(folded=True)}
    assert [marks[key].folded for key in ((b"/X", 7), (b"/X", 64), (b"/Y", 16), (b"/tmp", 32))] == [1, 0, 1, 0]
    assert {key for key, mark in marks.items() if mark.renamed} == {(b"/tmp", 32)}
    assert {key for key, mark in marks.items() if mark.unreachable} == {(b"/X", 64)}


def test_totals_count_files_and_not_names(profile: Profile) -> None:
    folded, opened = profile.totals(folded=True), profile.totals()
    assert (folded.files, opened.files) == (5, 7)
    assert folded.sums == opened.sums and folded.sums.bytes_written == 127


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection((b"/X.1",)), {(b"/X", 1): [7], (b"/X", 2): [8]}),  # the whole file, by either name
        (Selection((b"/X",)), {(b"/X", 1): [7, 64], (b"/X", 2): [8]}),
        (Selection((b"/Y*",)), {(b"/Y", 1): [16]}),
        (Selection((b"/Z",)), {(b"/tmp", 1): [32]}),
        (Selection((), (b"/X.1", b"/tmp")), {(b"/X", 1): [6, 64], (b"/Y", 1): [16]}),
        (Selection((b"/X*",), (b"/X.2",)), {(b"/X", 1): [3, 64], (b"/X", 2): [8]}),
        (EVERYTHING, FOLDED),
    ],
)
def test_both_names_select(
    profile: Profile, selection: Selection, expected: Dict[Tuple[bytes, int], List[int]]
) -> None:
    rows = list(profile.rows(selection=selection, folded=True))
    assert written(rows) == expected
    sizes = [size for sizes in expected.values() for size in sizes]
    totals = profile.totals(selection, folded=True)
    assert (totals.files, totals.sums.bytes_written) == (len(sizes), sum(sizes))
    calls = [call for _, call in profile.syscalls(selection, folded=True)]
    assert sorted(call.bytes for call in calls) == sorted(sizes)


@pytest.mark.parametrize("path", [b"/X", b"/X.1", b"/X.2"])
def test_a_file_is_found_by_either_name(profile: Profile, path: bytes) -> None:
    found = [
        (each.mnt_ns, each.path, each.bytes_written, each.syscalls["write"].requested, each.sequential_write, names)
        for each, names, _more in combined_files([profile], path, folded=True)
        if not each.unreachable
    ]
    one, two = (1, b"/X", 7, {16: 3}, {16: 3}, [b"/X.1", b"/X.2"]), (2, b"/X", 8, {16: 1}, {16: 1}, [b"/X.1"])
    assert found == ([one] if path == b"/X.2" else [one, two])


def test_facts_are_those_of_the_row_that_has_the_name(tmp_path: Path) -> None:
    """Also where the temporary file was used later."""
    late, own = file(b"/X.tmp", b"/X", 1), file(b"/X", None, 2)
    late.inode, late.last_write_ns, late.fstype, late.state = 7, 10, "tmpfs", "deleted"
    own.inode, own.last_write_ns, own.fstype, own.state = 8, 5, "ext4", "present"
    write(tmp_path / "p", Header(), [late, own])
    with reader.open(tmp_path / "p") as profile:
        (row,) = profile.rows(folded=True)
        ((whole, _names, _more),) = combined_files([profile], b"/X", folded=True)
    assert row.fstype == "ext4"
    assert (whole.inode, whole.fstype, whole.state, whole.renamed_to, whole.last_write_ns) == (
        8,
        "ext4",
        "present",
        None,
        10,
    )


def test_several_profiles_are_folded_and_added_up(profile: Profile) -> None:
    twice = {key: [2 * size for size in sizes] for key, sizes in FOLDED.items()}
    assert written(list(combined_rows([profile, profile], folded=True))) == twice
    assert [found.file.bytes_written for found in combined_files([profile, profile], b"/Y", folded=True)] == [32]


@pytest.mark.parametrize(
    "damage",
    ["bytes_written = -1", "bytes_written = 'x'", "calls = 0.5", "ended_as = 'text'", "mnt_ns = -1", "device = x'00'"],
)
def test_damage_does_not_hide_in_a_sum(tmp_path: Path, damage: str) -> None:
    write(tmp_path / "p", Header(), files())
    with sqlite3.connect(str(tmp_path / "p")) as database:
        database.execute(f"UPDATE file SET {damage} WHERE path = x'{b'/Y.tmp'.hex()}'")
    database.close()
    with reader.open(tmp_path / "p") as profile, pytest.raises(reader.ProfileError, match="damaged profile"):
        list(profile.rows(folded=True))
