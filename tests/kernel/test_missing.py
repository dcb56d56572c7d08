"""What iotrace needs and does not have: one line says what, and what to do.

For kernels without a system call a seccomp filter answers ENOSYS, as they do.
"""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
from pathlib import Path
from typing import List, Tuple

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


def limited(limit: int, values: Tuple[int, int], place: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """A run under a resource limit, soft and hard."""
    words = [sys.executable, "-m", "iotrace", *options[:2], "run", "-q", *options[2:], "-o", str(place / "p"), "--"]
    return subprocess.run(
        [*words, "sh", "-c", "exit 7"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: resource.setrlimit(limit, values),
    )


OLD = ("--pretend-kernel", "4.14")
NEW = ("--pretend-kernel", "9.0")


@pytest.mark.parametrize("options", [NEW, (*NEW, "--attach", "perf"), OLD], ids=["raw", "perf", "old"])
@pytest.mark.parametrize("files", [8, 10, 20, 60, 100, 130, 230])
def test_few_descriptors(files: int, options: Tuple[str, ...], tmp_path: Path) -> None:
    """A run works or says how many it takes: nothing that cannot be opened is taken for missing in the kernel."""
    done = limited(resource.RLIMIT_NOFILE, (files, files), tmp_path, *options)
    assert done.returncode == (7 if files >= (230 if options != NEW else 130) else 125)
    if done.returncode == 125:
        assert (
            done.stderr.count("\n") == 1 and f"only {files} may be open" in done.stderr and "ulimit -n" in done.stderr
        )


def test_a_soft_limit_of_descriptors_is_raised(tmp_path: Path) -> None:
    assert limited(resource.RLIMIT_NOFILE, (20, 4096), tmp_path, *NEW).returncode == 7


@pytest.mark.parametrize("size", [24, 40, 48, 56, 64, 70])
def test_little_memory(size: int, tmp_path: Path) -> None:
    """What can be done in so little is the interpreter's matter; but what cannot is told in a line."""
    done = limited(resource.RLIMIT_AS, (size << 20, size << 20), tmp_path, *NEW)
    assert done.returncode == 7 or (done.returncode == 125 and "memory" in done.stderr), done.stderr
    assert done.stderr.count("\n") <= 1
