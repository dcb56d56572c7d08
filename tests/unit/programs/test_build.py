"""The programs as built: what every form must promise to old kernels, and how the programs fit together."""

from __future__ import annotations

from dataclasses import replace
from typing import Dict, Iterable, List, Set, Tuple

import pytest

from asm import ProgramSpec, ProgramType, isa, unchecked
from asm.instruction import Instruction, decode, slots
from asm.requirements import Version, requirement
from programs import build
from programs.facts import maps
from programs.facts.catalogue import SYSTEM_CALLS, Kind
from programs.facts.jumps import JUMPS, WALKS, Jump
from programs.facts.kernel import Options, Uring
from programs.facts.members import CACHE_MEMBERS, FIELDS, MEMBERS, TYPED_MEMBERS, URING_MEMBERS
from tests.unit.programs.every import every_form
from tests.unit.programs.forms import (
    ABILITIES,
    GOLDEN_SETS,
    NEWEST,
    OFFSETS,
    OLDEST,
    SINCE,
    TRACEPOINT_FIELDS,
    TYPES,
    URING,
    URING_TYPES,
    Form,
    built,
    built_as,
    encoded,
    rings,
)


def test_the_same_facts_give_the_same_bytes() -> None:
    again = built(replace(OLDEST), Options(attach="perf", comm=True))
    first = GOLDEN_SETS["perf"]
    assert {name: encoded(program) for name, program in again.programs.items()} == {
        name: encoded(program) for name, program in first.programs.items()
    }
    assert (again.attach, again.jumps, again.syscalls) == (first.attach, first.jumps, first.syscalls)


def test_what_is_not_checked_is_the_same() -> None:
    kernel = replace(NEWEST, types=URING_TYPES, uring=URING)
    with unchecked():
        made = [built(kernel, Options()).programs, rings(kernel, Options()).programs]
    assert made == [built(kernel, Options()).programs, rings(kernel, Options()).programs]  # notes and lines, too


def test_other_facts_give_other_bytes() -> None:
    moved = built(replace(OLDEST, offsets={**OFFSETS, "file.inode": 40}), Options(attach="perf", comm=True))
    changed = {n for n, p in moved.programs.items() if encoded(p) != encoded(GOLDEN_SETS["perf"].programs[n])}
    assert {"exit", "exit_vector", "exit_sync", "exit_open"} <= changed
    assert not changed & {"walk_0", "walk_1", "new_task", "rename", "exit_task", "exec_task"}


# -- what old kernels demand -------------------------------------------------------------------------------------------


@every_form
def test_nothing_newer_than_the_kernel_it_is_for(form: Form) -> None:
    since = max(form.kernel, SINCE[form.attach])
    for program in built_as(form).programs.values():
        found = program.requires()
        assert found.version <= since, f"{program.name}: {found}"


@every_form
def test_programs_fit_a_kernel_before_5_2(form: Form) -> None:
    """BPF_MAXINSNS, include/uapi/linux/bpf_common.h."""
    assert {name: p.slots for name, p in built_as(form).programs.items() if len(encoded(p)) > 4096 * 8} == {}


@pytest.mark.slow
@pytest.mark.parametrize("attach", ["raw", "perf"])
@pytest.mark.parametrize("version", [(4, 14), (4, 18)])
def test_all_that_can_be_asked_for_at_once_fits_too(attach: str, version: Version) -> None:
    """Rows apart by who does the I/O, and over time."""
    kernel = replace(NEWEST, **ABILITIES[version])
    made = built(kernel, Options(attach=attach, by="process", series=True, comm=True, cgroups=8))
    assert {name: p.slots for name, p in made.programs.items() if p.slots > 4096} == {}


def successors(code: bytes) -> Dict[int, List[int]]:
    """For each slot of a program's bytes those that may run next; a call comes back, an exit does not."""
    graph: Dict[int, List[int]] = {}
    for slot, instruction in slots(decode(code)):
        following, jump = slot + instruction.width, slot + 1 + instruction.off
        kind, operation = instruction.op & 7, instruction.op & 0xF0
        if kind not in (isa.JMP, isa.JMP32) or operation == isa.CALL:
            graph[slot] = [following]
        elif operation == isa.EXIT:
            graph[slot] = []
        else:
            graph[slot] = [jump] if operation == isa.JA else [following, jump]
    return graph


def functions(code: bytes) -> List[int]:
    """The slots where a program's functions begin: the program itself, and those that it hands to the kernel."""
    found = [(slot, instruction) for slot, instruction in slots(decode(code)) if instruction.takes_function]
    return [0, *{slot + 1 + instruction.distance for slot, instruction in found}]


def reached(graph: Dict[int, List[int]], start: int = 0, *, may_loop: bool = False) -> Set[int]:
    """The slots that can run from `start` on.

    Fails on a way that leads back, unless it may, out of the program, or into a wide instruction.
    """
    done: Set[int] = set()
    on_the_way: Set[int] = set()
    stack = [(start, iter(graph[start]))]
    on_the_way.add(start)
    while stack:
        slot, ways = stack[-1]
        for target in ways:
            assert target in graph, f"slot {slot} leads to {target}, where no instruction begins"
            assert may_loop or target not in on_the_way, f"a loop: slot {slot} leads back to {target}"
            if target not in done and target not in on_the_way:
                on_the_way.add(target)
                stack.append((target, iter(graph[target])))
                break
        else:
            on_the_way.discard(slot)
            done.add(slot)
            stack.pop()
    return done


@every_form
def test_no_loops_and_no_dead_instructions(form: Form) -> None:
    """check_cfg() of kernel/bpf/verifier.c refuses both before 5.3, and the latter ever after."""
    may_loop = form.kernel >= (5, 3)
    for program in built_as(form).programs.values():
        code = encoded(program)
        graph = successors(code)
        run = set().union(*(reached(graph, start, may_loop=may_loop) for start in functions(code)))
        assert set(graph) - run == set(), f"{program.name}: unreachable"


def test_the_loop_finder_finds_loops() -> None:
    with pytest.raises(AssertionError, match="a loop: slot 2 leads back to 1"):
        reached({0: [1], 1: [2], 2: [3, 1], 3: []})
    assert reached({0: [1, 2], 1: [3], 2: [3], 3: [], 4: [3]}) == {0, 1, 2, 3}


@every_form
def test_programs_agree_on_their_maps(form: Form) -> None:
    """Those that the programs of one form share agree, which `ProgramSpec.maps` of one cannot see; names fit (4.15)."""
    seen: Dict[str, object] = {}
    for program in built_as(form).programs.values():
        for name, spec in program.maps.items():
            assert seen.setdefault(name, spec) == spec
            assert len(name) <= 15, "BPF_OBJ_NAME_LEN"


def test_the_facts_written_down_are_all_that_there_are() -> None:
    assert set(OFFSETS) == {*MEMBERS, *TYPED_MEMBERS, *CACHE_MEMBERS, "compat", "task.leader"}
    assert set(URING.offsets) == set(URING_MEMBERS)
    assert set(TRACEPOINT_FIELDS) == set(FIELDS)


# -- how they are put together -----------------------------------------------------------------------------------------


@every_form
def test_every_program_is_reached_and_every_index_is_filled(form: Form) -> None:
    made = built_as(form)
    assert set(made.programs) == set(made.attach) | set(made.jumps.values())
    assert set(made.jumps) <= set(range(JUMPS))
    kinds = {descriptor & 0xFF for descriptor in made.syscalls.values()}
    assert kinds - set(made.jumps) == {Kind.SCALAR}, "plain transfers are accounted for by the exit itself"


@every_form
def test_tail_calls_find_their_program(form: Form) -> None:
    """The index is in r3, set before context and map: a constant, or the kind of a call."""
    made = built_as(form)
    wanted: Set[int] = set()
    for program in made.programs.values():
        code = program.instructions
        indexes = [code[at - 3] for at, instruction in enumerate(code) if instruction.call == "tail_call"]
        assert all(index.dst == 3 for index in indexes)
        wanted.update(index.imm for index in indexes if index.op == isa.ALU64 | isa.MOV | isa.K)
    assert {Jump.ENTER_OTHER, Jump.COPY_TARGET, Jump.AIO_NOTE, *WALKS} <= wanted <= set(made.jumps)


@every_form
def test_the_exit_of_a_call_is_attached_before_its_entry(form: Form) -> None:
    order = [hook for _, hook in built_as(form).hooks]
    endless = {call.event for call in SYSTEM_CALLS if not call.returns}
    assert len(set(order)) == len(order)
    leaving = {"sys_enter": "sys_exit", "fentry": "fexit"}
    for hook in order if form.attach != "light" else ():  # which are attached by the table that they belong to
        for enter, leave in leaving.items():
            if hook.name.replace("sys_enter_", "") in endless:
                continue
            if hook.kind == enter or hook.name.startswith(enter):
                exits = hook._replace(kind=hook.kind.replace(enter, leave), name=hook.name.replace(enter, leave, 1))
                assert order.index(exits) < order.index(hook)


def test_the_raw_form_attaches_to_two_tracepoints_and_the_others_to_each_call() -> None:
    calls, endless = len(GOLDEN_SETS["perf"].syscalls), sum(not call.returns for call in SYSTEM_CALLS)
    for form, expected in (("raw", 2), ("perf", 2 * calls - endless), ("fentry", 2 * calls - endless)):
        found = [
            hook for _, hook in GOLDEN_SETS[form].hooks if hook.category not in ("task", "sched", "signal", "filemap")
        ]
        assert len(found) == expected


def test_requirement_sees_what_a_form_uses() -> None:
    """The check above would pass on anything if it did not: the newest form calls a function of the kernel."""
    enter = GOLDEN_SETS["raw"].programs["enter"]
    assert requirement(enter.kind, enter.instructions).version == (5, 13)
    assert GOLDEN_SETS["raw"].programs["walk_0"].requires().version == (5, 17)


# -- io_uring ----------------------------------------------------------------------------------------------------------

URING_SHOWN = {
    "newest": URING,
    # 6.1: registered files are no nodes, and an overflow is shown beside the completion.
    "6.1": replace(
        URING,
        events={**URING.events, "taken": "io_uring_submit_sqe"},
        offsets={
            name: offset
            for name, offset in URING.offsets.items()
            if name not in ("node.file", "ring.completing", "request.list")
        },
    ),
    "no more than transfers": replace(
        URING,
        offsets={
            name: offset for name, offset in URING.offsets.items() if not name.startswith(("splice", "open", "close"))
        },
    ),
    "without an overflow": replace(URING, events={n: e for n, e in URING.events.items() if n != "overflowed"}),
}


@pytest.mark.parametrize("shown", URING_SHOWN.values(), ids=URING_SHOWN)
@pytest.mark.parametrize("types", [{}, TYPES, URING_TYPES], ids=["probed", "some typed", "typed"])
def test_io_uring_is_followed_where_it_is_shown(shown: Uring, types: Dict[str, int]) -> None:
    events = {n: e for n, e in shown.events.items() if n != "overflowed" or "request.list" in shown.offsets}
    made = rings(replace(NEWEST, types=types, uring=replace(shown, events=events)), Options())
    hooks = {hook.name: hook.kind for _, hook in made.hooks}
    assert hooks == dict.fromkeys(events.values(), "raw_tracepoint")
    assert set(made.programs) == set(made.attach) | set(made.jumps.values())
    order = [hook.name for _, hook in made.hooks]
    assert order.index(events["completed"]) < order.index(events["taken"])
    assert all(len(encoded(p)) <= 4096 * 8 for p in made.programs.values())


@pytest.mark.slow
def test_io_uring_is_followed_alike_in_every_form() -> None:
    """A table of tail calls holds programs of one kind."""
    kernel = replace(NEWEST, types=URING_TYPES, uring=URING)
    raw, perf, fentry = (rings(kernel, Options(attach=attach)) for attach in ("raw", "perf", "fentry"))
    assert {program.kind for program in raw.programs.values()} == {ProgramType.RAW_TRACEPOINT}
    for other in (perf, fentry):
        assert {n: encoded(p) for n, p in other.programs.items()} == {n: encoded(p) for n, p in raw.programs.items()}
        assert (other.attach, other.jumps) == (raw.attach, raw.jumps)


def test_io_uring_is_left_alone_where_it_is_not_shown() -> None:
    assert build.io_uring(NEWEST, Options(), maps.declare(NEWEST)) is None


def test_spares_stand_behind_each_program_on_an_event_of_io_uring() -> None:
    """Where programs are preempted; what they work in is then by thread."""
    kernel = replace(NEWEST, types=URING_TYPES, uring=URING, spares=3)
    made = rings(kernel, Options())
    for event, name in URING.events.items():
        attached = [program for program, hook in made.hooks if hook.name == name]
        assert attached == [f"uring_{event}", *(f"uring_{event}_s{copy}" for copy in (1, 2, 3))]
    assert maps.declare(kernel).borrowed.max_entries == maps.BORROWED > maps.declare(NEWEST).borrowed.max_entries == 1
    assert all(len(encoded(p)) <= 4096 * 8 for p in made.programs.values())


def stack_used(instructions: Iterable[Instruction]) -> int:
    """Bytes of the stack that are written to, or that an address is made of."""
    through = [-i.off for i in instructions if 10 in (i.dst, i.src) and i.off < 0]
    addresses = [
        -i.imm for before, i in pairwise(instructions) if before.src == 10 and before.dst == i.dst and i.imm < 0
    ]
    return max([*through, *addresses], default=0)


def every_body(made: Dict[str, ProgramSpec]) -> Iterable[Iterable[Instruction]]:
    return (program.instructions for program in made.values())


def pairwise(instructions: Iterable[Instruction]) -> Iterable[Tuple[Instruction, Instruction]]:
    every = list(instructions)
    return zip(every, every[1:])


@pytest.mark.slow
def test_a_program_that_can_be_preempted_runs_on_its_thread_s_own_stack() -> None:
    """As one does that can make a tail call, or has less than 64 bytes on it (BPF_PRIV_STACK_MIN_SIZE in the kernel's
    verifier.c, 6.13); else it may be one of the CPU's, which whoever preempts it shares."""
    kernel = replace(NEWEST, types={**TYPES, **URING_TYPES}, uring=URING, spares=3)
    for attach in ("raw", "perf", "fentry"):
        options = Options(comm=True, attach=attach)
        made = {**build.build(kernel, options, maps.declare(kernel)).programs, **rings(kernel, options).programs}
        without = {
            name
            for name, p in made.items()
            if all(i.call != "tail_call" for i in p.instructions) and stack_used(p.instructions) >= 64
        }
        never = {"core_dump", "exec_task", "exit_task", "new_task", "rename"}
        assert without <= never, "which are never preempted, nor tail-called"
        assert 0 < stack_used(made["page_cached"].instructions) < 64 <= max(map(stack_used, every_body(made)))
