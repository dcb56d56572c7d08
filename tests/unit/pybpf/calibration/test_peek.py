"""The program that reads kernel memory, and the smallest tasks: what can be said of them without a kernel."""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
from pathlib import Path

import pytest

from pybpf.calibration import peek
from pybpf.calibration.renamer import image
from tests import needs


def test_the_oldest_kernel_takes_it() -> None:
    perf, raw = peek.program(raw=False), peek.program(raw=True)
    assert perf.requires().version <= (4, 14)
    assert raw.requires().version <= (4, 17)
    assert perf.slots < 4096
    assert perf.instructions == raw.instructions


def test_its_records_are_those_that_python_packs() -> None:
    request = peek.Request.pack(ticket=1, name=(2, 3), address=4, relative=5, length=6, chunks=7)
    assert list((ctypes.c_uint64 * 7).from_buffer_copy(request)) == [1, 2, 3, 4, 5, 6, 7]
    assert peek.Reply.size == 32 + peek.CHUNK * peek.CHUNKS


@pytest.mark.parametrize("bits", [64, 32])
def test_the_smallest_program_renames_itself_and_ends(bits: int, tmp_path: Path) -> None:
    machine = os.uname().machine
    if machine not in ("x86_64", "aarch64"):
        needs.impossible(f"no such program for {machine}")
    path = tmp_path / "renamer"
    path.write_bytes(image(machine, bits, b"a-name"))
    path.chmod(0o755)
    try:
        assert subprocess.run([str(path)]).returncode == 0
    except OSError as error:
        if error.errno == errno.ENOEXEC and bits == 32:
            needs.impossible("this kernel runs no 32-bit programs")
        raise
    traced = subprocess.run([needs.program("strace"), str(path)], stderr=subprocess.PIPE, check=True).stderr.decode()
    assert traced.count('prctl(PR_SET_NAME, "a-name") ') == 2
    assert "exit(0)" in traced
