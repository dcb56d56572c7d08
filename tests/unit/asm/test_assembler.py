"""Labels, registers and the stack: what works, and that what cannot work is blamed on the caller's line."""

from __future__ import annotations

import pathlib
import sys
from typing import Any, Callable, List

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asm import (
    U8,
    U32,
    U64,
    AssembleError,
    Assembler,
    Layout,
    MapSpec,
    MapType,
    Mem,
    ProgramType,
    dis,
    field,
    r0,
    r1,
    r2,
    r3,
    r4,
    r5,
    r6,
    r7,
    r10,
    unchecked,
)

HERE = "/".join(pathlib.Path(__file__).parts[-2:])


class Key(Layout):
    inode = field(U64)
    name = field(U8, 16)


COUNTS = MapSpec("counts", MapType.HASH, U64, U32, 16)
TAILS = MapSpec("tails", MapType.PROG_ARRAY, U32, U32, 4)


@pytest.fixture
def a() -> Assembler:
    return Assembler("test", ProgramType.TRACEPOINT)


def line() -> int:
    """The line of the caller."""
    return sys._getframe(1).f_lineno


Mistake = Callable[[Assembler], Any]


def refused(a: Assembler, mistake: Mistake, message: str) -> None:
    """Asserts that the mistake is refused with the message, and blamed on the line in this file that made it."""
    with pytest.raises(AssembleError) as caught:
        mistake(a)
    made = [entry.lineno + 1 for entry in caught.traceback if str(entry.path) == __file__][-1]
    assert str(caught.value) == f"{HERE}:{made}: {message}"
    assert caught.value.where == (HERE, made)


# Registers


def test_a_register_that_nothing_wrote_is_refused(a: Assembler) -> None:
    never = "has no value (not every path here writes it)"
    refused(a, lambda a: a.mov(r6, r3), f"r3 {never}")
    refused(a, lambda a: a.add(r6, 1), f"r6 {never}")
    refused(a, lambda a: a.ldx(r6, r7[0]), f"r7 {never}")
    refused(a, lambda a: a.stx(r1[0], r7), f"r7 {never}")
    refused(a, lambda a: a.jeq(r1, r5, "x"), f"r5 {never}")
    refused(a, lambda a: a.exit(), f"r0 {never}")
    refused(a, lambda a: a.cmpxchg(r10[-8], r1), f"r0 {never}")
    refused(a, lambda a: a.be16(r2), f"r2 {never}")


def test_arguments_are_lost_in_calls(a: Assembler) -> None:
    a.mov(r6, r1)
    a.mov(r3, 0)
    called = line() + 1
    a.call("ktime_get_ns")
    for register in (r1, r2, r3, r4, r5):
        with pytest.raises(AssembleError) as caught:
            a.mov(r7, register)
        clobbered = f"{register!r} has no value (clobbered by the call at {HERE}:{called})"
        assert str(caught.value) == f"{HERE}:{called + 3}: {clobbered}"
    a.mov(r7, r0)
    a.mov(r7, r6)
    a.mov(r1, r10)


def test_helpers_without_a_result_leave_none(a: Assembler) -> None:
    a.mov(r0, 1)
    called = line() + 1
    a.tail_call(r1, TAILS, 2)
    refused(a, lambda a: a.mov(r6, r0), f"r0 has no value (clobbered by the call at {HERE}:{called})")


def test_at_a_label_only_what_every_way_wrote_has_a_value(a: Assembler) -> None:
    a.mov(r6, 1)
    a.jeq(r1, 0, "both")
    a.mov(r7, 1)
    a.mov(r0, 1)
    a.label("both")
    a.mov(r2, r6)
    refused(a, lambda a: a.mov(r2, r7), "r7 has no value (not every path here writes it)")


def test_after_a_jump_only_the_jumps_to_a_label_count(a: Assembler) -> None:
    a.mov(r7, 1)
    a.jeq(r1, 0, "else")
    a.mov(r6, 1)
    a.ja("end")
    a.label("else")
    refused(a, lambda a: a.mov(r2, r6), "r6 has no value (not every path here writes it)")
    a.mov(r6, 2)
    a.label("end")
    a.mov(r0, r6)
    a.add(r0, r7)
    a.exit()
    assert a.program().slots == 8


def test_what_is_not_checked_is_assembled() -> None:
    """Without looking for mistakes, except for those that leave no bytes."""
    with unchecked():
        a = Assembler("test", ProgramType.TRACEPOINT)
    a.mov(r2, r7)  # which has no value
    a.ret(0)
    a.ja("nowhere")  # which nothing leads to
    with pytest.raises(AssembleError, match="no label nowhere"):
        a.program()
    a.label("nowhere")
    a.ret(0)
    assert a.program().slots == 6
    refused(
        Assembler("next", ProgramType.TRACEPOINT),
        lambda a: a.mov(r2, r7),
        "r7 has no value (not every path here writes it)",
    )


def test_the_frame_pointer_is_read_only(a: Assembler) -> None:
    refused(a, lambda a: a.mov(r10, 1), "r10 is the frame pointer and cannot be written")
    refused(a, lambda a: a.add(r10, -8), "r10 is the frame pointer and cannot be written")


def test_code_that_nothing_reaches_is_refused(a: Assembler) -> None:
    a.ret(0)
    unreached = "nothing leads here: the line before jumps away or exits, and there is no label"
    refused(a, lambda a: a.mov(r0, 1), unreached)
    a.label("unused")
    unreached_line = line() + 1
    a.mov(r0, 1)
    a.exit()
    with pytest.raises(AssembleError, match="nothing leads to this instruction") as caught:
        a.program()
    assert caught.value.where == (HERE, unreached_line)


# Labels


@given(st.lists(st.booleans(), max_size=300), st.booleans())
def test_distances_count_slots(kinds: List[bool], forward: bool) -> None:
    a = Assembler("test", ProgramType.TRACEPOINT)
    a.mov(r0, 0)
    if forward:
        a.jeq(r1, 0, "target")
    else:
        a.label("target")
    for wide in kinds:
        if wide:
            a.ld_imm64(r2, 1)
        else:
            a.mov(r2, 1)
    if forward:
        a.label("target")
    else:
        a.jeq(r1, 0, "target")
    a.exit()
    between = sum(2 if wide else 1 for wide in kinds)
    jump = next(i for i in a.program().instructions if i.goto)
    assert jump.off == (between if forward else -between - 1)


@pytest.mark.parametrize(("slots", "fits"), [(32767, True), (32768, False)])
def test_a_label_too_far_away_is_refused(a: Assembler, slots: int, fits: bool) -> None:
    a.mov(r0, 0)
    used = line() + 1
    a.jeq(r1, 0, "far")
    for _ in range(slots // 2):
        a.ld_imm64(r2, 1)
    if slots % 2:
        a.mov(r2, 1)
    a.label("far")
    a.exit()
    if fits:
        assert a.program().instructions[1].off == slots
        return
    with pytest.raises(AssembleError, match=f"the label far is {slots} slots away") as caught:
        a.program()
    assert caught.value.where == (HERE, used)


def test_an_unknown_label_is_blamed_on_the_jump(a: Assembler) -> None:
    used = line() + 1
    a.jeq(r1, 0, "nowhere")
    a.ret(0)
    with pytest.raises(AssembleError) as caught:
        a.program()
    assert str(caught.value) == f"{HERE}:{used}: there is no label nowhere"


def test_a_label_is_placed_once(a: Assembler) -> None:
    first = line() + 1
    a.label("here")
    refused(a, lambda a: a.label("here"), f"the label here is already at {HERE}:{first}")


def test_unique_labels_differ(a: Assembler) -> None:
    assert len({a.unique("skip") for _ in range(5)} | {a.unique("other")}) == 6


def test_a_program_does_not_run_off_its_end(a: Assembler) -> None:
    a.mov(r0, 0)
    refused(a, lambda a: a.program(), "the program runs off its end: it needs an exit")


# Functions


def test_functions_follow_the_program_and_are_called_by_distance(a: Assembler) -> None:
    a.slot("big", (U8, 512))
    a.ld_imm64(r1, 5)
    a.call_function("double")
    a.exit()
    a.function("double", args=1)
    a.stx(a.slot("x", U64), r1)
    a.mov(r0, r1)
    a.add(r0, r1)
    a.exit()
    program = a.program()
    assert program.functions == [(0, "test"), (4, "double")]
    assert program.instructions[1].encode().hex() == "8510000001000000"
    assert "double:\n   4: (7b) *(u64 *)(r10 -8) = r1\n" in dis(program.instructions)


def test_functions_are_not_jumped_into(a: Assembler) -> None:
    a.call_function("other")
    used = line() + 1
    a.jeq(r0, 0, "inside")
    a.exit()
    a.function("other")
    a.label("inside")
    a.ret(0)
    with pytest.raises(AssembleError) as caught:
        a.program()
    assert str(caught.value) == f"{HERE}:{used}: the label inside is in another function"


def test_a_function_has_no_registers_but_its_arguments(a: Assembler) -> None:
    a.mov(r6, 1)
    a.ret(0)
    a.function("callee", args=2)
    a.mov(r0, r2)
    refused(a, lambda a: a.mov(r0, r3), "r3 has no value (not every path here writes it)")
    refused(a, lambda a: a.mov(r0, r6), "r6 has no value (not every path here writes it)")
    refused(a, lambda a: a.function("next"), "the code before the function next runs into it: it needs an exit")


# The stack


def test_slots_are_aligned_and_kept_apart(a: Assembler) -> None:
    small, text, key = a.slot("small", U32), a.slot("text", (U8, 13)), a.slot("key", Key)
    assert [slot.offset for slot in (small, text, key)] == [-8, -24, -48]
    assert a.slot("small", U32) == small
    assert small.mem == r10.u32(-8)
    assert key[Key.inode] == r10[-48]
    assert key[Key.name[3]] == r10.u8(-48 + 8 + 3)
    assert text.at(8, 4) == r10.u32(-16)


def test_a_slot_keeps_its_type(a: Assembler) -> None:
    a.slot("x", U64)
    refused(a, lambda a: a.slot("x", U32), "the slot x is already u64")
    a.slot("y", (U8, 16))
    refused(a, lambda a: a.slot("y", Key), "the slot y is already u8[16]")


def test_the_stack_has_512_bytes(a: Assembler) -> None:
    a.slot("path", (U8, 500))
    a.slot("key", U64)
    refused(a, lambda a: a.slot("more", U32), "no room for the slot more of 4 bytes in 512, taken by path 500, key 8")


@given(st.integers(-600, 100), st.sampled_from([1, 2, 4, 8]))
@example(-512, 8)
@example(-8, 8)
@example(-4, 8)
def test_the_stack_is_accessed_aligned_and_in_bounds(offset: int, size: int) -> None:
    a = Assembler("test", ProgramType.TRACEPOINT)
    if offset >= -512 and offset + size <= 0 and offset % size == 0:
        a.st(Mem(r10, offset, size), 0)
    elif offset < -512 or offset + size > 0:
        refused(
            a,
            lambda a: a.st(Mem(r10, offset, size), 0),
            f"{size} bytes at r10{offset:+d} are not on the stack, r10-512 to r10",
        )
    else:
        refused(
            a,
            lambda a: a.st(Mem(r10, offset, size), 0),
            f"{size} bytes at r10{offset:+d}: the stack is accessed at multiples of the size",
        )


@pytest.mark.parametrize("size", [1, 2, 7, 8, 15, 31, 64])
def test_zero_clears_every_byte_once(a: Assembler, size: int) -> None:
    slot = a.slot("buffer", (U8, size))
    a.zero(slot)
    a.ret(0)
    stores = a.program().instructions[:-2]
    cleared = [i.off + byte for i in stores for byte in range({0x72: 1, 0x6A: 2, 0x62: 4, 0x7A: 8}[i.op])]
    assert cleared == list(range(slot.offset, slot.offset + size))
    assert {i.imm for i in stores} == {0}


# Operands


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda a: a.mov(r2, 1 << 31), "0x80000000 does not fit an immediate of 32 bits: use ld_imm64 and a register"),
        (
            lambda a: a.and_(r1, 0xFFFFFFFF),
            "0xffffffff does not fit an immediate of 32 bits: use ld_imm64 and a register",
        ),
        (
            lambda a: a.add32(r1, 0xFFFFFFFF),
            "0xffffffff does not fit an immediate of 32 bits: use ld_imm64 and a register",
        ),
        (
            lambda a: a.mov32(r1, 1 << 32),
            "0x100000000 does not fit an immediate of 32 bits: use ld_imm64 and a register",
        ),
        (
            lambda a: a.jsgt32(r1, 1 << 31, "x"),
            "0x80000000 does not fit an immediate of 32 bits: use ld_imm64 and a register",
        ),
        (lambda a: a.ld_imm64(r1, 1 << 64), "0x10000000000000000 does not fit 64 bits"),
        (lambda a: a.lsh(r1, 64), "a shift of 64 bits by 64"),
        (lambda a: a.rsh32(r1, 32), "a shift of 32 bits by 32"),
        (lambda a: a.arsh(r1, -1), "a shift of 64 bits by -1"),
        (lambda a: a.div(r1, 0), "a division by zero"),
        (lambda a: a.smod32(r1, 0), "a division by zero"),
        (lambda a: a.movsx(r1, r1, 64), "movsx extends 8, 16 or 32 bits, not 64"),
        (lambda a: a.movsx32(r1, r1, 32), "movsx32 extends 8 or 16 bits, not 32"),
        (lambda a: a.st(r1.u8(0), 256), "0x100 does not fit a store of 1 bytes: load a register first"),
        (lambda a: a.st(r1[0], 1 << 31), "0x80000000 does not fit a store of 8 bytes: load a register first"),
        (lambda a: a.ldx(r2, r1[1 << 15]), "8 bytes at r1+32768: the offset does not fit 16 bits"),
        (lambda a: a.ldx(r2, r1[Key.name]), "16 bytes at r1+8 are not one integer: choose a field or an element"),
        (lambda a: a.ldx(r2, a.slot("k", Key)), "24 bytes at r10-24 are not one integer: choose a field or an element"),
        (lambda a: a.xadd(r1.u8(0), r1), "1 bytes at r1+0: this instruction works on 4 or 8 bytes"),
        (lambda a: a.ldsx(r2, r1[0]), "8 bytes at r1+0: this instruction works on 1 or 2 or 4 bytes"),
        (lambda a: a.slot("k", Key).at(20, 8), "8 bytes at 20 are not in stack[k] of 24 bytes"),
        (lambda a: a.call("ktime_get_n"), "there is no helper ktime_get_n: ktime_get_ns?"),
        (lambda a: a.ld_map_value(r1, COUNTS, 4), "byte 4 is not in the value of counts, which has 4"),
        (lambda a: a.lookup(COUNTS, a.slot("x", U32)), "the key of counts has 8 bytes, not 4"),
        (lambda a: a.update(COUNTS, a.slot("k", U64), a.slot("v", U64)), "the value of counts has 4 bytes, not 8"),
        (lambda a: a.lookup(COUNTS, r1[0]), "8 bytes at r1+0: the macro sets r1 itself, keep the address in r5 to r9"),
        (lambda a: a.tail_call(r2, TAILS, 0), "the context in r2 would be overwritten: keep it in r6 to r9"),
        (lambda a: a.tail_call(r1, TAILS, r2), "the index in r2 would be overwritten: keep it elsewhere"),
    ],
)
def test_operands_that_do_not_fit_are_refused(a: Assembler, mistake: Mistake, message: str) -> None:
    refused(a, mistake, message)


def test_32_bit_immediates_may_be_written_unsigned(a: Assembler) -> None:
    a.mov32(r6, 0xFFFFFFFF)
    a.and32(r6, 0x80000000)
    a.st(r10.u32(-8), 0xFFFFFFFF)
    a.ld_imm64(r7, -1)
    a.ret(0)
    assert [i.encode().hex()[8:] for i in a.program().instructions[:3]] == ["ffffffff", "00000080", "ffffffff"]
    assert a.program().instructions[3].encode() == bytes.fromhex("18070000ffffffff00000000ffffffff")


# Macros


def test_macros_emit_what_they_say(a: Assembler) -> None:
    a.mov(r6, r1)
    key, value = a.slot("key", U64), a.slot("value", U32)
    a.stx(key, r6)
    a.zero(value)
    a.lookup(COUNTS, key, "look")
    a.update(COUNTS, key, value, 1)
    a.delete(COUNTS, key)
    a.tail_call(r6, TAILS, 3)
    a.ret(1)
    assert (
        dis(a.program().instructions)
        == """\
   0: (bf) r6 = r1
   1: (7b) *(u64 *)(r10 -8) = r6
   2: (62) *(u32 *)(r10 -16) = 0
   3: (bf) r2 = r10
   4: (07) r2 += -8
   5: (18) r1 = map[counts]
   7: (85) call bpf_map_lookup_elem#1       ; look
   8: (bf) r2 = r10
   9: (07) r2 += -8
  10: (bf) r3 = r10
  11: (07) r3 += -16
  12: (18) r1 = map[counts]
  14: (b7) r4 = 1
  15: (85) call bpf_map_update_elem#2
  16: (bf) r2 = r10
  17: (07) r2 += -8
  18: (18) r1 = map[counts]
  20: (85) call bpf_map_delete_elem#3
  21: (b7) r3 = 3
  22: (bf) r1 = r6
  23: (18) r2 = map[tails]
  25: (85) call bpf_tail_call#12
  26: (b7) r0 = 1
  27: (95) exit
"""
    )
