"""Where programs are attached."""

from __future__ import annotations

from typing import NamedTuple

# Where the kernel's functions for system calls are: SYSCALL_DEFINEx in arch/*/include/asm/syscall_wrapper.h.
FUNCTION_PREFIX = {"x86_64": "__x64_sys_", "aarch64": "__arm64_sys_"}


class Hook(NamedTuple):
    """Where a program is attached: "raw_tracepoint", "tracepoint", "fentry" or "fexit", and the name there.

    For fentry and fexit the name is that of the system call's function without the machine's prefix.
    """

    kind: str
    category: str
    name: str
