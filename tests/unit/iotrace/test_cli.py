"""Exit statuses, one-line errors, lazy imports."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, List, cast

import pytest

import iotrace
from iotrace import cli
from iotrace.profile.metrics import FileStats, Header
from iotrace.profile.writer import write

ROOT = Path(iotrace.__file__).parent.parent
IOTRACE = (sys.executable, "-m", "iotrace")


WRITE = [
    ["report", "--limit", "0"],
    ["export"],
    ["export", "--format", "csv", "--table", "file"],
    ["export", "--format", "jsonl"],
    ["export", "--format", "openmetrics", "--top", "1000"],
]


def tool(*arguments: str, **more: Any) -> subprocess.CompletedProcess[bytes]:
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "cwd": ROOT, **more}
    return cast("subprocess.CompletedProcess[bytes]", subprocess.run([*IOTRACE, *arguments], **options))


@pytest.fixture
def stored(tmp_path: Path) -> str:
    path = tmp_path / "p"
    write(path, Header(), (FileStats(1, b"/%d" % i) for i in range(5000)))
    return str(path)


def test_the_version_is_that_of_the_package() -> None:
    declared = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert declared
    assert tool("--version").stdout.decode() == f"iotrace {declared.group(1)}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["--nonsense"],
        ["--", "report"],
        ["report"],
        ["report", "/absent\x1b[2J\n"],
        ["report", "/dev/null"],
        ["report", "x", "--by", "moon"],
        ["export", "x", "--limit", "-1"],
        ["export", "x", "--limit", "many"],
    ],
)
def test_a_bad_request_is_one_safe_line_and_status_2(arguments: List[str], refused: Callable[..., str]) -> None:
    assert "\x1b" not in refused(*arguments)


@pytest.mark.parametrize("command", ["report", "export"])
def test_usage_opens_with_examples(command: str) -> None:
    out = tool(command, "--help").stdout.decode()
    assert out.startswith(f"iotrace {command} ") and "\nusage: iotrace" in out


@pytest.mark.parametrize("columns", ["60", "100", "none"])
def test_help_is_as_wide_as_argparse_would_make_it(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    formatter = cli._Formatter("iotrace")
    assert formatter._width == argparse.RawDescriptionHelpFormatter("iotrace")._width


@pytest.mark.parametrize("arguments", WRITE)
def test_output_that_cannot_be_written(stored: str, arguments: List[str]) -> None:
    with open("/dev/full", "wb") as full:
        done = tool(*arguments, stored, stdout=full)
    assert (done.returncode, done.stderr) == (1, b"iotrace: standard output: not written: No space left on device\n")


@pytest.mark.parametrize("arguments", WRITE)
def test_a_reader_that_has_gone_is_met_with_silence(stored: str, arguments: List[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = tool(*arguments, stored, stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_command_imports_no_other(stored: str) -> None:
    program = "import sys; from iotrace import cli; cli.main(sys.argv[1:]); print('\\n' + ' '.join(sys.modules))"
    words = [sys.executable, "-c", program, "export", stored]
    out = subprocess.run(words, stdout=subprocess.PIPE, cwd=ROOT, check=True)
    modules = out.stdout.decode().splitlines()[-1].split()
    assert "iotrace.commands.export" in modules
    assert not {"iotrace.commands.report", "iotrace.commands.run", "iotrace.commands.doctor", "pybpf"} & set(modules)
