"""Puts a form of the programs together: which there are, where they attach, and who follows whom."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Dict, FrozenSet, List, Optional, Tuple

from asm import ProgramSpec
from programs.calls import copies, lifetime, renames, sync, transfer
from programs.facts.catalogue import NUMBERS, SYSTEM_CALLS, Kind, SystemCall, descriptor
from programs.facts.hooks import Hook
from programs.facts.kernel import Kernel, Options, Uring
from programs.facts.maps import (
    AIO_ENTER,
    AIO_EVENTS,
    AIO_LAST,
    AIO_NEW,
    AIO_NOTE,
    AIO_RARE_EVENTS,
    AIO_RARE_RING,
    AIO_RING,
    AIO_UNDO,
    AIO_VECTOR,
    COPY_TARGET,
    ENTER_OTHER,
    EXIT,
    NEW_NAME,
    URING_BAD_CLOSE,
    URING_BAD_FROM,
    URING_BAD_INTO,
    URING_BAD_UNSEEN,
    URING_CLOSE,
    URING_CLOSE_DONE,
    URING_FROM,
    URING_FROM_DONE,
    URING_INTO,
    URING_INTO_DONE,
    URING_OPEN_DONE,
    URING_REFUSED,
    URING_TAKEN,
    URING_UNSEEN,
    WALKS,
    Maps,
)
from programs.files import path
from programs.files.identify import SCRATCH_ENTER, SCRATCH_EXIT
from programs.requests import aio, uring, uring_files, uring_splice
from programs.requests.shapes import CLOSE, OPEN, TARGET, known
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
    syscalls: Dict[int, int]  # number -> Descriptor.pack(): the rows of the ``syscalls`` map
    entering: FrozenSet[str]

    @property
    def hooks(self) -> List[Tuple[str, Hook]]:
        """Every (program, hook), in the order to attach: exits first, as an entry must not lack its exit."""
        return [(name, hook) for name, hooks in self.attach.items() for hook in hooks]


# What is tail-called at the entry of a call.
ENTERING = (
    "enter_other",
    "walk_0",
    "enter_aio",
    "aio_ring",
    "aio_last",
    "aio_note",
    "aio_new",
    "aio_vector",
    "aio_rare_ring",
)


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
        aio.enter_aio(*facts),
        aio.events(*facts, entering=True),
        aio.last(*facts),
        aio.note(*facts),
        aio.note_new(*facts),
        aio.exit_submit(*facts),
        aio.undo(*facts),
        aio.exit_reap(*facts),
        aio.exit_context(*facts),
    ]
    tasks = "tracepoint" if options.attach == "perf" else "raw_tracepoint"
    attach = {
        "new_task": [Hook(tasks, "task", "task_newtask")],
        "exit_task": [Hook(tasks, "sched", "sched_process_exit")],
    }
    if options.comm:
        made.append(targets.rename(*facts))
        attach["rename"] = [Hook(tasks, "task", "task_rename")]
    jumps = {
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
        EXIT: "exit",
        ENTER_OTHER: "enter_other",
        COPY_TARGET: "exit_copy_target",
        NEW_NAME: "exit_new_name",
        WALKS[SCRATCH_ENTER]: "walk_0",
        WALKS[SCRATCH_EXIT]: "walk_1",
        Kind.AIO_SETUP: "exit_aio_context",
        Kind.AIO_DESTROY: "exit_aio_context",
        Kind.AIO_EXIT: "exit_aio_context",
        Kind.AIO_SUBMIT: "exit_aio_submit",
        Kind.AIO_REAP: "exit_aio_reap",
        AIO_ENTER: "enter_aio",
        AIO_RING: "aio_ring",
        AIO_NOTE: "aio_note",
        AIO_NEW: "aio_new",
        AIO_LAST: "aio_last",
        AIO_UNDO: "aio_undo",
    }
    if not kernel.loops:
        made += [aio.measure(*facts), aio.events(*facts, entering=False)]
        jumps.update({AIO_VECTOR: "aio_vector", AIO_EVENTS: "aio_events"})
    if kernel.straight:
        made += [aio.rare_events(*facts, entering=entering) for entering in (True, False)]
        jumps.update({AIO_RARE_RING: "aio_rare_ring", AIO_RARE_EVENTS: "aio_rare_events"})
    calls = system_calls(kernel.machine)
    enters, hooks = _ways_in(kernel, options, maps, calls)
    made += enters
    attach.update(hooks)
    return ProgramSet(
        programs={program.name: program for program in made},
        attach=attach,
        jumps=jumps,
        syscalls={NUMBERS[kernel.machine][call.name]: descriptor(call).pack() for call in calls},
        entering=frozenset([*ENTERING, *(name for name in hooks if name.startswith("enter"))]),
    )


def io_uring(kernel: Kernel, options: Options, maps: Maps) -> Optional[ProgramSet]:
    """The programs on io_uring's events, with a tail-call table of their own; None where the kernel shows too little.

    They are the same in every form: a kernel that has io_uring has raw tracepoints, which show more than the others.
    """
    shown = kernel.uring
    if shown is None:
        return None
    facts = (kernel, replace(options, attach="raw"), maps, shown)
    makers = {"completed": uring.completed, "refused": uring.refused, "taken": uring.taken}
    if "overflowed" in shown.events and kernel.loops:
        makers["overflowed"] = uring.overflowed
    attach = {}
    made = [path.walk(*facts[:3], SCRATCH_EXIT)]
    for event, maker in makers.items():
        for copy in range(kernel.spares + 1):
            made.append(maker(*facts, copy))
            attach[made[-1].name] = [Hook("raw_tracepoint", "io_uring", shown.events[event])]
    jumps = {
        URING_TAKEN: "uring_taken",
        URING_REFUSED: "uring_refused",
        WALKS[SCRATCH_EXIT]: f"walk_{SCRATCH_EXIT}",
    }
    for index, program in _io_uring_parts(*facts).items():
        made.append(program)
        jumps[index] = program.name
    return ProgramSet(
        programs={program.name: program for program in made},
        attach=attach,
        jumps=jumps,
        syscalls={},
        entering=frozenset(),
    )


def _io_uring_parts(kernel: Kernel, options: Options, maps: Maps, shown: Uring) -> Dict[int, ProgramSpec]:
    """What the programs on io_uring's events go on with, by the index in their tail-call table."""
    facts, kinds = (kernel, options, maps, shown), known(shown).values()
    parts = {URING_UNSEEN: uring.unseen(*facts, "taken"), URING_BAD_UNSEEN: uring.unseen(*facts, "refused")}
    if TARGET in kinds:
        parts.update(
            {
                URING_INTO: uring_splice.into(*facts),
                URING_BAD_INTO: uring_splice.into(*facts, entry=True),
                URING_FROM: uring_splice.out_of(*facts),
                URING_BAD_FROM: uring_splice.out_of(*facts, entry=True),
                URING_INTO_DONE: uring_splice.into_done(*facts),
                URING_FROM_DONE: uring_splice.out_of_done(*facts),
            }
        )
    if OPEN in kinds:
        parts[URING_OPEN_DONE] = uring_files.open_done(*facts)
    if CLOSE in kinds:
        parts.update(
            {
                URING_CLOSE: uring_files.close(*facts),
                URING_BAD_CLOSE: uring_files.close(*facts, entry=True),
                URING_CLOSE_DONE: uring_files.close_done(*facts),
            }
        )
    return parts


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
