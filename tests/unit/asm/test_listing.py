"""Listings: what stands for an operand, a label, a call; that what is not known is shown by its numbers."""

from __future__ import annotations

import re
from enum import IntEnum

import pytest

from asm import (
    S64,
    U8,
    U32,
    U64,
    Assembler,
    Layout,
    MapSpec,
    MapType,
    Mem,
    ProgramType,
    decode,
    field,
    overlay,
    r0,
    r1,
    r2,
    r3,
    r6,
    r10,
)
from asm.listing import listing


class Pair(Layout):
    low = field(U32)
    high = field(U32)


class Record(Layout):
    id = field(U64)
    name = field(U8, 16)
    pairs = field(Pair, 2)
    inner = field(Pair)
    result = overlay(S64, inner)


class Phase(IntEnum):
    FIRST = 1
    LAST = 7


RECORDS = MapSpec("records", MapType.HASH, U64, Record, 16)
ONE = MapSpec("one", MapType.ARRAY, U32, Record, 1)


@pytest.fixture
def a() -> Assembler:
    assembler = Assembler("test", ProgramType.TRACEPOINT)
    for register in (r0, r2, r3, r6):
        assembler.ldx(register, r1[0])
    return assembler


def emitted(a: Assembler) -> str:
    """What came after the fixture, without indentation."""
    a.ret(0)
    lines = a.program().listing().splitlines()[4:-2]
    return "\n".join(line.strip() for line in lines)


def test_fields_carry_the_name_of_their_record(a: Assembler) -> None:
    a.ldx(r2, r6[Record.id])
    a.ldx(r2, r6[Record.name[3]])
    a.stx(r6[Record.pairs[1][Pair.high]], r2)
    a.st(r6[Record.inner[Pair.low]], 5)
    a.xadd(r6[Record.result], r2)
    a.addr(r2, r6[Record.pairs])
    assert (
        emitted(a)
        == """\
r2 = r6[Record.id]
r2 = r6[Record.name[3]]
r6[Record.pairs[1].high] = r2
r6[Record.inner.low] = 5
lock r6[Record.result] += r2
r2 = r6
r2 += offset(r6[Record.pairs])"""
    )


def test_places_on_the_stack_go_by_their_names(a: Assembler) -> None:
    key, record, text = a.slot("key", U32), a.slot("record", Record), a.slot("text", (U8, 12))
    a.st(key, 1)
    a.stx(record[Record.id], r2)
    a.stx(record[Record.name].at(8), r2)
    a.st(text.at(8, 4), 0)
    a.zero(text)
    a.addr(r2, record[Record.inner])
    assert (
        emitted(a)
        == """\
stack[key] = 1
stack[record][Record.id] = r2
stack[record][Record.name].u64(8) = r2
stack[text].u32(8) = 0
stack[text].u64(0) = 0
stack[text].u32(8) = 0
r2 = r10
r2 += offset(stack[record][Record.inner])"""
    )


def test_what_has_no_name_is_shown_by_its_distance(a: Assembler) -> None:
    a.ldx(r2, r6.u16(-6))
    a.stx(Mem(r10, -24, 8), r2)
    a.ldx(r3, r6[8])
    a.ldsx(r3, r6.u8(1))
    assert emitted(a) == "r2 = r6.u16(-6)\nr10.u64(-24) = r2\nr3 = r6.u64(8)\nr3 = (s8)r6.u8(1)"


def test_members_of_an_enumeration_keep_their_names(a: Assembler) -> None:
    a.mov(r2, Phase.LAST)
    a.jsgt(r2, Phase.FIRST, "end")
    a.st(r6[Record.id], Phase.LAST)
    a.and_(r2, 0xFFF)
    a.and_(r2, 0x1000)
    a.add(r2, -0x1000)
    a.label("end")
    assert (
        emitted(a)
        == """\
r2 = Phase.LAST
if r2 s> Phase.FIRST goto end
r6[Record.id] = Phase.LAST
r2 &= 4095
r2 &= 0x1000
r2 += -0x1000
end:"""
    )


def test_calls_maps_and_atomics(a: Assembler) -> None:
    key = a.slot("key", U64)
    a.stx(key, r2)
    a.lookup(RECORDS, key, "looked up")
    a.ld_map_value(r1, ONE, 8)
    a.fetch_add(r1[Record.id], r6)
    a.cmpxchg(r1[Record.id], r6)
    a.call_kernel("kernel_function", 77)
    a.ld_imm64(r2, 1 << 33)
    assert (
        re.sub(" +;", " ;", emitted(a))
        == """\
stack[key] = r2
r2 = r10
r2 += offset(stack[key])
r1 = map[records]
call map_lookup_elem ; looked up
r1 = map[one][0]+8
r6 = atomic64_fetch_add(&r1[Record.id], r6)
r0 = atomic64_cmpxchg(&r1[Record.id], r0, r6)
call kernel_function
r2 = 0x200000000"""
    )


def test_a_numbered_label_shows_its_number_where_the_next_of_its_name_is_another(a: Assembler) -> None:
    """The outer one encloses the inner one; the two that follow each other need no number."""
    outer, inner, after = (a.unique("skip") for _ in range(3))
    a.jeq(r2, 1, outer)
    a.jeq(r2, 2, inner)
    a.label(inner)
    a.mov(r2, 0)
    a.label(outer)
    a.jeq(r2, 3, after)
    a.mov(r2, 0)
    a.label(after)
    assert (
        emitted(a)
        == """\
if r2 == 1 goto skip.1
if r2 == 2 goto skip
skip:
r2 = 0
skip.1:
if r2 == 3 goto skip
r2 = 0
skip:"""
    )


def test_a_label_of_the_source_is_not_confused_with_a_numbered_one(a: Assembler) -> None:
    a.jeq(r2, 1, a.unique("end"))
    a.jeq(r2, 2, "end")
    a.label("end.1")
    a.label("end")
    assert emitted(a) == "if r2 == 1 goto end.1\nif r2 == 2 goto end\nend.1:\nend:"


def test_a_jump_back_goes_to_the_last_label_of_its_name(a: Assembler) -> None:
    for _ in range(2):
        again = a.unique("again")
        a.label(again)
        a.sub(r2, 1)
        a.jne(r2, 0, again)
    assert emitted(a) == "\n".join(["again:", "r2 -= 1", "if r2 != 0 goto again"] * 2)


def test_decoded_instructions_have_no_names() -> None:
    a = Assembler("test", ProgramType.TRACEPOINT)
    a.ldx(r2, r1[Record.name[0]])
    a.jeq(r2, Phase.LAST, "end")
    a.call("ktime_get_ns")
    a.label("end")
    a.ret(0)
    code = a.program().encode({})
    assert (
        listing(decode(code))
        == """\
    r2 = r1.u8(8)
    if r2 == 7 goto pc+1
    call ktime_get_ns
    r0 = 0
    exit
"""
    )


def test_an_instruction_that_does_not_exist_shows_its_fields() -> None:
    assert listing(decode(bytes.fromhex("ff00000000000000"))) == "    unknown opcode, dst 0 src 0 off 0 imm 0\n"


def test_notes_and_lines_can_be_left_out_or_added(a: Assembler) -> None:
    a.mov(r2, 1, "one")
    a.ret(0)
    program = a.program()
    assert ";" not in program.listing(notes=False)
    assert "; one   asm/test_listing.py:" in program.listing(where=True)


def test_names_are_no_part_of_an_operand() -> None:
    """A field that is loaded is the same operand as the bytes that it lies in."""
    assert r6[Record.id] == r6.u64(0)
    assert hash(r6[Record.id]) == hash(r6.u64(0))
    one, other = Assembler("x", ProgramType.TRACEPOINT), Assembler("x", ProgramType.TRACEPOINT)
    for a, mem in ((one, r1[Record.inner[Pair.low]]), (other, r1.u32(40))):
        a.ldx(r0, mem)
        a.exit()
    assert [i.encode() for i in one.program().instructions] == [i.encode() for i in other.program().instructions]
    assert str(one.program().instructions[0].mem) != str(other.program().instructions[0].mem)
