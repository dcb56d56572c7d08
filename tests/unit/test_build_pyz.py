"""The one-file build: the same bytes from the same sources, complete, and in need of nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import List

import pytest

from tests import needs

ROOT = Path(__file__).resolve().parents[2]


def run(*command: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run([str(word) for word in command], cwd=cwd, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> List[Path]:
    """Two builds, the second under another umask and in another time zone."""
    made = []
    for umask, zone in ((0o022, "UTC"), (0o077, "Asia/Tokyo")):
        target = tmp_path_factory.mktemp("pyz") / "iotrace.pyz"
        command = ["sh", "-c", 'umask "$1"; TZ="$2" exec "$3" "$4" -o "$5"', "sh", f"{umask:o}", zone, sys.executable]
        done = run(*command, ROOT / "tools/build-pyz", target, cwd=target.parent)
        assert done.returncode == 0, done.stderr
        made.append(target)
    return made


def test_two_builds_are_the_same_bytes(archives: List[Path]) -> None:
    one, other = (path.read_bytes() for path in archives)
    assert one == other


def test_holds_every_module_and_nothing_compiled(archives: List[Path]) -> None:
    with zipfile.ZipFile(archives[0]) as archive:
        names = {name for name in archive.namelist() if name.endswith(".py")}
        assert not [name for name in archive.namelist() if name.endswith(".pyc")]
    listed = run("git", "ls-files", "asm/*.py", "pybpf/*.py", "programs/*.py", "iotrace/*.py", cwd=ROOT)
    if listed.returncode != 0:
        needs.impossible("not a git checkout")
    assert names >= set(listed.stdout.split())


def test_runs_away_from_the_checkout(archives: List[Path], tmp_path: Path) -> None:
    """Isolated: neither the working directory nor site-packages can lend it a module."""
    done = run(sys.executable, "-I", "-S", archives[0], "--version", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    commit = run("git", "rev-parse", "--short=12", "HEAD", cwd=ROOT)
    if commit.returncode == 0:
        assert f"({commit.stdout.strip()}" in done.stdout
    assert run(archives[0], "run", "--help", cwd=tmp_path).returncode == 0


@pytest.mark.slow
@needs.root
def test_traces(archives: List[Path], tmp_path: Path) -> None:
    done = run(sys.executable, "-I", "-S", archives[0], "run", "-q", "-o", "out", "--", "true", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out").read_bytes()[:15] == b"SQLite format 3"
