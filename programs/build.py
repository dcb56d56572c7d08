"""Puts a form of the programs together: which there are, where they attach, and who follows whom."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Tuple

from asm import Program

from . import copies, entry, lifetime, path, renames, sync, targets, transfer
from .identify import SCRATCH_ENTER, SCRATCH_EXIT
from .kernel import Kernel, Options
from .maps import COPY_TARGET, ENTER_OTHER, NEW_NAME, WALKS, Maps
from .operations import NUMBERS, SYSTEM_CALLS, Kind, SystemCall, descriptor


@dataclass(frozen=True)
class ProgramSet:
    """Programs by name; ``attach`` pairs a program with a (category, event), ``jumps`` fills the tail-call table."""

    programs: Dict[str, Program]
    attach: List[Tuple[str, Tuple[str, str]]]
    jumps: Dict[int, str]
    syscalls: Dict[int, int]        # number -> Descriptor.pack(): the rows of the ``syscalls`` map


def system_calls(machine: str) -> List[SystemCall]:
    """Those that exist on a machine: aarch64 has no open and no creat."""
    return [call for call in SYSTEM_CALLS if call.name in NUMBERS[machine]]


def build(kernel: Kernel, options: Options, maps: Maps) -> ProgramSet:
    """All programs of one form."""
    facts = (kernel, options, maps)
    made = [
        transfer.exit_main(*facts), transfer.exit_vector(*facts), sync.exit_sync(*facts), copies.exit_source(*facts),
        copies.exit_target(*facts), lifetime.enter_other(*facts), lifetime.exit_close(*facts),
        lifetime.exit_open(*facts), lifetime.exit_mmap(*facts), lifetime.exit_namespace(*facts),
        path.walk(*facts, SCRATCH_ENTER), path.walk(*facts, SCRATCH_EXIT),
        renames.exit_old_name(*facts), renames.exit_new_name(*facts),
        targets.new_task(*facts), targets.exit_task(*facts),
    ]
    attach = [("new_task", ("task", "task_newtask")), ("exit_task", ("sched", "sched_process_exit"))]
    if options.comm:
        made.append(targets.rename(*facts))
        attach.append(("rename", ("task", "task_rename")))
    calls = system_calls(kernel.machine)
    if options.attach == "raw":
        made.append(entry.raw_enter(*facts))
        # the exit first: a call whose entry was seen must not lack its exit
        attach += [("exit", ("raw_syscalls", "sys_exit")), ("enter", ("raw_syscalls", "sys_enter"))]
    else:
        made += [entry.perf_enter(*facts, arity) for arity in sorted({call.arity for call in calls})]
        attach += [("exit", ("syscalls", f"sys_exit_{call.event}")) for call in calls]
        attach += [(f"enter_{call.arity}", ("syscalls", f"sys_enter_{call.event}")) for call in calls]
    return ProgramSet(
        programs={program.name: program for program in made},
        attach=attach,
        jumps={
            Kind.VECTOR: "exit_vector", Kind.SYNC: "exit_sync", Kind.CLOSE: "exit_close", Kind.OPEN: "exit_open",
            Kind.MMAP: "exit_mmap", Kind.SENDFILE: "exit_copy_source", Kind.COPY: "exit_copy_source",
            Kind.NAMESPACE: "exit_namespace", Kind.RENAME: "exit_old_name", Kind.RENAMEAT: "exit_old_name",
            Kind.UNLINK: "exit_old_name", Kind.UNLINKAT: "exit_old_name",
            ENTER_OTHER: "enter_other", COPY_TARGET: "exit_copy_target", NEW_NAME: "exit_new_name",
            WALKS[SCRATCH_ENTER]: "walk_0", WALKS[SCRATCH_EXIT]: "walk_1",
        },
        syscalls={NUMBERS[kernel.machine][call.name]: descriptor(call).pack() for call in calls},
    )
