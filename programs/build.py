"""Puts a form of the programs together: which there are, where they are attached, and who goes on with whom.

The three forms, by `Options.attach`, differ in the programs that are attached to system calls: "raw" has one for all
entries and one for all exits, "perf" one for the entries of each number of arguments, and "fentry" two for each call.
What these go on with by tail calls is the same code in all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Callable, Dict, FrozenSet, Iterable, List, Mapping, NamedTuple, Optional, Tuple

from asm import ProgramSpec
from programs.calls import beside, storage, transfer
from programs.calls import parts as calls
from programs.facts.catalogue import ENTERED, NUMBERS, SYSTEM_CALLS, WITHOUT_ENTRY, SystemCall
from programs.facts.hooks import Hook
from programs.facts.jumps import WALKS, Jump
from programs.facts.kernel import Kernel, Options
from programs.facts.maps import Maps
from programs.facts.members import CACHE_FIELD
from programs.facts.signatures import signature
from programs.files import ask, path
from programs.files.identify import SCRATCH_EXIT
from programs.requests.aio import parts as aio
from programs.requests.aio.accepted import unless_all_accepted
from programs.requests.uring import parts as uring
from programs.way import enter, exit, light, numbers, targets


@dataclass(frozen=True)
class ProgramSet:
    """Programs by name, what is attached where (in this order), and the table of tail calls."""

    programs: Dict[str, ProgramSpec]
    attach: Dict[str, List[Hook]]
    jumps: Dict[int, str]
    """By index; a program may stand at several."""
    syscalls: Dict[int, int]
    """Number of a system call -> its `Signature`: the rows of the map `syscalls`."""
    entering: FrozenSet[str]
    """Those that run at the entry of a call, tail-called ones included: a tail call goes from fentry to fentry and
    from fexit to fexit only."""

    @property
    def hooks(self) -> List[Tuple[str, Hook]]:
        """Every (program, hook), in the order to attach: exits first, as an entry must not lack its exit."""
        return [(name, hook) for name, hooks in self.attach.items() for hook in hooks]


AT_ONCE = exit.AtOnce(scalar=transfer.scalar, submitted=unless_all_accepted)


class Attached(NamedTuple):
    """A program that the kernel runs at an event, and where."""

    program: ProgramSpec
    hooks: List[Hook]


def build(kernel: Kernel, options: Options, maps: Maps) -> ProgramSet:
    """All programs of one form, but those of io_uring's requests."""
    facts = (kernel, options, maps)
    traced = _traced(kernel, options)
    parts = {Jump.EXIT: _exit(options)(*facts, AT_ONCE), **calls.parts(*facts), **aio.parts(*facts)}
    if options.attach != "fentry":
        parts[Jump.BORN] = targets.born(*facts)
    if options.light:
        parts = {index: program for index, program in parts.items() if index not in calls.ENTERING | aio.ENTERING}
        parts[Jump.ADMIT] = light.exit_admit(*facts)
    entries = [] if options.light else list(_on_entries(*facts, traced))
    attached = [*_on_tasks(*facts), *_on_exits(*facts, traced, parts[Jump.EXIT]), *entries]
    at_entry = {parts[index].name for index in calls.ENTERING | aio.ENTERING if index in parts}
    return _together(
        attached,
        parts,
        syscalls={NUMBERS[kernel.machine][call.name]: signature(call) for call in traced},
        entering=at_entry | {entry.program.name for entry in entries},
    )


def _traced(kernel: Kernel, options: Options) -> List[SystemCall]:
    every = [*SYSTEM_CALLS, *(WITHOUT_ENTRY if options.light else ())]
    return [call for call in every if call.name in NUMBERS[kernel.machine]]


def _exit(options: Options) -> Callable[..., ProgramSpec]:
    return light.exit_light if options.light else exit.exit_main


def entries(kernel: Kernel, options: Options, maps: Maps) -> Optional[ProgramSet]:
    """The programs on entries where data calls have none, with a table of tail calls of their own; None elsewhere."""
    if not options.light:
        return None
    facts = (kernel, replace(options, attach=options.light), maps)
    made = {**calls.parts(*facts), **aio.parts(*facts)}
    parts: Dict[int, ProgramSpec] = {i: made[i] for i in calls.ENTERING | aio.ENTERING if i in made}
    del parts[Jump.ENTER_VECTOR]
    entered = [call for call in _traced(kernel, options) if call.kind in ENTERED]
    attached = list(_on_entries(*facts, entered))
    return _together(
        attached, parts, entering={program.name for program in [*(each.program for each in attached), *parts.values()]}
    )


def timing(kernel: Kernel, options: Options, maps: Maps) -> Optional[ProgramSet]:
    """The program that is attached now and then to time data calls, where they have no entry; None elsewhere.

    Beside it the one that tells the kernel's ticks, which is attached to nothing.
    """
    if not options.light:
        return None
    made = [Attached(light.enter_timed(kernel, options, maps), [Hook("raw_tracepoint", "raw_syscalls", "sys_enter")])]
    if kernel.jiffies:
        made.append(Attached(light.read_jiffies(maps), []))
    return _together(made, {})


def io_uring(kernel: Kernel, options: Options, maps: Maps) -> Optional[ProgramSet]:
    """The programs on io_uring's events, with a table of tail calls of their own; None if the kernel shows too little.

    They are the same in every form: a kernel that has io_uring has raw tracepoints, which show more than the others.
    """
    shown = kernel.uring
    if shown is None:
        return None
    facts = (kernel, replace(options, attach="raw"), maps)
    attached = [
        Attached(maker(*facts, copy), [Hook("raw_tracepoint", "io_uring", shown.events[event])])
        for event, maker in uring.on_events(kernel, shown).items()
        for copy in range(kernel.spares + 1)
    ]
    by_name = {program.name: program for program, _ in attached}
    parts = {
        **uring.parts(*facts, shown),
        Jump.URING_TAKEN: by_name["uring_taken"],
        Jump.URING_REFUSED: by_name["uring_refused"],
        WALKS[SCRATCH_EXIT]: path.walk(*facts, SCRATCH_EXIT),
    }
    return _together(attached, parts)


def fates(kernel: Kernel, options: Options, maps: Maps, *, raw: bool) -> ProgramSet:
    """The programs that tell what has become of files, with a table of tail calls of their own.

    `raw`: this kernel has raw tracepoints. They are run, or attached, when they are needed.
    """
    form, kind = ("raw", "raw_tracepoint") if raw else ("perf", "tracepoint")
    facts = (kernel, replace(options, attach=form), maps)
    asking = Attached(ask.ask(*facts), [Hook(kind, "task", "task_rename")])
    return _together([asking], {WALKS[SCRATCH_EXIT]: path.walk(*facts, SCRATCH_EXIT)})


def telling_numbers(kernel: Kernel, options: Options, maps: Maps, *, raw: bool) -> Optional[ProgramSet]:
    """The program that tells numbers of processes; None in the initial PID namespace. The rest is as of `fates`."""
    if kernel.pids is None:
        return None
    form, kind = ("raw", "raw_tracepoint") if raw else ("perf", "tracepoint")
    telling = numbers.number(kernel, replace(options, attach=form), maps)
    return _together([Attached(telling, [Hook(kind, "task", "task_rename")])], {})


def _together(
    attached: Iterable[Attached],
    parts: Mapping[int, ProgramSpec],
    syscalls: Optional[Dict[int, int]] = None,
    entering: Iterable[str] = (),
) -> ProgramSet:
    """A program that stands in both `attached` and `parts`, or there several times, is one: they go by their names."""
    return ProgramSet(
        programs={program.name: program for program in [*(one.program for one in attached), *parts.values()]},
        attach={program.name: hooks for program, hooks in attached},
        jumps={index: program.name for index, program in parts.items()},
        syscalls=syscalls or {},
        entering=frozenset(entering),
    )


def _on_tasks(kernel: Kernel, options: Options, maps: Maps) -> Iterable[Attached]:
    """The programs that keep the set of targets right, and those that see what else happens in a task."""
    facts = (kernel, options, maps)
    kind = "tracepoint" if options.attach == "perf" else "raw_tracepoint"
    yield Attached(targets.new_task(*facts), [Hook(kind, "task", "task_newtask")])
    yield Attached(targets.exit_task(*facts), [Hook(kind, "sched", "sched_process_exit")])
    yield Attached(targets.exec_task(*facts), [Hook(kind, "sched", "sched_process_exec")])
    yield Attached(storage.page_cached(*facts), [Hook(kind, *CACHE_FIELD[:2])])
    yield Attached(beside.core_dump(*facts), [Hook(kind, "signal", "signal_deliver")])
    if options.cgroups:
        yield Attached(targets.moved(*facts), [Hook(kind, "cgroup", "cgroup_attach_task")])
    if options.comm:
        yield Attached(targets.rename(*facts), [Hook(kind, "task", "task_rename")])


def _on_exits(
    kernel: Kernel, options: Options, maps: Maps, traced: List[SystemCall], main: ProgramSpec
) -> Iterable[Attached]:
    """The programs on exits of system calls: `main`, which is the exit of all, with its spares."""
    facts = (kernel, options, maps)
    returning = [call for call in traced if call.returns]
    if options.attach == "fentry":
        for call in returning:
            yield Attached(exit.function_leave(*facts, call), [Hook("fexit", "", call.event)])
        return
    hooks = [Hook("tracepoint", "syscalls", f"sys_exit_{call.event}") for call in returning]
    if options.attach == "raw":
        hooks = [Hook("raw_tracepoint", "raw_syscalls", "sys_exit")]
    yield Attached(main, hooks)
    for copy in range(1, kernel.spares + 1):
        yield Attached(_exit(options)(*facts, AT_ONCE, copy), hooks)


def _on_entries(kernel: Kernel, options: Options, maps: Maps, traced: List[SystemCall]) -> Iterable[Attached]:
    """The programs on entries of system calls, with their spares."""
    facts = (kernel, options, maps)
    if options.attach == "fentry":
        for call in traced:
            yield Attached(enter.function_enter(*facts, call), [Hook("fentry", "", call.event)])
        return
    for copy in range(kernel.spares + 1):
        if options.attach == "raw":
            yield Attached(enter.raw_enter(*facts, copy), [Hook("raw_tracepoint", "raw_syscalls", "sys_enter")])
            continue
        for arity in sorted({call.arity for call in traced}):
            alike = [call for call in traced if call.arity == arity]
            hooks = [Hook("tracepoint", "syscalls", f"sys_enter_{call.event}") for call in alike]
            yield Attached(enter.perf_enter(*facts, arity, copy), hooks)
