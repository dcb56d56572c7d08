"""Puts a form of the programs together: which there are, where they attach, and who follows whom."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Dict, FrozenSet, List, Optional, Tuple

from asm import ProgramSpec
from programs.calls import copies, lifetime, renames, sync, transfer
from programs.facts.catalogue import NUMBERS, SYSTEM_CALLS, Kind, SystemCall
from programs.facts.hooks import Hook
from programs.facts.jumps import WALKS, Jump
from programs.facts.kernel import Kernel, Options
from programs.facts.maps import Maps
from programs.facts.signatures import signature
from programs.files import path
from programs.files.identify import SCRATCH_ENTER, SCRATCH_EXIT
from programs.requests.aio import parts as aio
from programs.requests.uring import parts as uring
from programs.way import entry, targets


@dataclass(frozen=True)
class ProgramSet:
    """Programs by name, what is attached where (in this order), and the tail-call table.

    ``entering`` names those that run at the entry of a call, tail-called ones included: a tail call goes from fentry
    to fentry and from fexit to fexit only.
    """

    programs: Dict[str, ProgramSpec]
    attach: Dict[str, List[Hook]]
    jumps: Dict[int, str]
    syscalls: Dict[int, int]  # number -> Signature: the rows of the map `syscalls`
    entering: FrozenSet[str]

    @property
    def hooks(self) -> List[Tuple[str, Hook]]:
        """Every (program, hook), in the order to attach: exits first, as an entry must not lack its exit."""
        return [(name, hook) for name, hooks in self.attach.items() for hook in hooks]


# What is tail-called at the entry of a call, of those that every form has; aio.ENTERING are the others.
ENTERING = ("enter_other", "walk_0")


def system_calls(machine: str) -> List[SystemCall]:
    """Those that exist on a machine: aarch64 has no open and no creat."""
    return [call for call in SYSTEM_CALLS if call.name in NUMBERS[machine]]


def build(kernel: Kernel, options: Options, maps: Maps) -> ProgramSet:
    """All programs of one form."""
    facts = (kernel, options, maps)
    made = [
        transfer.exit_main(*facts),
        transfer.exit_vector(*facts),
        sync.exit_sync(*facts),
        copies.exit_source(*facts),
        copies.exit_target(*facts),
        lifetime.enter_other(*facts),
        lifetime.exit_close(*facts),
        lifetime.exit_open(*facts),
        lifetime.exit_mmap(*facts),
        lifetime.exit_namespace(*facts),
        lifetime.exit_ring(*facts),
        path.walk(*facts, SCRATCH_ENTER),
        path.walk(*facts, SCRATCH_EXIT),
        renames.exit_old_name(*facts),
        renames.exit_new_name(*facts),
        targets.new_task(*facts),
        targets.exit_task(*facts),
    ]
    tasks = "tracepoint" if options.attach == "perf" else "raw_tracepoint"
    attach = {
        "new_task": [Hook(tasks, "task", "task_newtask")],
        "exit_task": [Hook(tasks, "sched", "sched_process_exit")],
    }
    if options.comm:
        made.append(targets.rename(*facts))
        attach["rename"] = [Hook(tasks, "task", "task_rename")]
    jumps: Dict[int, str] = {
        Kind.VECTOR: "exit_vector",
        Kind.SYNC: "exit_sync",
        Kind.CLOSE: "exit_close",
        Kind.OPEN: "exit_open",
        Kind.MMAP: "exit_mmap",
        Kind.SENDFILE: "exit_copy_source",
        Kind.COPY: "exit_copy_source",
        Kind.NAMESPACE: "exit_namespace",
        Kind.RING: "exit_ring",
        Kind.RENAME: "exit_old_name",
        Kind.RENAMEAT: "exit_old_name",
        Kind.RENAMEAT2: "exit_old_name",
        Kind.UNLINK: "exit_old_name",
        Kind.UNLINKAT: "exit_old_name",
        Jump.EXIT: "exit",
        Jump.ENTER_OTHER: "enter_other",
        Jump.COPY_TARGET: "exit_copy_target",
        Jump.NEW_NAME: "exit_new_name",
        WALKS[SCRATCH_ENTER]: "walk_0",
        WALKS[SCRATCH_EXIT]: "walk_1",
    }
    requests = aio.parts(*facts)
    made += {program.name: program for program in requests.values()}.values()
    jumps.update({index: program.name for index, program in requests.items()})
    calls = system_calls(kernel.machine)
    enters, hooks = _ways_in(kernel, options, maps, calls)
    made += enters
    attach.update(hooks)
    return ProgramSet(
        programs={program.name: program for program in made},
        attach=attach,
        jumps=jumps,
        syscalls={NUMBERS[kernel.machine][call.name]: signature(call) for call in calls},
        entering=frozenset(
            [
                *ENTERING,
                *(program.name for index, program in requests.items() if index in aio.ENTERING),
                *(name for name in hooks if name.startswith("enter")),
            ]
        ),
    )


def io_uring(kernel: Kernel, options: Options, maps: Maps) -> Optional[ProgramSet]:
    """The programs on io_uring's events, with a tail-call table of their own; None where the kernel shows too little.

    They are the same in every form: a kernel that has io_uring has raw tracepoints, which show more than the others.
    """
    shown = kernel.uring
    if shown is None:
        return None
    facts = (kernel, replace(options, attach="raw"), maps)
    attach = {}
    made = [path.walk(*facts, SCRATCH_EXIT)]
    for event, maker in uring.on_events(kernel, shown).items():
        for copy in range(kernel.spares + 1):
            made.append(maker(*facts, copy))
            attach[made[-1].name] = [Hook("raw_tracepoint", "io_uring", shown.events[event])]
    jumps: Dict[int, str] = {
        Jump.URING_TAKEN: "uring_taken",
        Jump.URING_REFUSED: "uring_refused",
        WALKS[SCRATCH_EXIT]: f"walk_{SCRATCH_EXIT}",
    }
    for index, program in uring.parts(*facts, shown).items():
        made.append(program)
        jumps[index] = program.name
    return ProgramSet(
        programs={program.name: program for program in made},
        attach=attach,
        jumps=jumps,
        syscalls={},
        entering=frozenset(),
    )


def _ways_in(
    kernel: Kernel, options: Options, maps: Maps, calls: List[SystemCall]
) -> Tuple[List[ProgramSpec], Dict[str, List[Hook]]]:
    """The programs that are particular to a form, and where it attaches what; the exits first."""
    facts = (kernel, options, maps)
    made: List[ProgramSpec] = []
    hooks: Dict[str, List[Hook]] = {}

    def place(program: ProgramSpec, at: List[Hook]) -> None:
        if program.name != "exit":
            made.append(program)
        hooks[program.name] = at

    copies_of = range(kernel.spares + 1)
    if options.attach == "fentry":
        for kind, maker in (("fexit", entry.function_leave), ("fentry", entry.function_enter)):
            for call in calls:
                if kind == "fentry" or call.returns:
                    place(maker(*facts, call), [Hook(kind, "", call.event)])
        return made, hooks
    for copy in copies_of:
        exits = [Hook("tracepoint", "syscalls", f"sys_exit_{call.event}") for call in calls if call.returns]
        if options.attach == "raw":
            exits = [Hook("raw_tracepoint", "raw_syscalls", "sys_exit")]
        place(transfer.exit_main(*facts, copy), exits)
    for copy in copies_of:
        if options.attach == "raw":
            place(entry.raw_enter(*facts, copy), [Hook("raw_tracepoint", "raw_syscalls", "sys_enter")])
            continue
        for arity in sorted({call.arity for call in calls}):
            at = [Hook("tracepoint", "syscalls", f"sys_enter_{call.event}") for call in calls if call.arity == arity]
            place(entry.perf_enter(*facts, arity, copy), at)
    return made, hooks
