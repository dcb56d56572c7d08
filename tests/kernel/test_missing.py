"""Kernels without what iotrace needs: a seccomp filter answers ENOSYS as they do. One line, naming the option."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path
from typing import List

import pytest

ROOT = Path(__file__).resolve().parents[2]
NUMBERS = {"x86_64": {"bpf": 321, "perf_event_open": 298}, "aarch64": {"bpf": 280, "perf_event_open": 241}}

# Installs a filter that refuses one system call (linux/seccomp.h, linux/filter.h), then becomes iotrace.
WITHOUT = """
import ctypes, errno, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
number = int(sys.argv[1])
code = struct.pack("HBBI", 0x20, 0, 0, 0)                       # load the system call's number
code += struct.pack("HBBI", 0x15, 0, 1, number)                 # if it is this one
code += struct.pack("HBBI", 0x06, 0, 0, 0x00050000 | errno.ENOSYS)
code += struct.pack("HBBI", 0x06, 0, 0, 0x7FFF0000)             # else allow
buffer = ctypes.create_string_buffer(code, len(code))
program = struct.pack("HxxxxxxQ", 4, ctypes.addressof(buffer))
holder = ctypes.create_string_buffer(program, len(program))
libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
assert libc.prctl(38, 1, 0, 0, 0) == 0                          # PR_SET_NO_NEW_PRIVS
assert libc.prctl(22, 2, ctypes.addressof(holder), 0, 0) == 0   # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
os.execv(sys.executable, [sys.executable, "-m", "iotrace", *sys.argv[2:]])
"""


@pytest.mark.parametrize(
    ("call", "options", "named"),
    [("bpf", [], "CONFIG_BPF_SYSCALL"), ("perf_event_open", ["--attach", "perf"], "CONFIG_PERF_EVENTS")],
)
def test_one_line_names_the_option(call: str, options: List[str], named: str, tmp_path: Path) -> None:
    number = NUMBERS[platform.machine()][call]
    arguments = ["run", *options, "-o", str(tmp_path / "p"), "--", "true"]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(number), *arguments], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    assert done.returncode == 125
    assert named in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
