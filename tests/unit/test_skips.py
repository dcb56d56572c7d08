"""A test run that is to be complete fails on tests that were skipped for want of a package, and on no others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Sequence

import pytest

ROOT = Path(__file__).resolve().parents[2]
LACKING = {
    "called": "def test(): needs.program('no-such-program')",
    "marked": "@needs.programs('no-such-program', 'sh')\ndef test(): pass",
    "module": "pytest.skip(needs.MISSING + 'a-module', allow_module_level=True)",
    "unknown": "def test(): pytest.skip('for once')",
}
COMPLAINTS = {"no-such-program: 2 tests", "a-module: 1 test", "? for once: 1 test"}
FINE = {
    "impossible": "def test(): needs.impossible('no such kernel')",
    "passes": "def test(): pass",
    "fails": "@pytest.mark.xfail\ndef test(): assert False",
}


def run(place: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "-o", "addopts="]
    return subprocess.run([*command, *options, str(place)], cwd=ROOT, capture_output=True, text=True)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name, text in FINE.items():
        (tmp_path / f"test_{name}.py").write_text(f"import pytest\nfrom tests import needs\n{text}\n")
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--complete",), ("--complete", "-n", "1")])
def test_what_is_missing_is_told_and_fails_a_complete_run(place: Path, options: Sequence[str]) -> None:
    for name, text in LACKING.items():
        (place / f"test_{name}.py").write_text(f"import pytest\nfrom tests import needs\n{text}\n")
    done = run(place, *options)
    assert set(done.stdout.splitlines()) >= COMPLAINTS
    assert done.returncode == (1 if options else 0)


@pytest.mark.slow
def test_what_is_impossible_does_not(place: Path) -> None:
    done = run(place, "--complete")
    assert (done.returncode, "for want of" in done.stdout) == (0, False)
