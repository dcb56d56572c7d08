"""The one place where the kernel is called: bpf(2), perf_event_open(2), and what this package needs besides.

What bpf(2) is given is in `pybpf.attributes`. A kernel refuses non-zero bytes beyond the attributes that it knows
(E2BIG) and takes anything shorter as followed by zeros, so an attribute is sent up to its last byte that is not zero.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import re
from enum import IntEnum
from typing import Callable, Dict, NamedTuple, Optional

from pybpf import privileges
from pybpf.attributes import PerfEventAttr

__all__ = [
    "ENOTSUPP",
    "BpfError",
    "Command",
    "address",
    "bpf",
    "can_wait_for_programs",
    "error_name",
    "exit_thread",
    "file_handle",
    "file_system_magic",
    "kernel_version_code",
    "lower_ambient",
    "mount",
    "mount_detached",
    "perf_event_open",
    "pidfd_open",
    "prepare",
    "ptrace",
    "rename_thread",
    "unshare",
    "wait_for_programs",
]

ENOTSUPP = 524  # internal to the kernel and in no libc, yet bpf(2) returns it
_EAGAIN_LIMIT = 5  # as libbpf: the verifier gives way to a pending signal, which must not go on for ever


class _Numbers(NamedTuple):
    """System call numbers of one machine (arch/*/entry/syscalls, asm-generic/unistd.h)."""

    bpf: int
    perf_event_open: int
    pidfd_open: int = 434
    fsopen: int = 430
    fsconfig: int = 431
    fsmount: int = 432
    exit: int = 93
    membarrier: int = 283


_MACHINES: Dict[str, _Numbers] = {
    "x86_64": _Numbers(bpf=321, perf_event_open=298, exit=60, membarrier=324),
    "aarch64": _Numbers(bpf=280, perf_event_open=241),
}

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.syscall.argtypes = [
    ctypes.c_long
] * 7  # without a declaration an int is passed as a C int, and an address loses its upper half
_libc.mount.restype = ctypes.c_int
_libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_void_p]
_libc.unshare.restype = ctypes.c_int
_libc.unshare.argtypes = [ctypes.c_int]
_libc.ptrace.restype = ctypes.c_long
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.prctl.restype = ctypes.c_int
_libc.prctl.argtypes = [ctypes.c_int, *([ctypes.c_ulong] * 4)]
_libc.fstatfs.restype = ctypes.c_int
_libc.fstatfs.argtypes = [ctypes.c_int, ctypes.c_void_p]
_libc.name_to_handle_at.restype = ctypes.c_int
_libc.name_to_handle_at.argtypes = [ctypes.c_int, ctypes.c_char_p, *([ctypes.c_void_p] * 2), ctypes.c_int]


class Command(IntEnum):
    """Commands of bpf(2) (`enum bpf_cmd`)."""

    MAP_CREATE = 0
    MAP_LOOKUP_ELEM = 1
    MAP_UPDATE_ELEM = 2
    MAP_DELETE_ELEM = 3
    MAP_GET_NEXT_KEY = 4
    PROG_LOAD = 5
    PROG_TEST_RUN = 10  # 4.12
    PROG_GET_NEXT_ID = 11  # 4.13
    PROG_GET_FD_BY_ID = 13  # 4.13
    OBJ_GET_INFO_BY_FD = 15  # 4.13
    RAW_TRACEPOINT_OPEN = 17  # 4.17
    BTF_LOAD = 18  # 4.18
    MAP_LOOKUP_BATCH = 24  # 5.6
    MAP_LOOKUP_AND_DELETE_BATCH = 25  # 5.6
    MAP_DELETE_BATCH = 27  # 5.6
    ENABLE_STATS = 32  # 5.8

    def __str__(self) -> str:
        return f"BPF_{self.name}"


def error_name(number: int) -> str:
    """What an errno means, with its name: `Invalid argument (EINVAL)`. libc does not know ENOTSUPP."""
    if number == ENOTSUPP:
        return "Operation not supported by this kernel (ENOTSUPP)"
    return f"{os.strerror(number)} ({errno.errorcode.get(number, str(number))})"


class BpfError(OSError):
    """A call that the kernel refused. Its text is one line.

    `errno` is the kernel's answer, `command` what was asked, `subject` of what, and `hint` what to do, if anything.
    """

    def __init__(self, number: int, command: str, subject: str = "", hint: str = "") -> None:
        super().__init__(number, error_name(number))
        self.command = command
        self.subject = subject
        self.hint = hint

    def __str__(self) -> str:
        what = f"{self.subject}: {self.command}" if self.subject else self.command
        assert self.errno is not None
        text = f"{what}: {error_name(self.errno)}"
        return f"{text}; {self.hint}" if self.hint else text


def _numbers() -> _Numbers:
    machine = os.uname().machine
    if machine not in _MACHINES:
        raise BpfError(errno.ENOSYS, "bpf(2)", f"machine {machine}", f"supported are {', '.join(sorted(_MACHINES))}")
    return _MACHINES[machine]


def address(data: bytes) -> int:
    """Where the content of `data` lies. The caller keeps `data` alive until the call that uses the address is over."""
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0


def _wire_size(attr: ctypes.Structure) -> int:
    """Bytes of `attr` up to the last that is not zero, in whole words of 8."""
    used = len(bytes(attr).rstrip(b"\0"))
    return min((used + 7) & ~7, ctypes.sizeof(attr)) or min(8, ctypes.sizeof(attr))


_ALLOCATING = (Command.MAP_CREATE, Command.PROG_LOAD, Command.BTF_LOAD)  # charged to RLIMIT_MEMLOCK before 5.11


def bpf(
    command: Command, attr: ctypes.Structure, size: Optional[int] = None, *, subject: str = "", retry: bool = True
) -> int:
    """Call bpf(2); its result is a descriptor that the caller now owns, or 0. Raises BpfError.

    `size` overrides how many bytes of `attr` are sent. EINTR is retried, and EAGAIN of PROG_LOAD a few times, unless
    `retry` is false (for commands that write into `attr` what a second call would read). After an EPERM that
    RLIMIT_MEMLOCK may explain, the limit is raised and the call repeated.
    """
    wire = _wire_size(attr) if size is None else size
    again = _EAGAIN_LIMIT
    limit = privileges.memlock() if command in _ALLOCATING else None
    number = _numbers().bpf
    while True:
        result: int = _libc.syscall(number, command, ctypes.addressof(attr), wire, 0, 0, 0)
        if result >= 0:
            return result
        code = ctypes.get_errno()
        if code == errno.EINTR and retry:
            continue
        if code == errno.EAGAIN and command is Command.PROG_LOAD and again:
            again -= 1
            continue
        if code == errno.EPERM and limit is not None:
            if privileges.raise_memlock(limit):
                limit = privileges.memlock()
                continue
            raise BpfError(code, str(command), subject, privileges.explain_eperm())
        raise BpfError(code, str(command), subject, _MISSING["bpf"] if code == errno.ENOSYS else "")


def prepare(command: Command, attr: ctypes.Structure, size: int) -> Callable[[], int]:
    """bpf(2) with these arguments, as a function to be called many times; it returns -1 for any error.

    The caller keeps what `attr` points to alive.
    """
    call = ctypes.CDLL(None).syscall  # a function of its own: without errno and conversions it takes half the time
    call.restype = ctypes.c_long
    numbers = ctypes.c_long(_numbers().bpf), ctypes.c_long(command)
    where, length = ctypes.byref(attr), ctypes.c_long(size)
    return functools.partial(call, *numbers, where, length)


# What a kernel was built without if it does not have a system call, or what a filter (seccomp) hides.
_MISSING = {
    "bpf": "this kernel has no bpf(2): it needs CONFIG_BPF_SYSCALL (or a container's filter forbids it)",
    "perf_event_open": "this kernel has no perf events: it needs CONFIG_PERF_EVENTS (or a filter forbids them)",
}


_MEMBARRIER_QUERY, _MEMBARRIER_GLOBAL = 0, 1  # MEMBARRIER_CMD_*, include/uapi/linux/membarrier.h


def can_wait_for_programs() -> bool:
    """Whether `wait_for_programs` works. It does not with nohz_full, which the kernel tells, and under some filters."""
    known: int = _libc.syscall(_numbers().membarrier, _MEMBARRIER_QUERY, 0, 0, 0, 0, 0)
    return known > 0 and bool(known & _MEMBARRIER_GLOBAL)


def wait_for_programs() -> None:
    """Wait until every BPF program that was running has ended (`pybpf.grace` says when). Raises BpfError."""
    _call("membarrier", _numbers().membarrier, _MEMBARRIER_GLOBAL, subject="running programs")


def kernel_version_code() -> int:
    """LINUX_VERSION_CODE, which a KPROBE program must name before 5.0 (6c4fc209fcf9). Nothing else may depend on it."""
    numbers = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", os.uname().release)
    major, minor, patch = (int(number or 0) for number in numbers.groups()) if numbers else (0, 0, 0)
    return major << 16 | minor << 8 | min(patch, 255)


def _call(name: str, number: int, *arguments: int, subject: str = "") -> int:
    padded = (*arguments, *([0] * (6 - len(arguments))))
    while True:
        result: int = _libc.syscall(number, *padded)
        if result >= 0:
            return result
        code = ctypes.get_errno()
        if code != errno.EINTR:
            hint = _MISSING.get(name, "") if code == errno.ENOSYS else ""
            if code == errno.EPERM and name == "perf_event_open":
                hint = privileges.explain_eperm()
            raise BpfError(code, name, subject, hint)


def perf_event_open(attr: PerfEventAttr, pid: int, cpu: int, *, subject: str = "") -> int:
    """Open a perf event, close-on-exec; its descriptor is the caller's. With `pid` -1 it is of every process on `cpu`.

    Raises BpfError.
    """
    attr.size = ctypes.sizeof(attr)
    cloexec = 8  # PERF_FLAG_FD_CLOEXEC, 3.14
    return _call(
        "perf_event_open", _numbers().perf_event_open, ctypes.addressof(attr), pid, cpu, -1, cloexec, subject=subject
    )


def pidfd_open(pid: int) -> int:
    """A pidfd (5.3), close-on-exec as they all are; the descriptor is the caller's. Raises BpfError."""
    return _call("pidfd_open", _numbers().pidfd_open, pid, 0, subject=f"process {pid}")


def mount_detached(filesystem: str) -> int:
    """Mount `filesystem` nowhere (fsopen, fsmount: 5.2) and return a descriptor of its root, which is the caller's.

    The mount is in no namespace and is gone with its last descriptor. Raises BpfError, ENOSYS before 5.2.
    """
    numbers, cloexec, create = _numbers(), 1, 6  # FSOPEN_CLOEXEC, FSMOUNT_CLOEXEC, FSCONFIG_CMD_CREATE
    name = filesystem.encode()
    context = _call("fsopen", numbers.fsopen, address(name), cloexec, subject=filesystem)
    try:
        _call("fsconfig", numbers.fsconfig, context, create, 0, 0, 0, subject=filesystem)
        return _call("fsmount", numbers.fsmount, context, cloexec, 0, subject=filesystem)
    finally:
        os.close(context)


def mount(source: str, target: str, filesystem: str, flags: int) -> None:
    """mount(2) without data. Raises BpfError."""
    if _libc.mount(source.encode(), target.encode(), filesystem.encode(), flags, None) < 0:
        raise BpfError(ctypes.get_errno(), "mount", f"{filesystem} on {target}")


def unshare(flags: int) -> None:
    """unshare(2). Raises BpfError."""
    if _libc.unshare(flags) < 0:
        raise BpfError(ctypes.get_errno(), "unshare")


def rename_thread(name: bytes) -> None:
    """Give the calling thread a name, of which the kernel keeps 15 bytes: prctl(PR_SET_NAME). Raises BpfError."""
    text = ctypes.create_string_buffer(name)
    if _libc.prctl(15, ctypes.addressof(text), 0, 0, 0) < 0:
        raise BpfError(ctypes.get_errno(), "prctl(PR_SET_NAME)")


def lower_ambient(capability: int) -> None:
    """Have no program that this thread executes get a capability that is ambient, whether it is or not: prctl(2), 4.3.

    What a kernel does not know, it does not pass on either.
    """
    _libc.prctl(47, 3, capability, 0, 0)  # PR_CAP_AMBIENT, PR_CAP_AMBIENT_LOWER


def exit_thread() -> None:
    """exit(2): end the calling thread alone. Python does not learn of it, and never sees the thread again."""
    _libc.syscall(_numbers().exit, 0, 0, 0, 0, 0, 0)


def ptrace(request: int, tid: int, data: int = 0) -> None:
    """ptrace(2) without an address. Raises BpfError."""
    if _libc.ptrace(request, tid, 0, data) < 0:
        raise BpfError(ctypes.get_errno(), "ptrace", f"thread {tid}")


def file_system_magic(fd: int) -> int:
    """f_type of fstatfs(2): what kind of file system a descriptor's file is on. Raises BpfError."""
    buffer = (ctypes.c_ulong * 32)()  # struct statfs begins with it and has 120 bytes
    if _libc.fstatfs(fd, ctypes.addressof(buffer)) < 0:
        raise BpfError(ctypes.get_errno(), "fstatfs", f"descriptor {fd}")
    return int(buffer[0])


def file_handle(fd: int) -> bytes:
    """f_handle of name_to_handle_at(2) (2.6.39): what a file system needs to find a file again.

    Raises BpfError, EOPNOTSUPP for a file system without handles.
    """
    limit = 128  # MAX_HANDLE_SZ
    handle = (ctypes.c_uint * (2 + limit // 4))(limit)  # handle_bytes, handle_type, f_handle
    mount_id, empty_path = ctypes.c_int(), 0x1000
    if _libc.name_to_handle_at(fd, b"", ctypes.addressof(handle), ctypes.addressof(mount_id), empty_path) < 0:
        raise BpfError(ctypes.get_errno(), "name_to_handle_at", f"descriptor {fd}")
    return bytes(handle)[8 : 8 + handle[0]]
