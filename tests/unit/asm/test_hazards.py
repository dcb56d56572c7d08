"""What some kernel gets wrong is refused where it is certain, and nothing else is."""

from __future__ import annotations

import pathlib
from typing import Any, Callable

import pytest

from asm import (
    U32,
    U64,
    AssembleError,
    Assembler,
    Layout,
    MapSpec,
    MapType,
    ProgramType,
    Register,
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
    r8,
    r9,
    r10,
)

HERE = "/".join(pathlib.Path(__file__).parts[-2:])


class Counters(Layout):
    calls = field(U64)
    low = field(U32)
    high = field(U32)
    bytes = field(U64)


COUNTERS = MapSpec("counters", MapType.HASH, U64, Counters, 16)
ONE = MapSpec("one", MapType.ARRAY, U32, Counters, 1)
INNER = MapSpec("inner", MapType.HASH, U64, U64, 16)
OUTER = MapSpec("outer", MapType.HASH_OF_MAPS, U64, U32, 4, inner=INNER)
TAILS = MapSpec("tails", MapType.PROG_ARRAY, U32, U32, 4)

Emit = Callable[[Assembler], Any]


@pytest.fixture
def a() -> Assembler:
    """r6 = the context, r7 = a value of a map, r8 = a number, r9 = something unknown; a key on the stack."""
    a = Assembler("test", ProgramType.TRACING)
    a.mov(r6, r1)
    a.call("ktime_get_ns")
    a.mov(r8, r0)
    key = a.slot("key", U64)
    a.stx(key, r8)
    a.lookup(COUNTERS, key)
    a.jne(r0, 0, "found")
    a.ret(0)
    a.label("found")
    a.mov(r7, r0)
    a.ldx(r9, r6[8])
    return a


def refused(a: Assembler, mistake: Emit, message: str) -> None:
    """Asserts that the mistake is refused with this message, on the line in this file that made it."""
    with pytest.raises(AssembleError) as caught:
        mistake(a)
    made = [entry.lineno + 1 for entry in caught.traceback if str(entry.path) == __file__][-1]
    assert str(caught.value) == f"{HERE}:{made}: {message}"


CRASHES = "on which verifiers before 4.20 crash: add the number to the address"


# Number += pointer: 0962590e5533


@pytest.mark.parametrize(
    ("pointer", "what"),
    [
        (r6, "the context"),
        (r7, "the address of a map's value"),
        (r10, "an address on the stack"),
    ],
    ids=repr,
)
def test_a_pointer_is_not_added_to_a_number(a: Assembler, pointer: Register, what: str) -> None:
    refused(a, lambda a: a.add(r8, pointer), f"this adds {what} to a number, {CRASHES}")
    a.mov(r2, 0)
    refused(a, lambda a: a.add(r2, pointer), f"this adds {what} to a number, {CRASHES}")
    a.add(r9, pointer)  # which may hold anything
    a.mov(r2, pointer)
    a.add(r2, r8)


def test_what_comes_of_a_pointer_is_a_pointer(a: Assembler) -> None:
    """An address that was moved, a copy, one that lay on the stack meanwhile, one given by an instruction."""
    a.addr(r2, r7[Counters.bytes])
    a.add(r2, r8)
    refused(a, lambda a: a.add(r8, r2), f"this adds an address in a map's value to a number, {CRASHES}")
    kept = a.slot("kept", U64)
    a.stx(kept, r7)
    a.call("ktime_get_ns")
    a.ldx(r3, kept)
    refused(a, lambda a: a.add(r0, r3), f"this adds the address of a map's value to a number, {CRASHES}")
    a.ld_map_value(r4, ONE, 8)
    refused(a, lambda a: a.add(r8, r4), f"this adds an address in a map's value to a number, {CRASHES}")
    a.ld_map(r5, ONE)
    refused(a, lambda a: a.add(r8, r5), f"this adds a map to a number, {CRASHES}")


@pytest.mark.parametrize(
    "number",
    [
        lambda a: a.ldx(r2, r7[Counters.calls]),
        lambda a: a.ld_imm64(r2, 1 << 40),
        lambda a: a.mov32(r2, r7),
        lambda a: (a.mov(r2, r8), a.mul(r2, r8), a.lsh(r2, 3)),
        lambda a: (a.mov(r2, r7), a.sub(r2, r10)),
        lambda a: (a.mov(r2, r9), a.and_(r2, 63), a.lsh(r2, 3)),
        lambda a: (a.mov(r2, r8), a.be64(r2)),
        lambda a: (a.mov(r2, r8), a.fetch_add(r7[Counters.calls], r2)),
        lambda a: (a.stx(a.slot("n", U64), r8), a.ldx(r2, a.slot("n", U64))),
        lambda a: (a.stx(a.slot("n", U64), r7), a.ldx(r2, a.slot("n", U64).at(0, 4))),
        lambda a: (a.call("get_smp_processor_id"), a.mov(r2, r0)),
    ],
)
def test_what_is_certainly_a_number(a: Assembler, number: Emit) -> None:
    number(a)
    with pytest.raises(AssembleError, match="to a number, on which verifiers before"):
        a.add(r2, r7)


@pytest.mark.parametrize(
    "unknown",
    [
        lambda a: a.ldx(r2, r6[0]),
        lambda a: a.ldx(r2, r9[0]),
        lambda a: (a.mov(r2, r9), a.add(r2, r8)),
        lambda a: (a.call("get_current_task_btf"), a.mov(r2, r0)),
        lambda a: (a.mov(r1, 0), a.call_kernel("some_function", 7), a.mov(r2, r0)),
        lambda a: a.ldx(r2, a.slot("never written", U64)),
    ],
)
def test_what_may_be_a_pointer_is_left_to_the_verifier(a: Assembler, unknown: Emit) -> None:
    unknown(a)
    a.add(r2, r7)


def test_the_context_holds_numbers_where_no_pointers_can_be() -> None:
    a = Assembler("raw", ProgramType.RAW_TRACEPOINT)
    a.ldx(r2, r1[0])
    refused(a, lambda a: a.add(r2, r10), f"this adds an address on the stack to a number, {CRASHES}")
    b = Assembler("filter", ProgramType.SOCKET_FILTER)
    b.ldx(r2, r1.u32(76))
    b.add(r2, r10)


def test_where_paths_meet_only_what_all_of_them_brought_is_known(a: Assembler) -> None:
    a.mov(r2, r8)
    a.mov(r3, r7)
    a.jeq(r9, 0, "both")
    a.mov(r2, 5)
    a.mov(r3, r10)
    a.label("both")
    a.add(r2, r3)  # a pointer each way, but not the same
    a.mov(r2, 1)
    a.jeq(r9, 1, "again")
    a.mov(r2, 2)
    a.label("again")
    refused(a, lambda a: a.add(r2, r7), f"this adds the address of a map's value to a number, {CRASHES}")


def test_behind_a_loop_nothing_is_taken_from_the_first_round(a: Assembler) -> None:
    """What is certain at the first round is wrong at the first round, whatever later rounds bring."""
    a.mov(r2, 0)
    a.ja("check")
    a.label("round")
    a.add(r2, r7)
    a.label("check")
    a.jlt(r2, 10, "round")


def test_a_lookup_that_found_nothing_gives_a_number(a: Assembler) -> None:
    a.lookup(COUNTERS, a.slot("key", U64))
    kept = a.slot("kept", U64)
    a.stx(kept, r0)
    a.mov(r2, r0)
    refused(a, lambda a: a.add(r0, 8), "this is arithmetic on the result of a lookup that is not compared with 0")
    a.jne(r2, 0, "there")
    a.add(r8, r0)
    a.add(r8, r2)
    a.ldx(r3, kept)
    a.add(r8, r3)
    a.ja("end")
    a.label("there")
    a.add(r0, 8)
    a.ldx(r3, kept)
    refused(a, lambda a: a.add(r8, r3), f"this adds the address of a map's value to a number, {CRASHES}")
    a.label("end")
    a.lookup(COUNTERS, a.slot("key", U64))
    a.jeq(r0, 0, "none")
    a.add(r0, 8)
    a.label("none")
    a.ret(0)
    assert a.program()


def test_helpers_may_write_to_the_stack(a: Assembler) -> None:
    """After a helper that writes to memory nobody knows what lies there, after others everybody does."""
    kept = a.slot("kept", U64)
    a.stx(kept, r7)
    a.lookup(COUNTERS, a.slot("key", U64))
    a.ldx(r2, kept)
    with pytest.raises(AssembleError, match="crash"):
        a.add(r8, r2)
    a.addr(r1, kept)
    a.mov(r2, 8)
    a.mov(r3, r8)
    a.call("probe_read")
    a.ldx(r2, kept)
    a.add(r8, r2)


@pytest.mark.parametrize(
    "write",
    [
        lambda a, kept: (a.addr(r2, kept), a.stx(r2[0], r8)),
        lambda a, kept: a.st(kept.at(4, 4), 0),
        lambda a, kept: a.xadd(kept, r8),
    ],
)
def test_writes_to_the_stack_are_noticed(a: Assembler, write: Callable[[Assembler, Any], Any]) -> None:
    kept = a.slot("kept", U64)
    a.stx(kept, r7)
    write(a, kept)
    a.ldx(r3, kept)
    a.add(r8, r3)


# Other arithmetic on pointers: 82abbf8d2fc4


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (
            lambda a: a.sub(r8, r7),
            "the second operand is the address of a map's value, the first a number: only two "
            "addresses can be subtracted",
        ),
        (
            lambda a: a.and_(r8, r10),
            "the second operand is an address on the stack, the first a number: only two addresses can be subtracted",
        ),
        (
            lambda a: a.add(r7, r10),
            "both hold an address, the address of a map's value and an address on the stack: "
            "they can only be subtracted",
        ),
        (
            lambda a: a.and_(r7, -8),
            "this is arithmetic on the address of a map's value other than adding to it and subtracting from it",
        ),
        (
            lambda a: a.lsh(r7, r8),
            "this is arithmetic on the address of a map's value other than adding to it and subtracting from it",
        ),
        (
            lambda a: (a.mov(r2, r10), a.sub(r2, 8)),
            "this subtracts from an address on the stack, which the verifier refuses: add the negative",
        ),
        (lambda a: (a.ld_map(r1, ONE), a.add(r1, 8)), "this is arithmetic on a map"),
    ],
)
def test_other_arithmetic_on_pointers_is_refused(a: Assembler, mistake: Emit, message: str) -> None:
    refused(a, mistake, message)


def test_arithmetic_that_all_verifiers_take(a: Assembler) -> None:
    a.sub(r7, 8)
    a.add(r7, r8)
    a.sub(r7, r8)
    a.mov(r2, r7)
    a.sub(r2, r7)
    a.and_(r2, 7)
    a.mov(r3, r10)
    a.add(r3, -8)
    a.add(r3, r8)
    a.and_(r9, r7)
    a.mul32(r7, 3)
    a.ret(0)
    assert a.program()


# Negative numbers of 32 bits: 95a762e2c8c9


MISTAKEN = "verifiers before 4.15 take it for the same number of 64 bits, so load it with mov or ld_imm64"


def test_a_negative_number_of_32_bits_is_not_compared(a: Assembler) -> None:
    a.mov32(r2, -1)
    a.mov(r3, r2)
    a.add(r3, 4)
    for register in (r2, r3):
        with pytest.raises(AssembleError, match=f"this compares a negative number of 32 bits: {MISTAKEN}"):
            a.jeq(register, -1, "out")
        a.jeq32(register, 0xFFFFFFFF, "out")
    a.mov(r4, r7)
    refused(
        a,
        lambda a: a.add(r4, r2),
        f"this adds a negative number of 32 bits to the address of a map's value: {MISTAKEN}",
    )
    a.add(r2, r8)
    a.jeq(r2, 0, "out")
    a.mov32(r2, -1)
    a.add32(r2, 1)
    a.jeq(r2, 0, "out")
    a.mov32(r2, 1)
    a.jeq(r2, 1, "out")


# Stores: f37a8cb84cce, ca36960211eb


def test_the_context_takes_registers_alone(a: Assembler) -> None:
    message = "only a register can be stored in the context, not an immediate or what an atomic makes"
    refused(a, lambda a: a.st(r6.u32(8), 1), message)
    refused(a, lambda a: a.xadd(r6[8], r8), message)
    a.stx(r6.u32(8), r8)
    a.st(r9.u32(8), 1)
    a.st(r7[Counters.low], 1)


def test_atomics_are_aligned(a: Assembler) -> None:
    refused(
        a, lambda a: a.xadd(r7.u64(4), r8), "an atomic operation at byte 4 of a value is not aligned to its 8 bytes"
    )
    refused(
        a, lambda a: a.xadd(r7.u32(6), r8), "an atomic operation at byte 6 of a value is not aligned to its 4 bytes"
    )
    a.xadd(r7[Counters.high], r8)
    a.stx(r7.u64(4), r8)
    a.add(r7, 4)
    a.xadd(r7.u64(4), r8)


# Helpers: 58990d1ff3f7


def test_helpers_are_given_the_context_itself(a: Assembler) -> None:
    a.mov(r1, r6)
    a.add(r1, 8)
    a.ld_map(r2, TAILS)
    a.mov(r3, 0)
    message = "r1 is an address in the context, where a helper wants the context itself"
    refused(a, lambda a: a.call("tail_call"), message)
    a.tail_call(r6, TAILS, 0)
    a.mov(r3, r6)
    a.add(r3, 16)
    a.addr(r1, a.slot("copy", U64))
    a.mov(r2, 8)
    a.call("probe_read", "which takes any number for an address to read from")


def test_maps_of_maps_give_maps(a: Assembler) -> None:
    a.lookup(OUTER, a.slot("key", U64))
    a.jeq(r0, 0, "out")
    refused(a, lambda a: a.add(r0, 8), "this is arithmetic on a map")


def test_what_is_refused_is_not_emitted(a: Assembler) -> None:
    for mistake, operands in ((a.add, (r8, r7)), (a.st, (r6[0], 1)), (a.xadd, (r7.u64(4), r8))):
        with pytest.raises(AssembleError):
            mistake(*operands)
    a.ret(0)
    assert dis(a.program().instructions).splitlines()[-3].startswith("  13: (79) r9 = *(u64 *)(r6 +8)")
