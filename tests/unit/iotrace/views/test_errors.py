"""What failed: on files, in opens, and on what is no file."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import List

import pytest

from iotrace import cli
from iotrace.profile.failed_opens import FailedOpen
from iotrace.profile.metrics import FileStats, SyscallStats
from iotrace.profile.writer import write
from tests.unit.iotrace.views.samples import HEADER, HOSTILE

FILES = [
    FileStats(1, b"/db/x.tmp", b"/db/x", b"/db/x", syscalls={"write": SyscallStats(5, errors={"ENOSPC": 2})}),
    FileStats(
        1,
        b"/db/x",
        syscalls={"write": SyscallStats(9, errors={"ENOSPC": 3}), "fsync": SyscallStats(1, errors={"EIO": 1})},
    ),
    FileStats(1, b"/good", syscalls={"read": SyscallStats(100)}),
]
OPENS = [
    FailedOpen(b"/etc/gone", "ENOENT", False, 60),
    FailedOpen(b"/" + b"a" * 20, "ENAMETOOLONG", True, 1),
    FailedOpen(None, "ENOENT", False, 7),
]
FAILED = dataclasses.replace(
    HEADER, failed_opens=OPENS, unattributed={"open": {"ENOENT": 67, "ENAMETOOLONG": 1}, "read": {"EBADF": 4}}
)


@pytest.fixture
def path(tmp_path: Path) -> str:
    write(tmp_path / "p", FAILED, FILES)
    return str(tmp_path / "p")


def lines(capsys: pytest.CaptureFixture[str], path: str, *options: str) -> List[List[object]]:
    assert cli.main(["report", path, "--errors", "--format", "json", *options]) == 0
    return [list(line.values()) for line in json.loads(capsys.readouterr().out)]


def test_every_failure_is_there_once(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Opens by their paths, and not again as calls on no file; temporary files as what they became."""
    assert lines(capsys, path, "--limit", "0") == [
        ["/etc/gone", "db1", 60, "open", "ENOENT"],
        ["(other paths)", "db1", 7, "open", "ENOENT"],
        ["/db/x", "db1", 5, "write", "ENOSPC"],
        ["(no file)", "db1", 4, "read", "EBADF"],
        ["/aaaaaaaaaaaaaaaaaaaa...", "db1", 1, "open", "ENAMETOOLONG"],
        ["/db/x", "db1", 1, "fsync", "EIO"],
    ]
    opened = lines(capsys, path, "--names", "opened", "--path", "/db/*")
    assert [line[0] for line in opened] == ["/db/x", "/db/x.tmp", "/db/x"]


def test_a_selection_has_no_other_paths(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert [line[0] for line in lines(capsys, path, "--path", "/etc/*")] == ["/etc/gone"]
    assert {line[0] for line in lines(capsys, path, "--exclude", "/etc/*")} == {"/db/x", "/aaaaaaaaaaaaaaaaaaaa..."}
    assert cli.main(["report", path, "--errors", "--path", "/good"]) == 1
    assert "no call on what --path and --exclude leave has failed" in capsys.readouterr().err


def test_as_text(path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", path, "--errors", "--limit", "1"]) == 0
    output = capsys.readouterr().out
    assert output.startswith("cp 'a b', 5.00 s on db1\nnothing lost\n\n")
    assert "   60 open ENOENT  /etc/gone\n" in output and "   78              total\n" in output
    assert "5 more lines: --limit 0 shows all" in output
    write(tmp_path / "none", HEADER, [FILES[2]])
    assert cli.main(["report", str(tmp_path / "none"), "--errors"]) == 0
    assert capsys.readouterr().out.endswith("\n\nno call has failed\n")


def test_no_name_reaches_the_terminal_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = SyscallStats(1, errors={"\x1b[2J": 1})
    opens = [FailedOpen(b"/" + HOSTILE, "ENOENT", False, 2)]
    header = dataclasses.replace(HEADER, failed_opens=opens, unattributed={"\x1b": {"\x07": 1}})
    write(tmp_path / "p", header, [FileStats(1, b"/" + HOSTILE, syscalls={"\x1b[1m": bad})])
    for form in ("text", "csv", "markdown", "json"):
        assert cli.main(["report", str(tmp_path / "p"), "--errors", "--format", form]) == 0
        output = capsys.readouterr().out
        assert not any(ord(char) < 32 and char != "\n" for char in output) and "\u202e" not in output
