"""A program that does nothing but wait, so that two observers can look at the same system calls.

iotrace sees a command from its first system call, strace only from the moment it has attached.  The gate closes the
gap: it stops itself without having touched a file (no dynamic loader, no libc: a static ELF of a few instructions),
strace attaches to the stopped process, and when it is continued it execs the real command, watched by both.
With no command it exits with status 0 when continued, which makes it a switch that ends a tracing run.
"""

from __future__ import annotations

import os
import platform
import struct
from pathlib import Path
from typing import List, Optional

_BASE = 0x400000
_HEADERS = 64 + 56  # Elf64_Ehdr and one Elf64_Phdr

# kill(getpid(), SIGSTOP); if (argc == 1) exit_group(0); execve(argv[1], argv + 1, envp); exit_group(127);
_X86_64 = bytes.fromhex(
    "b827000000"
    "0f05"  # getpid
    "89c7"
    "be13000000"
    "b83e000000"
    "0f05"  # kill(eax, SIGSTOP)
    "488b0c24"
    "31ff"
    "4883f901"
    "7419"  # rcx = argc; edi = 0; if argc == 1 goto exit
    "488d742410"
    "488b3e"
    "488d54cc10"  # rsi = argv + 1; rdi = *rsi; rdx = envp
    "b83b000000"
    "0f05"  # execve
    "bf7f000000"  # edi = 127
    "b8e7000000"
    "0f05"  # exit: exit_group
)
_AARCH64 = bytes.fromhex(
    "881580d2"
    "010000d4"  # getpid
    "610280d2"
    "281080d2"
    "010000d4"  # kill(x0, SIGSTOP)
    "e90340f9"
    "000080d2"
    "3f0500f1"
    "00010054"  # x9 = argc; x0 = 0; if argc == 1 goto exit
    "e1430091"
    "200040f9"
    "220c098b"  # x1 = argv + 1; x0 = *x1; x2 = envp
    "a81b80d2"
    "010000d4"  # execve
    "e00f80d2"  # x0 = 127
    "c80b80d2"
    "010000d4"  # exit: exit_group
)
_CODE = {"x86_64": (62, _X86_64), "aarch64": (183, _AARCH64)}  # e_machine, text


def write(path: Path) -> None:
    """Put the gate's executable at `path`.  KeyError on a machine it was not written for."""
    machine, text = _CODE[platform.machine()]
    size = _HEADERS + len(text)
    ident = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    header = struct.pack("<16sHHIQQQIHHHHHH", ident, 2, machine, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)  # PT_LOAD, readable and executable
    path.write_bytes(header + segment + text)
    path.chmod(0o755)


def _stat(pid: int) -> List[str]:
    """The fields of /proc/PID/stat from the third (state) on; none once the process has gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def start_time(pid: int) -> str:
    """When the process was started, in clock ticks since boot; "" once it has gone."""
    fields = _stat(pid)
    return fields[19] if fields else ""


def stopped(path: Path) -> Optional[int]:
    """The process that runs the gate at `path` and has stopped itself, if there is one."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                executable = os.readlink(f"/proc/{name}/exe")
            except OSError:
                continue
            if executable == str(path) and _stat(int(name))[:1] == ["T"]:
                return int(name)
    return None


def tracer(pid: int) -> int:
    """The process that ptraces `pid`; 0 if none does."""
    for line in Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines():
        if line.startswith("TracerPid:"):
            return int(line.split()[1])
    return 0
