"""Standard streams that are closed, full, or that nobody reads: what is lost is what was said on standard error."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import List

import pytest

import iotrace
from iotrace.profile.writer import write
from tests.unit.iotrace.views.samples import HEADER, sample

ROOT = Path(iotrace.__file__).parent.parent
SAY = "from iotrace import streams; streams.prepare(); import sys; print('x' * 9000, file=sys.stderr); sys.exit(3)"


def status(redirection: str) -> int:
    words = ["sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, "-c", SAY]
    return subprocess.run(words, cwd=ROOT, stderr=subprocess.DEVNULL).returncode


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", "0<&- 1>&- 2>&-"])
def test_nothing_that_cannot_be_said_changes_the_exit_status(redirection: str) -> None:
    assert status(redirection) == 3


def test_a_pipe_that_nobody_reads() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    assert subprocess.run([sys.executable, "-c", SAY], cwd=ROOT, stderr=writing).returncode == 3
    os.close(writing)


def test_what_can_be_said_is_said() -> None:
    done = subprocess.run([sys.executable, "-c", SAY], cwd=ROOT, stderr=subprocess.PIPE)
    assert done.stderr == b"x" * 9000 + b"\n"


def test_no_file_takes_the_number_of_a_stream_that_is_closed() -> None:
    program = "from iotrace import streams; streams.prepare(); import os; os._exit(os.open('/', os.O_RDONLY))"
    words = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", program]
    assert subprocess.run(words, cwd=ROOT).returncode == 3


@pytest.mark.parametrize("closed", [">&-", "<&- >&-", ">/dev/full"])
@pytest.mark.parametrize(
    "words", [["doctor", "--no-load"], ["--help"], ["--version"], ["run", "--help"], ["report", "P"]]
)
def test_standard_output_that_cannot_be_written_is_told_in_one_line(
    words: List[str], closed: str, tmp_path: Path
) -> None:
    write(tmp_path / "p", HEADER, sample())
    words = [str(tmp_path / "p") if word == "P" else word for word in words]
    script = f'exec "$@" {closed}'
    command = ["sh", "-c", script, "sh", sys.executable, "-m", "iotrace", *words]
    done = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)
    assert done.stderr.startswith((b"iotrace: standard output: not written: ", b"iotrace: a run would fail here"))
