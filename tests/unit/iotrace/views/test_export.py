"""The JSON contract key by key, and that every format survives hostile names."""

import csv
import io
import json
from pathlib import Path
from typing import Iterator, List

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iotrace import cli
from iotrace.profile import reader as profile
from iotrace.profile.model import FileStats, Header, SyscallStats
from iotrace.text import unescape
from iotrace.views import export

HEADER = Header(
    version="0.1.0",
    host="db1",
    kernel="6.1.0",
    machine="x86_64",
    command=[b"cp", b"\xff"],
    started_ns=10,
    ended_ns=20,
    filters={"comm": ["cp"]},
    attach="raw_tracepoint",
    coverage={"io_uring": "full"},
    lost={"events": 0, "files": 0, "calls": 0},
    unattributed={"read": {"EBADF": 3}},
    overhead={"ns": 5},
)
FILE = FileStats(
    4026531841,
    b"/var/lib/x",
    device="8:1",
    inode=131,
    fstype="ext4",
    opens=2,
    closes=2,
    bytes_read=8192,
    syscalls={
        "pread64": SyscallStats(3, 8192, {"EIO": 1}, {4096: 3}, {4096: 2}, {512: 2}, 11, 12),
        "fsync": SyscallStats(1, latency_ns={65536: 1}),
    },
    sequential_read={8192: 1},
    bytes_between_syncs={0: 1},
)

# As the specification of schema iotrace/1 has it: keys, their order and their meaning.
DOCUMENT = """
{"schema": "iotrace/1",
 "version": "0.1.0", "host": "db1", "kernel": "6.1.0", "machine": "x86_64", "command": ["cp", "\\udcff"],
 "started_ns": 10, "ended_ns": 20,
 "filters": {"comm": ["cp"]}, "attach": "raw_tracepoint", "coverage": {"io_uring": "full"},
 "lost": {"events": 0, "files": 0, "calls": 0}, "unattributed": {"read": {"EBADF": 3}}, "overhead": {"ns": 5},
 "files": [
  {"mnt_ns": 4026531841, "path": "/var/lib/x", "renamed_to": null, "device": "8:1", "inode": 131, "fstype": "ext4",
   "incarnations": 1, "deleted": false, "mapped": false, "opens": 2, "closes": 2,
   "bytes_read": 8192, "bytes_written": 0, "bytes_synced": 0, "bytes_unsynced": 0, "rewrites": 0,
   "lowest_offset": null, "highest_offset": null, "direct_calls": 0, "durable_writes": 0,
   "first_read_ns": null, "last_read_ns": null, "first_write_ns": null, "last_write_ns": null, "last_sync_ns": null,
   "syscalls": {"fsync": {"calls": 1, "errors": {}, "latency_ns": {"65536": 1}},
                "pread64": {"calls": 3, "bytes": 8192, "errors": {"EIO": 1},
                            "requested": {"4096": 3}, "completed": {"4096": 2}, "latency_ns": {"512": 2}}},
   "sequential_read": {"8192": 1}, "sequential_write": {}, "bytes_between_syncs": {"0": 1}}]}
"""

paths = st.binary(min_size=1, max_size=40).map(lambda path: path.replace(b"\0", b"="))
several = st.lists(paths, max_size=5)


def exported(form: str, files: List[FileStats]) -> str:
    out = io.StringIO(newline="")
    export.FORMATS[form](HEADER, files, out)
    return out.getvalue()


def test_the_json_document_is_the_contract_to_the_byte() -> None:
    assert json.dumps(json.loads(exported("json", [FILE]))) == json.dumps(json.loads(DOCUMENT))


def test_jsonl_has_the_same_objects_a_line_each() -> None:
    document = json.loads(DOCUMENT)
    lines = exported("jsonl", [FILE, FILE]).splitlines()
    (file,) = document.pop("files")
    assert [json.loads(line) for line in lines] == [document, file, file]


@given(several)
def test_paths_survive_json(names: List[bytes]) -> None:
    files = [FileStats(1, name, renamed_to=name) for name in names]
    out = exported("json", files)
    assert out.isascii()
    back = json.loads(out)["files"]
    assert [file["path"].encode("utf-8", "surrogateescape") for file in back] == names
    assert [file["renamed_to"].encode("utf-8", "surrogateescape") for file in back] == names


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


def test_formats_stream() -> None:
    for form in export.FORMATS:
        out = io.StringIO(newline="")
        seen: List[int] = []

        def files(out: io.StringIO = out, seen: List[int] = seen) -> Iterator[FileStats]:
            for _ in range(3):
                seen.append(len(out.getvalue()))
                yield FILE

        export.FORMATS[form](HEADER, files(), out)
        assert 0 < seen[0] < seen[1] < seen[2], form


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    path = tmp_path / "p"
    profile.write(path, HEADER, [FILE, FileStats(1, b"/b", bytes_written=1 << 40), FileStats(1, b"/c")])
    return path


def test_the_command_selects_and_writes_to_a_file(stored: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    arguments = ["export", str(stored), "-o", str(out), "--sort", "bytes", "--exclude", "/c", "--limit", "5"]
    assert cli.main(arguments) == 0
    assert [file["path"] for file in json.loads(out.read_text())["files"]] == ["/b", "/var/lib/x"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.json", "p"]


def test_a_damaged_profile_never_replaces_an_export(stored: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    out.write_text("old")
    stored.write_bytes(stored.read_bytes()[:9000])
    assert cli.main(["export", str(stored), "-o", str(out)]) == 2
    assert out.read_text() == "old"


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(paths, max_size=3, unique=True))
def test_the_profile_in_between_loses_nothing(tmp_path: Path, names: List[bytes]) -> None:
    files = [FileStats(1, name, syscalls=FILE.syscalls) for name in names]
    profile.write(tmp_path / "q", HEADER, files)
    with profile.open(tmp_path / "q") as reader:
        out = io.StringIO()
        export.write_json(reader.header, reader.files(), out)
    assert out.getvalue() == exported("json", files)
