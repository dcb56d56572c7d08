"""`iotrace fio`: what it asks for, where its job goes, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import List

import pytest

from iotrace import cli
from iotrace.profile.metrics import FileStats, Header, SyscallStats
from iotrace.profile.writer import write

WRITES = SyscallStats(10, 40960, requested={4096: 10}, completed={4096: 10}, common_sizes={4096: 10})


@pytest.fixture
def profile(tmp_path: Path) -> str:
    files = [
        FileStats(
            1, path, bytes_written=40960, highest_offset=40959, sequential_write={32768: 1}, syscalls={"write": WRITES}
        )
        for path in (b"/srv/a:b", b"/srv/b\n")
    ]
    write(tmp_path / "p", Header(), files)
    return str(tmp_path / "p")


def test_a_job_goes_where_it_is_asked_to(profile: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["fio", profile, "--directory", "/bench"]) == 0
    printed = capsys.readouterr().out
    assert "\ndirectory=/bench\n" in printed and printed.startswith("# Made by iotrace ")
    target = tmp_path / "job.fio"
    assert cli.main(["fio", profile, "--directory", "/bench", "-o", str(target)]) == 0
    assert target.read_text() == printed
    assert cli.main(["fio", profile, "--directory", "/bench", "-o", str(target)]) == 2  # there is one already
    assert cli.main(["fio", profile, "--directory", "/bench", "-o", str(target), "--force"]) == 0


def test_original_paths_are_used_only_when_asked(profile: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["fio", profile, "--in-place", "--path", "/srv/a*"]) == 0
    printed = capsys.readouterr().out
    assert "\nfilename=/srv/a\\:b\n" in printed and "# CAREFUL: " in printed and "directory=" not in printed
    assert cli.main(["fio", profile, "--directory", "d"]) == 0
    assert "filename=/" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--directory", "d", "--in-place"],
        ["--directory", "a;b"],
        ["--directory", "d", "--scale", "nan"],
        ["--directory", "d", "--scale", "0"],
        ["--directory", "d", "--verify", "--runtime", "3s"],
        ["--in-place", "--verify"],
        ["--in-place"],  # one of the names means something to fio
    ],
)
def test_bad_requests(profile: str, arguments: List[str], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = cli.main(["fio", profile, *arguments])
    except SystemExit as error:
        status = int(error.code or 0)
    assert status == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_selection_without_files_makes_no_job(profile: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["fio", profile, "--directory", "d", "--path", "/none/*"]) == 2
    assert "nothing was read, written or synced" in capsys.readouterr().err
