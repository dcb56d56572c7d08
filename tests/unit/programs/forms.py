"""What the programs are built from in tests: one kernel's facts, and every form that there is."""

from __future__ import annotations

import functools
import itertools
from dataclasses import replace
from typing import Any, Callable, Dict, Iterator, Mapping, NamedTuple

from asm import ProgramSpec
from asm.requirements import Version
from programs import build
from programs.facts import maps
from programs.facts.abi import REGISTERS
from programs.facts.kernel import Kernel, Options, Pids, Uring
from programs.facts.members import CAST, TYPED, TYPED_OPTIONAL

# One kernel's facts, written down so that the listings do not depend on the machine: offsets of a 6.18 kernel, fields
# of the tracepoints, which have not moved since 4.14.
OFFSETS = {
    "task.files": 1824,
    "task.nsproxy": 1840,
    "task.fs": 1816,
    "task.signal": 1848,
    "task.pid": 1264,
    "task.tgid": 1268,
    "task.stack": 32,
    "task.comm": 1752,
    "task.leader": 1344,
    "signal.live": 4,
    "fs.root.mnt": 24,
    "fs.root.dentry": 32,
    "fs.pwd.mnt": 40,
    "fs.pwd.dentry": 48,
    "files.count": 0,
    "files.fdt": 32,
    "fdt.max_fds": 0,
    "fdt.fd": 8,
    "file.mnt": 64,
    "file.dentry": 72,
    "file.inode": 32,
    "file.flags": 40,
    "file.mode": 4,
    "file.pos": 112,
    "file.ref": 176,
    "inode.mode": 0,
    "inode.ino": 64,
    "inode.sb": 40,
    "inode.size": 80,
    "inode.nlink": 72,
    "inode.generation": 124,
    "inode.aliases": 312,
    "sb.dev": 16,
    "sb.magic": 96,
    "sb.type": 40,
    "fstype.name": 0,
    "dentry.parent": 24,
    "dentry.name": 40,
    "dentry.hash_len": 32,
    "dentry.inode": 48,
    "dentry.hashed": 16,
    "dentry.alias": 176,
    "mount.mnt": 32,
    "mount.parent": 16,
    "mount.mountpoint": 24,
    "mount.ns": 232,
    "vfsmount.root": 0,
    "nsproxy.mnt_ns": 24,
    "mnt_ns.inum": 24,
    "compat": 16,
    "file.mapping": 16,
    "folio.mapping": 24,
    "folio.head": 72,
    "folio.order": 64,
}
TRACEPOINT_FIELDS = {
    "task_newtask.pid": 8,
    "task_newtask.comm": 12,
    "task_newtask.clone_flags": 32,
    "sched_process_exec.old_pid": 16,
    "signal_deliver.sig": 8,
    "signal_deliver.sa_handler": 24,
    "task_rename.pid": 8,
    "task_rename.newcomm": 28,
    "sys_enter.nr": 8,
    "sys_enter.args": 16,
    "sys_exit.nr": 8,
    "sys_exit.ret": 16,
}
TYPES = {name: number for number, name in enumerate((*TYPED, CAST), 1)}
NEWEST = Kernel(
    machine="x86_64",
    offsets=OFFSETS,
    fields=TRACEPOINT_FIELDS,
    one_reference=0,
    fetch_atomics=True,
    big_values=True,
    ring_buffer=True,
    tid_slots=32768,
    tid_direct=True,
    types=TYPES,
    loops=True,
)
# io_uring as 6.18 shows it.
URING = Uring(
    events={
        "taken": "io_uring_submit_req",
        "refused": "io_uring_req_failed",
        "completed": "io_uring_complete",
        "overflowed": "io_uring_cqe_overflow",
    },
    request={"taken": 0, "refused": 1, "completed": 1},
    offsets={
        "request.file": 0,
        "request.opcode": 64,
        "request.flags": 72,
        "request.fd": 92,
        "request.result": 88,
        "request.user_data": 80,
        "request.ring": 96,
        "request.list": 120,
        "request.command": 0,
        "rw.position": 8,
        "rw.address": 48,
        "rw.length": 56,
        "rw.flags": 60,
        "ring.files": 152,
        "ring.file_count": 144,
        "ring.completing": 248,
        "node.file": 16,
        "splice.source": 32,
        "splice.source_offset": 16,
        "splice.target_offset": 8,
        "splice.length": 24,
        "splice.flags": 36,
        "open.slot": 12,
        "close.fd": 8,
        "close.slot": 12,
        "request.work": 200,
        "task.worker": 1440,
        "worker.work": 64,
    },
)
# The numbers of processes as 6.18 keeps them.
OF_TIME = {"series"}  # a map that no program has otherwise
OF_PIDS = {"home", "numbering"}  # maps that no program of a host has
PIDS = Pids(proc_pid=-72, level=4, number=144, namespace=152, stride=16, thread_pid=1368)
URING_TYPES = {**TYPES, **{name: number for number, name in enumerate(TYPED_OPTIONAL, 100)}}
OLDEST = replace(
    NEWEST,
    one_reference=1,
    fetch_atomics=False,
    big_values=False,
    ring_buffer=False,
    types={},
    loops=False,
    shows_created=False,
)
# What tid_slots and tid_direct can be: pid_max up to 32768; more, with and without compare-and-exchange.
THREADS = {"direct": (32768, True), "shared": (16384, False), "hashed": (0, False)}


def built(kernel: Kernel, options: Options) -> build.ProgramSet:
    return build.build(kernel, options, maps.declare(kernel, options=options))


def rings(kernel: Kernel, options: Options) -> build.ProgramSet:
    made = build.io_uring(kernel, options, maps.declare(kernel, options=options))
    assert made is not None
    return made


def contained(kernel: Kernel, options: Options) -> build.ProgramSet:
    """The programs that are others where iotrace is not in the initial PID namespace."""
    facts = replace(kernel, pids=PIDS, tid_slots=16384 if kernel.fetch_atomics else 0, tid_direct=False)
    telling = build.telling_numbers(facts, options, maps.declare(facts), raw=options.attach == "raw")
    assert telling is not None
    made = built(facts, options)
    return replace(
        made, programs={n: p for n, p in {**made.programs, **telling.programs}.items() if p.maps.keys() & OF_PIDS}
    )


def over_time(kernel: Kernel, options: Options) -> build.ProgramSet:
    """The programs that are others where what files do over time is counted too."""
    made = built(kernel, options)
    return replace(
        made, programs={name: program for name, program in made.programs.items() if OF_TIME & program.maps.keys()}
    )


def changed(kernel: Kernel, usual: Options, options: Options) -> build.ProgramSet:
    """The programs of these options that are others than those of the usual ones."""
    before, made = built(kernel, usual), built(kernel, options)
    known = {program.tag() for program in before.programs.values()}
    return replace(made, programs={name: p for name, p in made.programs.items() if p.tag() not in known})


def light(kernel: Kernel, options: Options) -> build.ProgramSet:
    """All programs of a run whose data calls have no entry, whose tables of tail calls have the same numbering."""
    facts = replace(options, attach="raw", light="perf")
    specs = maps.declare(kernel, options=facts)
    made, entries, timing = (make(kernel, facts, specs) for make in (build.build, build.entries, build.timing))
    assert made is not None and entries is not None and timing is not None
    return replace(
        made,
        programs={**made.programs, **entries.programs, **timing.programs},
        attach={**made.attach, **entries.attach, **timing.attach},
        jumps={**made.jumps, **entries.jumps},
        entering=entries.entering,
    )


class Sets(Mapping[str, build.ProgramSet]):
    """Program sets by name, each made when it is asked for: all of them take seconds, in every process of the tests."""

    def __init__(self, makers: Mapping[str, Callable[[], build.ProgramSet]]) -> None:
        self._makers = makers
        self._made: Dict[str, build.ProgramSet] = {}

    def __getitem__(self, name: str) -> build.ProgramSet:
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


GOLDEN_SETS = Sets(
    {
        "raw": lambda: built(NEWEST, Options(attach="raw", comm=True)),
        "perf": lambda: built(OLDEST, Options(attach="perf", comm=True)),
        "fentry": lambda: built(NEWEST, Options(attach="fentry", comm=True)),
        "looped": lambda: built(replace(NEWEST, types={}, loops=False, back_jumps=True), Options(attach="raw")),
        "contained": lambda: contained(NEWEST, Options(attach="raw", comm=True)),
        "contained, 4.14": lambda: contained(OLDEST, Options(attach="perf", comm=True)),
        "contained, all, 4.14": lambda: contained(OLDEST, Options(attach="perf", everything=True)),
        "contained, all": lambda: contained(NEWEST, Options(attach="raw", everything=True)),
        "uring": lambda: rings(replace(NEWEST, types=URING_TYPES, uring=URING), Options(attach="raw")),
        "over time": lambda: over_time(NEWEST, Options(attach="raw", series=True)),
        "over time, 4.14": lambda: over_time(OLDEST, Options(attach="perf", series=True)),
        "apart": lambda: changed(
            NEWEST, Options(attach="raw", comm=True), Options(attach="raw", comm=True, by="process", cgroups=2)
        ),
        "uring, apart": lambda: rings(
            replace(NEWEST, types=URING_TYPES, uring=URING), Options(attach="raw", by="process")
        ),
        "light": lambda: light(replace(NEWEST, jiffies=True), Options(comm=True)),
    }
)


class Form(NamedTuple):
    """A way to build the programs: attachment, machine, who is traced, and the kernel that it is for."""

    attach: str
    machine: str
    who: str
    threads: str
    kernel: Version

    def __str__(self) -> str:
        major, minor = self.kernel
        return f"{self.attach}-{self.machine}-{self.who}-{self.threads}-{major}.{minor}"


ABILITIES: Dict[Version, Dict[str, Any]] = {
    (6, 2): {},
    (5, 17): {"types": {}},
    (5, 12): {"types": {}, "loops": False, "back_jumps": True},
    (4, 18): {"types": {}, "loops": False, "fetch_atomics": False, "ring_buffer": False, "shows_created": False},
    (4, 14): {
        "types": {},
        "loops": False,
        "fetch_atomics": False,
        "ring_buffer": False,
        "big_values": False,
        "shows_created": False,
    },
}
SINCE = {"raw": (4, 17), "perf": (4, 7), "fentry": (5, 5), "light": (4, 18)}
LIGHT = {
    ("x86_64", "named", "direct"),
    ("x86_64", "apart", "shared"),
    ("x86_64", "named", "hashed"),
    ("aarch64", "all", "direct"),
}
WHO = {
    "named": Options(comm=True),
    "all": Options(everything=True, include_pseudo=True),
    "apart": Options(by="process", cgroups=2),
}
FORMS = [
    form
    for form in itertools.starmap(Form, itertools.product(SINCE, REGISTERS, WHO, THREADS, ABILITIES))
    if (form.threads == "direct" or (form.who != "all" and form.attach != "fentry"))
    and (form.who != "apart" or form.machine == "x86_64")
    and (form.attach != "light" or (form[1:4] in LIGHT and form.kernel in ((6, 2), (4, 18))))
    and (form.threads != "shared" or form.kernel >= (5, 12))  # claiming a shared record takes compare-and-exchange
]


@functools.lru_cache(maxsize=None)
def built_as(form: Form) -> build.ProgramSet:
    slots, direct = THREADS[form.threads]
    facts: Dict[str, Any] = {"machine": form.machine, "tid_slots": slots, "tid_direct": direct}
    kernel = replace(NEWEST, **facts, **ABILITIES[form.kernel])
    if form.attach == "light":
        return light(replace(kernel, jiffies=form.kernel >= (5, 6)), WHO[form.who])
    return built(kernel, replace(WHO[form.who], attach=form.attach))


def encoded(program: ProgramSpec) -> bytes:
    return program.encode(dict.fromkeys(program.maps, 0))
