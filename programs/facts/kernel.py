"""What the programs must know: facts of the running kernel, and what the user wants.

Both are plain data. The same values give the same instructions, byte for byte, on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Mapping, Optional, Tuple

from programs.facts.abi import REGISTERS, Registers


@dataclass(frozen=True)
class Uring:
    """How a kernel shows io_uring's requests.

    `events` are the names of the tracepoints that a request is taken, refused, and completed at: the keys of
    `request`, which says where each presents the `struct io_kiocb *`: the position among the arguments of a raw
    tracepoint, the offset of the field of a perf tracepoint. A kernel may lack "overflowed", which has none: its
    request must be searched for. `offsets` has the keys of URING_MEMBERS; "node.file" is missing where registered
    files are not nodes, others where a kind of request cannot be followed.
    """

    events: Mapping[str, str]
    request: Mapping[str, int]
    offsets: Mapping[str, int]


@dataclass(frozen=True)
class Pids:
    """How a process's numbers in the PID namespaces that it is in are found, from the initial one on down.

    All are distances in bytes. `proc_pid` counts from the inode of a process's directory in a proc, and is negative;
    `level`, `number` and `namespace` from its `struct pid`, the last two at the initial namespace; each namespace below
    that is `stride` further on. `thread_pid` counts from the `struct task_struct`.
    """

    proc_pid: int
    level: int
    number: int
    namespace: int
    stride: int
    thread_pid: int


@dataclass(frozen=True)
class Kernel:
    """Facts of a kernel, by the names of `programs.facts.members`."""

    machine: str
    offsets: Mapping[str, int]  # in bytes, of MEMBERS and "compat"
    fields: Mapping[str, int]  # the same, of FIELDS
    one_reference: int  # what file.ref holds when there is a single reference
    fetch_atomics: bool  # xchg, cmpxchg: 5.12, 5ffa25502b5a ("bpf: Add instructions for atomic_[cmp]xchg")
    big_values: bool  # helpers take map values: 4.18, d71962f3e627 ("allow map helpers access to map ...")
    ring_buffer: bool  # 5.8
    tid_slots: int  # call records in the array, a power of two; 0: all of them in the hash
    tid_direct: bool  # no two thread ids share a record
    # BTF ids of CAST and of the structs in TYPED; empty where the kernel's memory must be read with bpf_probe_read.
    types: Mapping[str, int] = field(default_factory=dict)
    # Copies of each program that can be preempted. 7.2 runs programs preemptibly but has one flag for each program and
    # CPU, so it skips a program while a task that was preempted inside it waits on the same CPU.
    spares: int = 0
    loops: bool = False  # bpf_loop, in programs that make tail calls: 5.17
    back_jumps: bool = False  # loops of a known number of rounds, which the verifier follows one by one: 5.3
    page_bits: int = 12  # a page has 1 << page_bits bytes
    jiffies: bool = False  # bpf_jiffies64: 5.6
    shows_created: bool = True  # FMODE_CREATED: 4.19, 73a09dd94377 ("introduce FMODE_CREATED and switch to it")
    uring: Optional[Uring] = None  # None: this kernel does not show enough of io_uring's requests
    pids: Optional[Pids] = None  # None: iotrace is in the initial PID namespace, whose numbers the kernel uses itself

    @property
    def shows_folios(self) -> bool:
        """Whether programs can read what comes into the page cache."""
        return {"file.mapping", "folio.mapping"} <= self.offsets.keys()

    @property
    def straight(self) -> bool:
        """Whether programs must do everything in straight code."""
        return not self.loops and not self.back_jumps

    @property
    def registers(self) -> Registers:
        """Where a system call's arguments are on this machine."""
        return REGISTERS[self.machine]

    def argument(self, number: int) -> int:
        """The position of argument `number` (0 to 5) within Call.args."""
        return self.registers.words[number]


UNIFIED = -1
"""The hierarchy of cgroups of version 2."""


@dataclass(frozen=True)
class Options:
    """What the user wants of the programs. `attach` is "raw", "perf" or "fentry"."""

    attach: str = "raw"
    everything: bool = False  # the targets map lists who is *not* traced
    comm: bool = False  # processes become targets by name
    follow: bool = True  # those found by name bring their descendants
    include_pseudo: bool = False  # files of proc, sysfs and the like too
    series: bool = False  # what each file did in each interval is wanted
    by: str = ""  # rows are apart by "process", "cgroup" or "user"; "": they are not
    cgroups: int = 0  # how many cgroups choose what is traced
    light: str = ""  # data calls have no program at their entry, and others one of this form, "perf"; "": all have one
    hierarchy: int = UNIFIED  # that cgroups are in: UNIFIED, or the number of a controller of version 1
    roots: Tuple[int, ...] = ()  # the numbers of those cgroups where the hierarchy is of version 1

    @property
    def counts(self) -> str:
        """The field of `Call` that has the id which counters are kept under."""
        return "row" if self.by else "id"
