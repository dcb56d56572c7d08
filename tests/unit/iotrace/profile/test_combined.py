"""Several profiles as one."""

from __future__ import annotations

from pathlib import Path

import pytest

from iotrace.profile import reader
from iotrace.profile.combined import combined_files, combined_header, combined_rows
from iotrace.profile.metrics import FileStats, Header
from iotrace.profile.writer import write
from tests.unit.iotrace.profile.samples import sample


def test_several_profiles_add_up(tmp_path: Path) -> None:
    for name, count in (("a", 10), ("b", 5)):
        write(tmp_path / name, Header(), sample(count))
    with reader.open(tmp_path / "a") as a, reader.open(tmp_path / "b") as b:
        rows = list(combined_rows([a, b]))
        assert [row.sums.bytes_read for row in rows] == [4096 * i * (2 if i < 5 else 1) for i in range(10)]
        (found,) = combined_files([a, b], b"/srv/003/000003.dat")
        file = found.file
        assert (file.opens, file.syscalls["pread64"].calls) == (2, 8)


def test_the_marks_of_a_file_are_those_of_the_later_profile_but_for_the_mapping(tmp_path: Path) -> None:
    first = FileStats(1, b"/a", renamed_to=b"/b", deleted=True, mapped=True)
    for name, file in (("a", first), ("b", FileStats(1, b"/a"))):
        write(tmp_path / name, Header(), [file])
    with reader.open(tmp_path / "a") as a, reader.open(tmp_path / "b") as b:
        assert [tuple(row.marks) for row in combined_rows([a, b])] == [(0, 1, 0, 0, 0)]
        assert [tuple(row.marks) for row in combined_rows([b, a])] == [(1, 1, 1, 0, 0)]


def test_files_are_the_same_by_namespace_and_path(tmp_path: Path) -> None:
    write(tmp_path / "a", Header(), [FileStats(1, b"/a")])
    write(tmp_path / "b", Header(), [FileStats(2, b"/a"), FileStats(1, b"/b")])
    with reader.open(tmp_path / "a") as a, reader.open(tmp_path / "b") as b:
        assert [(row.mnt_ns, row.path) for row in combined_rows([a, b])] == [(1, b"/a"), (2, b"/a"), (1, b"/b")]
        assert [found.file.mnt_ns for found in combined_files([a, b], b"/a")] == [1, 2]


@pytest.mark.parametrize("count", [1, 3])
def test_the_header_adds_up_losses(tmp_path: Path, count: int) -> None:
    write(tmp_path / "p", Header(host="h", lost={"events": 2, "files": 0, "calls": 1}), [])
    with reader.open(tmp_path / "p") as profile:
        header = combined_header([profile] * count)
    assert (header.host, header.lost) == ("h", {"events": 2 * count, "files": 0, "calls": count})
