"""`iotrace export`: selecting, and writing to a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from iotrace import cli
from iotrace.profile.metrics import FileStats
from iotrace.profile.writer import write
from tests.unit.iotrace.views.formats.samples import FILE, HEADER


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    path = tmp_path / "p"
    write(path, HEADER, [FILE, FileStats(1, b"/b", bytes_written=1 << 40), FileStats(1, b"/c")])
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
