"""What the running kernel can do, found out by trying, never by its version.

A probe has three answers: yes, no, or that it could not tell (then `error` says why). Only the first two are kept.
Every feature names the kernel that brought it: for messages, for tests, and for `pretend`, which hides what a given
kernel would not have had. Probes prefer what costs the kernel least: a descriptor that cannot be one (EBADF if the
command is known, EINVAL if not), or a program of two instructions.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import struct
from enum import Enum
from functools import lru_cache
from typing import Callable, Dict, Optional, Tuple

import asm
from asm import MapType, ProgramType
from pybpf.descriptor import Descriptor
from pybpf.privileges import Capability, capabilities
from pybpf.syscalls import (
    ENOTSUPP,
    BpfError,
    BtfLoadAttr,
    Command,
    EnableStatsAttr,
    MapBatchAttr,
    MapCreateAttr,
    ProgramLoadAttr,
    RawTracepointAttr,
    address,
    bpf,
    kernel_version_code,
    mount_detached,
)

__all__ = [
    "FEATURES",
    "Capability",
    "Feature",
    "State",
    "capabilities",
    "helper",
    "lockdown",
    "map_type",
    "pretend",
    "pretended",
    "program_type",
]

Version = Tuple[int, int]


class State(Enum):
    """The answer of a probe."""

    SUPPORTED = "supported"
    NOT_SUPPORTED = "not supported"
    UNKNOWN = "could not tell"


_pretended: Optional[Version] = None


def pretend(version: Optional[Version]) -> None:
    """Answer "not supported" for every feature newer than `version`, such as (4, 14); None ends it."""
    global _pretended  # noqa: PLW0603 - one process traces one kernel
    _pretended = version


def pretended() -> Optional[Version]:
    """The kernel that `pretend` set."""
    return _pretended


class Feature:
    """Something that kernels have from `since` on.

    `probe` returns whether this one has it, or raises OSError if that cannot be told.
    """

    def __init__(self, name: str, since: Version, description: str, probe: Callable[[], bool]) -> None:
        self.name = name
        self.since = since
        self.description = description
        self.error: Optional[OSError] = None
        self._probe = probe
        self._answer: Optional[bool] = None

    @property
    def state(self) -> State:
        """The answer, probing if there is none yet."""
        if _pretended is not None and self.since > _pretended:
            return State.NOT_SUPPORTED
        if self._answer is None:
            try:
                self._answer = self._probe()
                self.error = None
            except OSError as error:
                self.error = error
                return State.UNKNOWN
        return State.SUPPORTED if self._answer else State.NOT_SUPPORTED

    def supported(self) -> bool:
        """Whether the kernel certainly has it."""
        return self.state is State.SUPPORTED

    @property
    def known(self) -> Optional[bool]:
        """The answer of a probe that was made, None if there was none."""
        return self._answer

    def assume(self, answer: bool) -> None:
        """Take `answer` for that of a probe, which another process made on the same kernel."""
        self._answer = answer

    def __repr__(self) -> str:
        return f"<Feature {self.name}, Linux {self.since[0]}.{self.since[1]}>"


_REFUSED = (errno.EINVAL, errno.E2BIG, errno.EOPNOTSUPP, ENOTSUPP)


def _attempt(action: Callable[[], int], refused: Tuple[int, ...] = _REFUSED) -> bool:
    """Whether the kernel does `action`, which returns a descriptor to be closed.

    Any error not in `refused` is passed on.
    """
    try:
        fd = action()
    except BpfError as error:
        if error.errno in refused:
            return False
        raise
    Descriptor(fd).close()
    return True


def _instruction(op: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    return struct.pack("<BBhi", op, dst | src << 4, off, imm)


_BPF_TRACE_FENTRY = 24
_MOV_R0_0 = _instruction(0xB7)
_EXIT = _instruction(0x95)


def _load(code: bytes, kind: ProgramType = ProgramType.SOCKET_FILTER, name: bytes = b"") -> int:
    attr = ProgramLoadAttr(
        prog_type=kind, insn_cnt=len(code) // 8, insns=address(code), license=address(b"GPL\0"), prog_name=name
    )
    if kind is ProgramType.TRACING:
        attr.expected_attach_type = _BPF_TRACE_FENTRY
        try:  # with no function at all: EPERM already says that none will do, and spares reading the kernel's BTF
            return bpf(Command.PROG_LOAD, attr, subject="feature probe")
        except BpfError as error:
            if error.errno not in _REFUSED:
                raise
        attr.attach_btf_id = _fentry_target()
    if kind is ProgramType.KPROBE:
        attr.kern_version = kernel_version_code()
    return bpf(Command.PROG_LOAD, attr, subject="feature probe")


def _loads(code: bytes, refused: Tuple[int, ...] = _REFUSED) -> bool:
    return _attempt(lambda: _load(code), refused)


def _create(kind: int, key: int, value: int, entries: int, *, flags: int = 0, name: bytes = b"") -> int:
    attr = MapCreateAttr(
        map_type=kind, key_size=key, value_size=value, max_entries=entries, map_flags=flags, map_name=name
    )
    return bpf(Command.MAP_CREATE, attr, subject="feature probe")


def _knows(command: Command, attr: ctypes.Structure) -> bool:
    """Whether the kernel knows a command, by a descriptor that cannot be one."""
    try:
        Descriptor(bpf(command, attr, ctypes.sizeof(attr))).close()
    except BpfError as error:
        if error.errno == errno.EBADF:
            return True
        if error.errno in (errno.EINVAL, errno.E2BIG):
            return False
        raise
    return True


_NO_FD = 0xFFFFFFFF


def _batch() -> bool:
    return _knows(Command.MAP_LOOKUP_BATCH, MapBatchAttr(map_fd=_NO_FD))


def _raw_tracepoint() -> bool:
    # The tracepoint exists, so that the descriptor is what is wrong with it, whichever the kernel looks at first.
    try:
        Descriptor(
            bpf(Command.RAW_TRACEPOINT_OPEN, RawTracepointAttr(name=address(b"sys_enter\0"), prog_fd=_NO_FD))
        ).close()
    except BpfError as error:
        if error.errno == errno.EBADF:
            return True
        if error.errno == errno.EINVAL:
            return False
        raise
    return True


def _load_btf() -> int:
    """Load a type section that holds one `int`."""
    strings = b"\0int\0"
    types = struct.pack("<4I", 1, 1 << 24, 4, 1 << 24 | 32)
    blob = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings)) + types + strings
    return bpf(Command.BTF_LOAD, BtfLoadAttr(btf=address(blob), btf_size=len(blob)), subject="feature probe")


def _line_info() -> bool:
    """Load a program with a line record; the types are those of `_load_btf`, for a line needs none but the strings."""

    def load_with_a_line() -> int:
        code, line = _MOV_R0_0 + _EXIT, struct.pack("<4I", 0, 1, 1, 1 << 10)
        with Descriptor(_load_btf()) as types:
            attr = ProgramLoadAttr(
                prog_type=ProgramType.SOCKET_FILTER,
                insn_cnt=2,
                insns=address(code),
                license=address(b"GPL\0"),
                prog_btf_fd=types.fileno(),
                line_info_rec_size=len(line),
                line_info=address(line),
                line_info_cnt=1,
            )
            return bpf(Command.PROG_LOAD, attr, subject="feature probe")

    return _attempt(load_with_a_line)


def _fetch_atomics() -> bool:
    st_zero = _instruction(0x7A, dst=10, off=-8)
    fetch_add = _instruction(0xDB, dst=10, src=0, off=-8, imm=0x01)
    return _loads(_MOV_R0_0 + st_zero + fetch_add + _EXIT)


def _jmp32() -> bool:
    return _loads(_MOV_R0_0 + _instruction(0x16, dst=0, off=0, imm=0) + _EXIT)


def _bounded_loops() -> bool:
    r0_plus_1, back = _instruction(0x07, imm=1), _instruction(0xA5, off=-2, imm=4)
    return _loads(_MOV_R0_0 + r0_plus_1 + back + _EXIT)


def _large_programs() -> bool:
    return _loads(_MOV_R0_0 * 4096 + _EXIT)


def _calls() -> bool:
    call = _instruction(0x85, src=1, imm=1)
    return _loads(call + _EXIT + _MOV_R0_0 + _EXIT)


def _memcg() -> bool:
    # As libbpf: bpf_ktime_get_coarse_ns came with 5.11, as did the charge to the cgroup.
    return _loads(_instruction(0x85, imm=160) + _EXIT)


def _map_value_arguments() -> bool:
    """Look up an array with a key that lies in that array."""
    with Descriptor(_create(MapType.ARRAY, 4, 4, 1)) as array:
        r1_is_map = _instruction(0x18, dst=1, src=1, imm=array.fileno()) + bytes(8)
        lookup = r1_is_map + _instruction(0x85, imm=1)
        key_on_stack = _instruction(0x62, dst=10, off=-4) + _instruction(0xBF, dst=2, src=10)
        key_on_stack += _instruction(0x07, dst=2, imm=-4)
        if_found = _instruction(0x15, dst=0, off=5, imm=0) + _instruction(0xBF, dst=2, src=0)
        code = key_on_stack + lookup + if_found + lookup + _MOV_R0_0 + _EXIT
        return _loads(code, (*_REFUSED, errno.EACCES))


def _ring_buffer() -> bool:
    return _attempt(lambda: _create(MapType.RINGBUF, 0, 0, os.sysconf("SC_PAGE_SIZE")))


def _stats() -> bool:
    # A type of statistics that is none is EINVAL, and so is an unknown command: only turning them on tells.
    return _attempt(lambda: bpf(Command.ENABLE_STATS, EnableStatsAttr(type=0), 4))


def _fentry_target() -> int:
    """The BTF id of bpf_fentry_test1, which the kernel keeps for its own tests and never calls in earnest
    (net/bpf/test_run.c).

    0 if there is none, or no BTF of the kernel at all.
    """
    from pybpf.types.btf import Btf, BtfError  # noqa: PLC0415 - read for the few probes that need it

    try:
        return Btf.vmlinux().type_id("func", "bpf_fentry_test1")
    except (FileNotFoundError, BtfError, KeyError):
        return 0


def _fentry() -> bool:
    """Load a program for a function and attach it, which lockdown, or a machine without trampolines, refuses."""

    def attach() -> int:
        with Descriptor(_load(_MOV_R0_0 + _EXIT, ProgramType.TRACING)) as program:
            return bpf(Command.RAW_TRACEPOINT_OPEN, RawTracepointAttr(prog_fd=program.fileno()), subject="fentry probe")

    return _attempt(attach, (*_tracing_refused(), errno.EBUSY))


def _tracing_refused() -> Tuple[int, ...]:
    """Errors that mean no TRACING programs.

    EPERM too, from whoever may do everything else (lockdown, a security module).
    """
    privileged = Capability.SYS_ADMIN in capabilities() and FEATURES["memcg"].supported()
    return (*_REFUSED, errno.ENOENT, *([errno.EPERM] if privileged else []))


_BTF_PATH = "/sys/kernel/btf/vmlinux"

FEATURES: Dict[str, Feature] = {
    feature.name: feature
    for feature in (
        Feature(
            "map_names",
            (4, 15),
            "names of maps",
            lambda: _attempt(lambda: _create(MapType.ARRAY, 4, 4, 1, name=b"probe")),
        ),
        Feature(
            "program_names",
            (4, 15),
            "names of programs",
            lambda: _attempt(lambda: _load(_MOV_R0_0 + _EXIT, name=b"probe")),
        ),
        Feature("calls", (4, 16), "calls between BPF functions", _calls),
        Feature("raw_tracepoints", (4, 17), "raw tracepoints", _raw_tracepoint),
        Feature("btf", (4, 18), "loading type information (BTF)", lambda: _attempt(_load_btf)),
        # d71962f3e627 ("bpf: allow map helpers access to map values directly")
        Feature("map_value_arguments", (4, 18), "map values as arguments of helpers", _map_value_arguments),
        Feature("line_info", (5, 0), "source lines of programs", _line_info),
        Feature("jmp32", (5, 1), "32-bit jumps", _jmp32),
        Feature("large_programs", (5, 2), "more than 4,096 instructions", _large_programs),
        Feature("bounded_loops", (5, 3), "bounded loops", _bounded_loops),
        Feature("kernel_btf", (5, 4), "the kernel's own type information", lambda: os.access(_BTF_PATH, os.R_OK)),
        Feature(
            "mmap",
            (5, 5),
            "arrays that can be mapped",
            lambda: _attempt(lambda: _create(MapType.ARRAY, 4, 8, 1, flags=1 << 10)),
        ),
        Feature("fentry", (5, 5), "attaching to functions (fentry)", _fentry),
        Feature("batch", (5, 6), "reading maps in batches", _batch),
        Feature("ring_buffer", (5, 8), "the BPF ring buffer", _ring_buffer),
        Feature("stats", (5, 8), "run time of programs", _stats),
        Feature("memcg", (5, 11), "memory charged to the cgroup, not to RLIMIT_MEMLOCK", _memcg),
        Feature("fetch_atomics", (5, 12), "atomics that return a value", _fetch_atomics),
    )
}
"""Every feature that has a name of its own, oldest first."""


@lru_cache(maxsize=None)
def map_type(kind: MapType) -> Feature:
    """Whether maps of `kind` can be created. ValueError for one that no probe here knows how to create."""
    page = os.sysconf("SC_PAGE_SIZE")
    shapes = {MapType.RINGBUF: (0, 0, page), MapType.LPM_TRIE: (8, 8, 1), MapType.STACK_TRACE: (4, 8, 1)}
    if kind is MapType.TASK_STORAGE:
        return Feature("TASK_STORAGE maps", asm.MAP_TYPES[kind], "values kept with their threads", _task_storage)
    if kind in (MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS):
        return Feature(f"{kind.name} maps", asm.MAP_TYPES[kind], "maps of maps", lambda: _map_of_maps(kind))
    if kind > MapType.LPM_TRIE and kind is not MapType.RINGBUF:
        raise ValueError(f"no probe for maps of kind {kind.name}")
    key, value, entries = shapes.get(kind, (4, 4, 1))
    flags = 1 if kind is MapType.LPM_TRIE else 0
    return Feature(
        f"{kind.name} maps",
        asm.MAP_TYPES[kind],
        f"maps of kind {kind.name}",
        lambda: _attempt(lambda: _create(kind, key, value, entries, flags=flags)),
    )


def _map_of_maps(kind: MapType) -> bool:
    # A pattern that is no descriptor is EBADF where the kind is known, and the kind itself EINVAL where it is not.
    attr = MapCreateAttr(map_type=kind, key_size=4, value_size=4, max_entries=1, inner_map_fd=_NO_FD)
    return _knows(Command.MAP_CREATE, attr)


def _task_storage() -> bool:
    """It cannot be created without types for its key and value; `int` does for both."""

    def create_with_types() -> int:
        with Descriptor(_load_btf()) as types:
            attr = MapCreateAttr(
                map_type=MapType.TASK_STORAGE,
                key_size=4,
                value_size=4,
                map_flags=1,
                btf_fd=types.fileno(),
                btf_key_type_id=1,
                btf_value_type_id=1,
            )
            return bpf(Command.MAP_CREATE, attr, subject="feature probe")

    return _attempt(create_with_types)


_PROBED_KINDS = (
    ProgramType.SOCKET_FILTER,
    ProgramType.KPROBE,
    ProgramType.TRACEPOINT,
    ProgramType.PERF_EVENT,
    ProgramType.RAW_TRACEPOINT,
    ProgramType.TRACING,
)


def _refused_for(kind: ProgramType) -> Tuple[int, ...]:
    return _tracing_refused() if kind is ProgramType.TRACING else _REFUSED


@lru_cache(maxsize=None)
def program_type(kind: ProgramType) -> Feature:
    """Whether programs of `kind` can be loaded. ValueError for one that has nothing to do with tracing."""
    if kind not in _PROBED_KINDS:
        raise ValueError(f"no probe for programs of kind {kind.name}")
    return Feature(
        f"{kind.name} programs",
        asm.PROGRAM_TYPES[kind],
        f"programs of kind {kind.name}",
        lambda: _attempt(lambda: _load(_MOV_R0_0 + _EXIT, kind), _refused_for(kind)),
    )


@lru_cache(maxsize=None)
def helper(kind: ProgramType, name: str) -> Feature:
    """Whether programs of `kind` may call the helper `name` (without `bpf_`).

    KeyError for a name that no kernel has.
    """
    if kind not in _PROBED_KINDS:
        raise ValueError(f"no probe for programs of kind {kind.name}")
    number, since = asm.HELPERS[name]

    def probe() -> bool:
        # EACCES: its arguments have no value, so it is known. EINVAL: it is not, or not for this kind of program.
        try:
            Descriptor(_load(_instruction(0x85, imm=number) + _EXIT, kind)).close()
        except BpfError as error:
            if error.errno == errno.EACCES:
                return True
            if error.errno in _refused_for(kind):
                return False
            raise
        return True

    return Feature(f"bpf_{name} in {kind.name}", since, f"the helper bpf_{name} in programs of kind {kind.name}", probe)


def lockdown() -> Optional[str]:
    """The kernel's lockdown.

    "none", "integrity" or "confidentiality" (5.4); None if it has none or that cannot be read.
    """
    try:
        with Descriptor(mount_detached("securityfs")) as root:
            fd = os.open("lockdown", os.O_RDONLY | os.O_CLOEXEC, dir_fd=root.fileno())
            try:
                chosen = re.search(rb"\[(\w+)\]", os.read(fd, 256))
            finally:
                os.close(fd)
    except OSError:
        return None
    return chosen[1].decode() if chosen else None
