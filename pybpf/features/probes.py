"""The features that have names, oldest first, each with its probe.

A program to try is assembled when its probe is made, which is seldom: the answers can be kept (`Feature.assume`). So
the assembler is reached through `asm`, which imports it at its first use.
"""

from __future__ import annotations

import errno
import os
from typing import Tuple

import asm
from asm import U32, MapSpec, MapType, ProgramType
from pybpf.attributes import EnableStatsAttr, MapBatchAttr, RawTracepointAttr
from pybpf.descriptor import Descriptor
from pybpf.features.feature import FEATURES, feature
from pybpf.features.trial import NO_FD, REFUSED, attempt, create, encoded, knows, load, load_btf, load_with_notes, loads
from pybpf.privileges import Capability, capabilities
from pybpf.syscalls import BpfError, Command, address, bpf
from pybpf.types.btf import VMLINUX, Btf, BtfError, MissingMember

__all__ = ["FEATURES", "load_tracing", "tracing_refused"]


def _assembler(kind: ProgramType = ProgramType.SOCKET_FILTER) -> asm.Assembler:
    return asm.Assembler("probe", kind)


def _nothing() -> bytes:
    """A program that returns 0, in two instructions."""
    a = _assembler()
    a.ret(0)
    return encoded(a)


@feature("map_names", (4, 15), "names of maps")
def _map_names() -> bool:
    """ad5b177bd73f ("bpf: Add map_name to bpf_map_info")."""
    return attempt(lambda: create(MapType.ARRAY, 4, 4, 1, name=b"probe"))


@feature("program_names", (4, 15), "names of programs")
def _program_names() -> bool:
    """cb4d2b3f03d8 ("bpf: Add name, load_time, uid and map_ids to bpf_prog_info")."""
    return attempt(lambda: load(_nothing(), name=b"probe"))


@feature("calls", (4, 16), "calls between BPF functions")
def _calls() -> bool:
    """cc8b0b92a169 ("bpf: introduce function calls (function boundaries)")."""
    a = _assembler()
    a.call_function("callee")
    a.exit()
    a.function("callee")
    a.ret(0)
    return loads(a)


@feature("raw_tracepoints", (4, 17), "raw tracepoints")
def _raw_tracepoints() -> bool:
    """c4f6699dfcb8 ("bpf: introduce BPF_RAW_TRACEPOINT"). The tracepoint exists, so that it is the descriptor that is
    wrong, whichever the kernel looks at first."""
    return knows(Command.RAW_TRACEPOINT_OPEN, RawTracepointAttr(name=address(b"sys_enter\0"), prog_fd=NO_FD))


@feature("btf", (4, 18), "loading type information (BTF)")
def _btf() -> bool:
    """69b693f0aefa ("bpf: btf: Introduce BPF Type Format (BTF)"); before, bpf(2) answers EINVAL to BTF_LOAD as to any
    command that it does not know."""
    return attempt(load_btf)


@feature("map_value_arguments", (4, 18), "map values as arguments of helpers")
def _map_value_arguments() -> bool:
    """d71962f3e627 ("bpf: allow map helpers access to map values directly"): a key that lies in an array."""
    cells = MapSpec("cells", MapType.ARRAY, U32, U32, 1)
    a = _assembler()
    key = a.slot("key", U32)
    a.st(key, 0)
    a.lookup(cells, key)
    a.jeq(asm.r0, 0, "out")
    a.lookup(cells, asm.r0.u32(0))
    a.label("out")
    a.ret(0)
    with Descriptor(create(MapType.ARRAY, 4, 4, 1)) as array:
        return loads(a, (*REFUSED, errno.EACCES), {"cells": array.fileno()})


@feature("cgroup_ids", (4, 18), "numbers of cgroups in programs")
def _cgroup_ids() -> bool:
    """bf6fa2c893c5 ("bpf: implement bpf_get_current_cgroup_id() helper"), for what traces alone at first."""
    a = _assembler(ProgramType.TRACEPOINT)
    a.call("get_current_cgroup_id")
    a.ret(0)
    return loads(a)


@feature("line_info", (5, 0), "source lines of programs")
def _line_info() -> bool:
    """c454a46b5efd ("bpf: Add bpf_line_info support")."""
    a = _assembler()
    a.ret(0)
    return attempt(lambda: load_with_notes(a))


@feature("jmp32", (5, 1), "32-bit jumps")
def _jmp32() -> bool:
    """092ed0968bb6 ("bpf: verifier support JMP32")."""
    a = _assembler()
    a.mov(asm.r0, 0)
    a.jeq32(asm.r0, 0, "out")
    a.label("out")
    a.exit()
    return loads(a)


@feature("large_programs", (5, 2), "more than 4,096 instructions")
def _large_programs() -> bool:
    """c04c0d2b968a ("bpf: increase complexity limit and maximum program size")."""
    nothing = _nothing()
    return attempt(lambda: load(nothing[:8] * 4096 + nothing[8:]))


@feature("bounded_loops", (5, 3), "bounded loops")
def _bounded_loops() -> bool:
    """2589726d12a1 ("bpf: introduce bounded loops")."""
    a = _assembler()
    a.mov(asm.r0, 0)
    a.label("again")
    a.add(asm.r0, 1)
    a.jlt(asm.r0, 4, "again")
    a.exit()
    return loads(a)


@feature("kernel_btf", (5, 4), "the kernel's own type information")
def _kernel_btf() -> bool:
    """341dfcf8d78e ("btf: expose BTF info through sysfs"), where CONFIG_DEBUG_INFO_BTF is set."""
    return os.access(VMLINUX, os.R_OK)


@feature("mmap", (5, 5), "arrays that can be mapped")
def _mmap() -> bool:
    """fc9702273e2e ("bpf: Add mmap() support for BPF_MAP_TYPE_ARRAY"): BPF_F_MMAPABLE."""
    return attempt(lambda: create(MapType.ARRAY, 4, 8, 1, flags=1 << 10))


def _function(name: str) -> int:
    """The BTF id of a function of the kernel. Raises KeyError where there is none, or no BTF of the kernel at all."""
    try:
        return Btf.vmlinux().type_id("func", name)
    except (FileNotFoundError, BtfError) as error:
        raise KeyError(name) from error


def load_tracing(code: bytes) -> int:
    """Load a TRACING program for bpf_fentry_test1, which the kernel keeps for its own tests and never calls in earnest
    (net/bpf/test_run.c); its descriptor, which is the caller's. Raises BpfError."""
    try:  # for no function at all: EPERM already says that none will do, and spares reading the kernel's BTF
        return load(code, ProgramType.TRACING, attach_to=0)
    except BpfError as error:
        if error.errno not in REFUSED:
            raise
    try:
        target = _function("bpf_fentry_test1")
    except KeyError:
        target = 0
    return load(code, ProgramType.TRACING, attach_to=target)


def tracing_refused() -> Tuple[int, ...]:
    """Errors that mean that there are no TRACING programs.

    EPERM too, from a process that may do everything else (lockdown, a security module).
    """
    privileged = Capability.SYS_ADMIN in capabilities() and FEATURES["memcg"].supported()
    return (*REFUSED, errno.ENOENT, *([errno.EPERM] if privileged else []))


@feature("fentry", (5, 5), "attaching to functions (fentry)")
def _fentry() -> bool:
    """fec56f5890d9 ("bpf: Introduce BPF trampoline"). Lockdown forbids it, and so does a machine without trampolines,
    some of which show only when a program is attached."""

    def attach() -> int:
        with Descriptor(load_tracing(_nothing())) as program:
            return bpf(Command.RAW_TRACEPOINT_OPEN, RawTracepointAttr(prog_fd=program.fileno()), subject="fentry probe")

    return attempt(attach, (*tracing_refused(), errno.EBUSY))


@feature("batch", (5, 6), "reading maps in batches")
def _batch() -> bool:
    """cb4d03ab499d ("bpf: Add generic support for lookup batch op")."""
    return knows(Command.MAP_LOOKUP_BATCH, MapBatchAttr(map_fd=NO_FD))


@feature("jiffies", (5, 6), "the kernel's ticks in programs")
def _jiffies() -> bool:
    """5576b991e9c1 ("bpf: Add BPF_FUNC_jiffies64")."""
    a = _assembler(ProgramType.RAW_TRACEPOINT)
    a.call("jiffies64")
    a.ret(0)
    return loads(a)


@feature("ring_buffer", (5, 8), "the BPF ring buffer")
def _ring_buffer() -> bool:
    """457f44363a88 ("bpf: Implement BPF ring buffer and verifier support for it")."""
    return attempt(lambda: create(MapType.RINGBUF, 0, 0, os.sysconf("SC_PAGE_SIZE")))


@feature("stats", (5, 8), "run time of programs")
def _stats() -> bool:
    """d46edd671a14 ("bpf: Sharing bpf runtime stats with BPF_ENABLE_STATS"). A type of statistics that there is not
    is EINVAL, and so is an unknown command: only turning them on tells."""
    return attempt(lambda: bpf(Command.ENABLE_STATS, EnableStatsAttr(type=0), 4))


@feature("memcg", (5, 11), "memory charged to the cgroup, not to RLIMIT_MEMLOCK")
def _memcg() -> bool:
    """97306be45fbe ("switch to memcg-based memory accounting"). As libbpf tells: bpf_ktime_get_coarse_ns is as old."""
    a = _assembler()
    a.call("ktime_get_coarse_ns")
    a.ret(0)
    return loads(a)


@feature("fetch_atomics", (5, 12), "atomics that return a value")
def _fetch_atomics() -> bool:
    """5ca419f2864a ("bpf: Add BPF_FETCH field / create atomic_fetch_add instruction")."""
    a = _assembler()
    number = a.slot("number", asm.U64)
    a.st(number, 0)
    a.mov(asm.r0, 0)
    a.fetch_add(number, asm.r0)
    a.exit()
    return loads(a)


@feature("loops", (5, 17), "bpf_loop in programs that make tail calls")
def _loops() -> bool:
    """e6f2dd0f8067 ("bpf: Add bpf_loop helper"). Not every kernel that has it takes both in one program: aarch64
    compiles them together from 6.0 on (d4609a5d8c70)."""
    jumps = MapSpec("jumps", MapType.PROG_ARRAY, U32, U32, 1)
    a = _assembler(ProgramType.RAW_TRACEPOINT)
    a.mov(asm.r6, asm.r1)
    a.mov(asm.r1, 1)
    a.ld_function(asm.r2, "callback")
    a.mov(asm.r3, 0)
    a.mov(asm.r4, 0)
    a.call("loop")
    a.tail_call(asm.r6, jumps, 0)
    a.ret(0)
    a.function("callback", 2)
    a.mov(asm.r0, 1)
    a.exit()
    with Descriptor(create(MapType.PROG_ARRAY, 4, 4, 1)) as table:
        return attempt(lambda: load_with_notes(a, {"jumps": table.fileno()}))


@feature("uring_requests", (5, 18), "io_uring's requests, shown by their address at both ends")
def _uring_requests() -> bool:
    """502c87d65564 ("io-uring: Make tracepoints consistent."): io_uring_complete has the ring and the request, where it
    had the ring and the user data, which is the program's own and may be the same for many."""
    try:
        arguments = Btf.vmlinux().tracepoint_arguments("io_uring_complete")
    except (FileNotFoundError, BtfError, MissingMember):
        return False
    return len(arguments) > 1 and arguments[1] is not None


@feature("atomic_allocation", (6, 1), "maps that allocate safely wherever a program runs")
def _atomic_allocation() -> bool:
    """7c8199e24fa0 ("bpf: Introduce any context BPF specific memory allocator."), which shows as a type of its name."""
    try:
        Btf.vmlinux().type_id("struct", "bpf_mem_alloc")
    except (FileNotFoundError, BtfError, KeyError):
        return False
    return True


@feature("typed_reads", (6, 2), "plain loads from kernel memory (bpf_rdonly_cast)")
def _typed_reads() -> bool:
    """a35b9af4ec2c ("bpf: Add a kfunc for generic type cast"). A program is loaded, since what BTF names is not always
    what a kernel lets a kind of program call."""
    try:
        cast, record = _function("bpf_rdonly_cast"), Btf.vmlinux().type_id("struct", "list_head")
    except KeyError:
        return False
    a = _assembler(ProgramType.RAW_TRACEPOINT)
    a.mov(asm.r1, 0)
    a.mov(asm.r2, record)
    a.call_kernel("bpf_rdonly_cast", cast)
    a.ldx(asm.r0, asm.r0[0])
    a.ret(0)
    return loads(a, (*REFUSED, errno.EACCES, errno.ENOENT))


@feature("preempted_programs", (7, 2), "programs on system calls that can be preempted")
def _preempted_programs() -> bool:
    """Programs on the tracepoints of system calls run preemptibly, which shows as a function of this name."""
    name = "trace_call_bpf_faultable"
    try:
        return bool(Btf.vmlinux().functions([name]))
    except (FileNotFoundError, BtfError):
        with open("/proc/kallsyms", encoding="ascii", errors="replace") as symbols:
            return any(line.split()[2] == name for line in symbols)
