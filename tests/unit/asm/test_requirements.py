"""The tables against the kernel's own header, and what programs require."""

from __future__ import annotations

import enum
import pathlib
import re
from typing import Callable, Dict, Tuple, Type

import pytest

from asm import HELPERS, U32, U64, Assembler, MapSpec, MapType, ProgramType, r0, r1, r2, r6, r10
from tests import needs

HEADER = pathlib.Path("/usr/include/linux/bpf.h")
needs_header = needs.file(str(HEADER), "linux-libc-dev")


def header_enum(name: str, prefix: str) -> Dict[str, int]:
    """The names and numbers of one of the header's enums without explicit values."""
    found = re.search(rf"enum {name} {{(.*?)}};", HEADER.read_text(), re.S)
    assert found
    body = re.sub(r"/\*.*?\*/", "", found[1], flags=re.S)
    numbers: Dict[str, int] = {}
    for entry in filter(None, (entry.strip() for entry in body.split(","))):
        key, _, value = entry.partition("=")
        key, value = key.strip(), value.strip()
        numbers[key] = numbers[value] if value else max(numbers.values(), default=-1) + 1
    return {key[len(prefix) :]: number for key, number in numbers.items()}


@needs_header
def test_helper_ids_are_those_of_the_kernel() -> None:
    text = HEADER.read_text()
    numbered = re.findall(r"\tFN\((\w+), (\d+), ", text)
    ids = {name: int(number) for name, number in numbered}
    if not ids:  # before 6.2 the header gives them no numbers
        ids = {name: number for number, name in enumerate(re.findall(r"\tFN\((\w+)\)", text))}
    ids.pop("unspec", None)
    assert len(ids) > 200
    known = {name: helper.id for name, helper in HELPERS.items()}
    assert {name: known.get(name) for name in ids if ids[name] <= len(known)} == {
        name: number for name, number in ids.items() if number <= len(known)
    }


@needs_header
@pytest.mark.parametrize(
    ("ours", "name", "prefix"),
    [(MapType, "bpf_map_type", "BPF_MAP_TYPE_"), (ProgramType, "bpf_prog_type", "BPF_PROG_TYPE_")],
)
def test_kinds_have_the_numbers_of_the_kernel(ours: Type[enum.IntEnum], name: str, prefix: str) -> None:
    theirs = header_enum(name, prefix)
    shared = {kind.name: kind.value for kind in ours if kind.name in theirs}
    assert len(shared) > 30
    assert shared == {kind: theirs[kind] for kind in shared}
    assert {kind.name for kind in ours if kind.value <= max(theirs.values())} == set(shared)


def test_helpers_grow_in_the_order_of_their_ids() -> None:
    versions = [helper.since for helper in sorted(HELPERS.values())]
    assert versions == sorted(versions)
    assert [helper.id for helper in sorted(HELPERS.values())] == list(range(1, 212))


COUNTS = MapSpec("counts", MapType.HASH, U64, U64, 16)
GLOBAL = MapSpec("global", MapType.ARRAY, U32, U64, 1)
RING = MapSpec("ring", MapType.RINGBUF, None, None, 4096)
MMAPPED = MapSpec("mmapped", MapType.ARRAY, U32, U64, 1, flags=1 << 10)
OUTER = MapSpec("outer", MapType.ARRAY_OF_MAPS, U32, U32, 2, inner=RING)


def loop(a: Assembler) -> None:
    a.mov(r6, 3)
    a.label("again")
    a.sub(r6, 1)
    a.jne(r6, 0, "again")


def call_function(a: Assembler) -> None:
    a.call_function("twice")
    a.ret(0)
    a.function("twice", args=1)


CASES: Dict[str, Tuple[Tuple[int, int], Callable[[Assembler], None]]] = {
    "a jump on less than": ((4, 14), lambda a: a.jlt(r1, 3, "end")),
    "a function call": ((4, 16), call_function),
    "helper bpf_get_current_cgroup_id": ((4, 18), lambda a: a.call("get_current_cgroup_id")),
    "a jump on 32 bits": ((5, 1), lambda a: a.jeq32(r1, 3, "end")),
    "the address of a map's value": ((5, 2), lambda a: a.ld_map_value(r1, GLOBAL)),
    "a loop": ((5, 3), loop),
    "map flag BPF_F_MMAPABLE": ((5, 5), lambda a: a.ld_map(r1, MMAPPED)),
    "helper bpf_probe_read_kernel": ((5, 5), lambda a: a.call("probe_read_kernel")),
    "map type RINGBUF": ((5, 8), lambda a: a.ld_map(r1, RING)),
    "a division of 32 bits by a register": ((4, 15), lambda a: a.mod32(r1, r1)),
    "an arithmetic shift of 32 bits": ((5, 0), lambda a: a.arsh32(r1, 3)),
    "an atomic other than add": ((5, 12), lambda a: a.fetch_add(r10[-8], r1)),
    "a signed division": ((6, 6), lambda a: a.sdiv(r0, 3)),
    "a sign-extending move": ((6, 6), lambda a: a.movsx(r2, r1, 8)),
    "a sign-extending load": ((6, 6), lambda a: a.ldsx(r2, r1.u8(0))),
    "an unconditional byte swap": ((6, 6), lambda a: a.bswap16(r1)),
}


@pytest.mark.parametrize("what", CASES)
def test_the_newest_thing_decides(what: str) -> None:
    since, emit = CASES[what]
    a = Assembler("one", ProgramType.TRACEPOINT)
    a.mov(r0, 0)
    emit(a)
    a.label("end")
    a.ret(0)
    required = a.program().requires()
    assert required.version == since
    newest = required.reasons[0]
    assert (newest.since, newest.what) == (since, what)
    assert newest.where is not None
    assert newest.where[0].endswith("test_requirements.py")
    assert f"{what} needs Linux {since[0]}.{since[1]} (" in str(required)


def test_inner_maps_count() -> None:
    a = Assembler("outer", ProgramType.TRACEPOINT)
    a.ld_map(r1, OUTER)
    a.ret(0)
    assert a.program().requires().version == (5, 8)


def test_what_4_14_has_requires_no_more() -> None:
    a = Assembler("plain", ProgramType.TRACEPOINT)
    key = a.slot("key", U64)
    a.call("get_current_pid_tgid")
    a.stx(key, r0)
    a.lookup(COUNTS, key)
    a.jeq(r0, 0, "end")
    a.mov(r1, 1)
    a.xadd(r0[0], r1)
    a.label("end")
    a.ret(0)
    required = a.program().requires()
    assert required.version == (4, 7)
    assert "program type TRACEPOINT" in str(required)


def test_kinds_of_programs_count() -> None:
    a = Assembler("raw", ProgramType.RAW_TRACEPOINT)
    a.ret(0)
    assert a.program().requires().version == (4, 17)


def test_more_than_4096_slots_need_a_newer_kernel() -> None:
    a = Assembler("long", ProgramType.TRACEPOINT)
    for _ in range(2047):
        a.ld_imm64(r6, 1)
    a.ret(0)
    assert (a.program().slots, a.program().requires().version) == (4096, (4, 7))
    a = Assembler("longer", ProgramType.TRACEPOINT)
    for _ in range(2047):
        a.ld_imm64(r6, 1)
    a.mov(r6, 1)
    a.ret(0)
    assert (a.program().slots, a.program().requires().version) == (4097, (5, 2))
