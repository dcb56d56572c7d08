"""CSV, as a spreadsheet reads it."""

from __future__ import annotations

import csv
import io
from typing import List

from hypothesis import given

from iotrace.profile.metrics import FILE as FILE_TABLE
from iotrace.profile.metrics import SYSCALL, FileStats, SyscallStats
from iotrace.text import unescape
from tests.unit.iotrace.views.formats.samples import FILE, exported, several


def uncell(cell: str) -> bytes:
    """What the documentation of the format says to do."""
    return unescape(cell[1:] if cell.startswith("'") else cell)


@given(several)
def test_paths_survive_csv_and_no_cell_is_a_formula(names: List[bytes]) -> None:
    out = exported("csv", [FileStats(1, name, syscalls={"read": SyscallStats(1)}) for name in names])
    header, *rows = csv.reader(io.StringIO(out, newline=""), strict=True)
    assert [uncell(row[header.index("path")]) for row in rows] == names
    assert not [cell for row in rows for cell in row if cell[:1] in tuple("=+-@\t\r")]
    assert out.count("\r\n") == out.count("\n") == len(names) + 1


def test_csv_has_a_line_per_file_and_system_call() -> None:
    bare = FileStats(1, b"=cmd|' /C calc'!A0", lowest_offset=0)
    fsync, pread, lone = csv.DictReader(io.StringIO(exported("csv", [FILE, bare]), newline=""))
    assert (fsync["syscall"], fsync["latency_ns"], fsync["requested"]) == ("fsync", "65536:1", "")
    assert (pread["syscall"], pread["calls"], pread["bytes"], pread["errors"]) == ("pread64", "3", "8192", "EIO:1")
    assert (pread["path"], pread["bytes_between_syncs"], pread["deleted"]) == ("/var/lib/x", "0:1", "0")
    assert (lone["path"], lone["syscall"], lone["calls"]) == ("'=cmd|' /C calc'!A0", "", "")
    assert (lone["lowest_offset"], lone["highest_offset"]) == ("0", "")


def test_every_metric_has_a_column() -> None:
    header = next(csv.reader(io.StringIO(exported("csv", []), newline="")))
    assert len(header) == len(set(header))
    assert set(header) == {"syscall", *(metric.name for metric in (*FILE_TABLE, *SYSCALL))}
