"""What probes try: to load a program, create a map, or call bpf(2) with a descriptor that cannot be one.

It makes the calls itself, below `pybpf.maps` and `pybpf.programs`, which ask the features.
"""

from __future__ import annotations

import ctypes
import errno
import struct
from typing import TYPE_CHECKING, Callable, Mapping, Tuple

from asm import ProgramType
from pybpf.attributes import BtfLoadAttr, MapCreateAttr, ProgramLoadAttr
from pybpf.descriptor import Descriptor
from pybpf.syscalls import ENOTSUPP, BpfError, Command, address, bpf, kernel_version_code
from pybpf.types.btf_build import FUNCTION_SIZE, LINE_SIZE, program_info

if TYPE_CHECKING:
    from asm import Assembler

__all__ = ["NO_FD", "REFUSED", "attempt", "create", "encoded", "knows", "load", "load_btf", "load_with_notes", "loads"]

REFUSED = (errno.EINVAL, errno.E2BIG, errno.EOPNOTSUPP, ENOTSUPP)
"""How a kernel refuses what it does not know: EINVAL for a command (kernel/bpf/syscall.c, the default of bpf(2)'s
switch), an opcode, a helper, a kind of map or program; E2BIG for an attribute beyond those that it has."""
NO_FD = 0xFFFFFFFF
_SUBJECT = "feature probe"


def attempt(action: Callable[[], int], refused: Tuple[int, ...] = REFUSED) -> bool:
    """Whether the kernel does `action`, which returns a descriptor; that is closed.

    Any error not in `refused` is passed on: it does not decide the question.
    """
    try:
        fd = action()
    except BpfError as error:
        if error.errno in refused:
            return False
        raise
    Descriptor(fd).close()
    return True


def knows(command: Command, attr: ctypes.Structure) -> bool:
    """Whether the kernel knows a command, by a descriptor in `attr` that cannot be one. Raises BpfError."""
    try:
        Descriptor(bpf(command, attr, ctypes.sizeof(attr))).close()
    except BpfError as error:
        if error.errno == errno.EBADF:
            return True
        if error.errno in (errno.EINVAL, errno.E2BIG):
            return False
        raise
    return True


def encoded(a: Assembler, fds: Mapping[str, int] = {}) -> bytes:
    """The program in `a` as bytes, with the descriptors of its maps by name."""
    return a.program().encode(fds)


def load(code: bytes, kind: ProgramType = ProgramType.SOCKET_FILTER, *, name: bytes = b"", attach_to: int = -1) -> int:
    """Load a program; its descriptor, which is the caller's. Raises BpfError.

    `attach_to` is the BTF id of the function that a TRACING program is for, which is loaded to run at its entry.
    """
    attr = ProgramLoadAttr(
        prog_type=kind, insn_cnt=len(code) // 8, insns=address(code), license=address(b"GPL\0"), prog_name=name
    )
    if kind is ProgramType.KPROBE:
        attr.kern_version = kernel_version_code()
    if attach_to >= 0:
        attr.expected_attach_type, attr.attach_btf_id = 24, attach_to  # BPF_TRACE_FENTRY
    return bpf(Command.PROG_LOAD, attr, subject=_SUBJECT)


def loads(a: Assembler, refused: Tuple[int, ...] = REFUSED, fds: Mapping[str, int] = {}) -> bool:
    """Whether the kernel takes the program in `a`. Raises BpfError for an error not in `refused`."""
    code = encoded(a, fds)
    return attempt(lambda: load(code, a.kind), refused)


def load_with_notes(a: Assembler, fds: Mapping[str, int] = {}) -> int:
    """Load the program in `a` with its functions and source lines (5.0); its descriptor, which is the caller's.

    A function that the kernel calls back must have them. Raises BpfError.
    """
    spec = a.program()
    code, info = spec.encode(fds), program_info(spec)
    with Descriptor(_load_types(info.btf)) as types:
        attr = ProgramLoadAttr(
            prog_type=a.kind,
            insn_cnt=len(code) // 8,
            insns=address(code),
            license=address(b"GPL\0"),
            prog_btf_fd=types.fileno(),
            func_info_rec_size=FUNCTION_SIZE,
            func_info=address(info.functions),
            func_info_cnt=len(info.functions) // FUNCTION_SIZE,
            line_info_rec_size=LINE_SIZE,
            line_info=address(info.lines),
            line_info_cnt=len(info.lines) // LINE_SIZE,
        )
        return bpf(Command.PROG_LOAD, attr, subject=_SUBJECT)


def create(kind: int, key: int, value: int, entries: int, *, flags: int = 0, name: bytes = b"") -> int:
    """Create a map with keys and values of so many bytes; its descriptor, which is the caller's. Raises BpfError."""
    attr = MapCreateAttr(
        map_type=kind, key_size=key, value_size=value, max_entries=entries, map_flags=flags, map_name=name
    )
    return bpf(Command.MAP_CREATE, attr, subject=_SUBJECT)


def load_btf() -> int:
    """Load a type section that holds one `int`, of id 1; its descriptor, which is the caller's. Raises BpfError."""
    strings = b"\0int\0"
    types = struct.pack("<4I", 1, 1 << 24, 4, 1 << 24 | 32)
    blob = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings)) + types + strings
    return _load_types(blob)


def _load_types(blob: bytes) -> int:
    return bpf(Command.BTF_LOAD, BtfLoadAttr(btf=address(blob), btf_size=len(blob)), subject=_SUBJECT)
