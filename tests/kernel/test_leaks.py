"""What is left over is seen, so that the tests beside this one can fail for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from asm import ProgramType
from pybpf.programs import load, program_ids
from pybpf.types.binary import Binary
from tests.kernel import leaks

ROOT = Path(__file__).resolve().parents[2]
RETURN_0 = bytes.fromhex("b700000000000000 9500000000000000")
NOTHING = Binary("left_over", ProgramType.SOCKET_FILTER, "GPL", RETURN_0, ())
HOLDER = """
import os, sys
from pybpf.programs import load
from pybpf.types.binary import Binary
if sys.argv[1] == "stranger" and os.fork():
    os._exit(0)
program = load(Binary("of_a_child", 1, "GPL", bytes.fromhex(sys.argv[2]), ()), {})
os.write(1, b"%d %d\\n" % (program.info().id, os.getpid()))
os.read(0, 1)
"""


def test_a_program_that_is_not_closed() -> None:
    before = set(program_ids())
    program = load(NOTHING, {})
    assert leaks.programs_since(before, 0.1) == {program.info().id: "left_over"}
    program.close()
    assert leaks.programs_since(before) == {}


def held(whose: str) -> None:
    before = set(program_ids())
    command = [sys.executable, "-c", HOLDER, whose, RETURN_0.hex()]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    number, holder = map(int, process.stdout.readline().split())
    try:
        if whose == "stranger":
            process.wait()  # and its child belongs to somebody else
        seen = leaks.programs_since(before, 0.1)
        assert (seen.get(number) == "of_a_child") == (whose == "child")
    finally:
        os.kill(holder, signal.SIGKILL)
        process.communicate()
    assert leaks.programs_since(before) == {}


def test_a_program_of_a_child() -> None:
    held("child")


def test_a_program_of_a_stranger_does_not_matter() -> None:
    held("stranger")


def test_a_descriptor_and_a_mapping() -> None:
    files = leaks.open_files()
    fd = os.open(os.devnull, os.O_RDONLY)
    assert leaks.open_files() == {**files, str(fd): os.devnull}
    os.close(fd)
    assert leaks.open_files() == files
