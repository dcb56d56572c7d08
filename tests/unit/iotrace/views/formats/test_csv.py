"""CSV, as a spreadsheet reads it."""

from __future__ import annotations

import csv
import io
import itertools
from typing import Dict, List

from hypothesis import example, given
from hypothesis import strategies as st

from iotrace import unescape
from iotrace.profile.metrics import FileStats, Header, SyscallStats
from iotrace.views import formats
from tests.unit.iotrace.views.formats.samples import FILE, paths, run, tables


def cells(content: bytes) -> List[List[str]]:
    """Lines with their cells; the first has the names."""
    return list(csv.reader(io.StringIO(content.decode(), newline=""), strict=True))


def records(content: bytes) -> List[Dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline=""), strict=True))


hostile = st.text(alphabet="=+-@;,|\"' \t\r\n\\x3d/a\uff1d\u200b", min_size=1, max_size=12).map(str.encode)


@given(st.lists(paths | hostile, max_size=5))
@example([b"=cmd|' /C calc'!A0", b"/a;=1", b'/a";=1', b"/a,' =1", b"\t=1", b"/\xff\\xff", "\uff1d1".encode()])
def test_names_survive_and_no_cell_is_a_formula_whatever_separates_them(names: List[bytes]) -> None:
    files = [FileStats(1, name, renamed_to=name, syscalls={"read": SyscallStats(1)}) for name in names]
    made = tables("csv", run(files, Header(command=names, filters={"path": [n.decode("latin-1") for n in names]})))
    for column in ("path", "renamed_to"):
        assert [unescape(row[column]) for row in records(made["file"])] == names
    for content in made.values():
        text = content.decode()
        assert text.count("\r\n") == text.count("\n") == text.count("\r") == len(cells(content))
        assert not [char for char in text if char < " " and char not in "\r\n"]
        for separator, quote in itertools.product(",;|\t", "\"'"):
            read = csv.reader(io.StringIO(text, newline=""), delimiter=separator, quotechar=quote)
            starts = [cell.strip().strip("\"'").strip()[:1] for row in read for cell in row]
            assert not set(starts) & set("=+-@\uff1d"), (separator, quote)


def test_csv_has_each_value_once() -> None:
    bare = FileStats(1, b"=cmd|' /C calc'!A0", lowest_offset=0)
    made = {name: records(content) for name, content in tables("csv", run([FILE, bare])).items()}
    one = run([]).id
    first, lone = made["file"]
    assert (first["run"], first["file_id"], first["path"], first["deleted"]) == (one, "1", "/var/lib/x", "0")
    assert (lone["path"], lone["lowest_offset"], lone["highest_offset"]) == (r"\x3dcmd|' /C calc'!A0", "0", "")
    fsync, pread = made["operation"]
    assert (fsync["operation"], fsync["calls"], fsync["bytes"]) == ("fsync", "1", "")
    assert (pread["operation"], pread["calls"], pread["bytes"], pread["file_id"]) == ("pread64", "3", "8192", "1")
    assert [tuple(row.values()) for row in made["error"]] == [(one, "1", "pread64", "EIO", "1")]
    assert {tuple(row.values())[2:] for row in made["histogram"]} >= {
        ("", "sequential_read", "8192", "16383", "1"),
        ("", "bytes_between_syncs", "0", "0", "1"),
        ("fsync", "latency_ns", "65536", "73727", "1"),
        ("pread64", "requested", "4096", "8191", "3"),
        ("pread64", "completed", "4096", "8191", "2"),
        ("pread64", "latency_ns", "512", "575", "2"),
    }
    assert [tuple(row.values())[2:] for row in made["common_size"]] == [("pread64", "4096", "3")]
    assert [tuple(row.values())[1:] for row in made["unattributed"]] == [("read", "EBADF", "3")]
    assert [row["command"] for row in made["run"]] == [r'["cp", "\\xff"]']


def test_the_line_of_names_is_that_of_the_table() -> None:
    for name, content in tables("csv", run([])).items():
        assert cells(content)[0] == [column.name for column in formats.TABLES[name].columns]
