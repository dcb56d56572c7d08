"""Programs made to try the verifier: what it has been told of each on a real 4.14 is in golden/processed.txt."""

from __future__ import annotations

from typing import Callable, Dict, List

from asm import (
    U64,
    Assembler,
    Layout,
    MapSpec,
    MapType,
    ProgramSpec,
    ProgramType,
    Register,
    field,
    r0,
    r1,
    r2,
    r3,
    r4,
    r6,
    r7,
    r8,
    r9,
    r10,
)


class Record(Layout):
    """A value of eight words."""

    words = field(U64, 8)


_TABLE = MapSpec("table", MapType.HASH, U64, Record, 16)


def _begin(name: str) -> Assembler:
    """A program with r6 and r7 set to numbers that nobody knows."""
    a = Assembler(name, ProgramType.TRACEPOINT)
    a.call("ktime_get_ns")
    a.mov(r6, r0)
    a.call("get_current_pid_tgid")
    a.mov(r7, r0)
    return a


def _finish(a: Assembler) -> ProgramSpec:
    a.ret(0)
    return a.program()


def _diamonds(a: Assembler, count: int, side: Callable[[int], None]) -> None:
    """One after the other, `count` jumps past what `side` emits."""
    for number in range(count):
        a.jeq(r6, 100 + number, f"past_{number}")
        side(number)
        a.label(f"past_{number}")


def stack_apart() -> ProgramSpec:
    """Ways differ in the bytes of the stack that they have written: all of them are followed."""
    a = _begin("stack_apart")
    _diamonds(a, 8, lambda number: a.st(r10.u64(-8 * number - 8), 0))
    return _finish(a)


def stack_too_far_apart() -> ProgramSpec:
    """The same until it is too much."""
    a = _begin("stack_far")
    _diamonds(a, 9, lambda number: a.st(r10.u64(-8 * number - 8), 0))
    for _ in range(300):
        a.add(r7, 1)
    return _finish(a)


def stack_filled() -> ProgramSpec:
    """The same when all of them were written before: no way is new."""
    a = _begin("stack_filled")
    for number in range(18):
        a.st(r10.u64(-8 * number - 8), 0)
    _diamonds(a, 18, lambda number: a.st(r10.u64(-8 * number - 8), 0))
    return _finish(a)


def bytes_apart() -> ProgramSpec:
    """Ways differ in single bytes of a word."""
    a = _begin("bytes_apart")
    _diamonds(a, 8, lambda number: a.st(r10.u8(-1 - number), 0))
    return _finish(a)


def numbers_unread() -> ProgramSpec:
    """Ways differ in a register that nobody reads."""
    a = _begin("unread")
    _diamonds(a, 12, lambda number: a.mov(r8, number))
    return _finish(a)


def numbers_read() -> ProgramSpec:
    """Ways differ in registers whose numbers are compared in the end."""
    a = _begin("read")
    for register in (r8, r9):
        a.mov(register, 0)
    _diamonds(a, 6, lambda number: a.mov(r8 if number % 2 else r9, number))
    a.jgt(r8, 4, "out")
    a.jlt(r9, r8, "out")
    a.mov(r2, 1)
    a.label("out")
    return _finish(a)


def joined_by_jumps() -> ProgramSpec:
    """Nothing is compared where a way arrives by an unconditional jump."""
    a = _begin("joined")
    a.mov(r8, 0)
    for number in range(12, 0, -1):
        a.jgt(r6, 12 - number, f"not_{number}")
        a.ja(f"from_{number}")
        a.label(f"not_{number}")
    for number in range(12, 0, -1):
        a.label(f"from_{number}")
        for _ in range(10):
            a.add(r8, r7)
    return _finish(a)


def records() -> ProgramSpec:
    """Values of a map that may be missing, by themselves, copied, and kept on the stack."""
    a = _begin("records")
    key, kept = a.slot("key", U64), a.slot("kept", U64)
    for number in range(4):
        a.stx(key, r7)
        a.lookup(_TABLE, key)
        a.mov(r8, r0)
        a.stx(kept, r0)
        a.jne(r0, 0, f"found_{number}")
        a.ja(f"next_{number}")
        a.label(f"found_{number}")
        a.mov(r1, 1)
        a.xadd(r8.u64(8 * number), r1)
        a.ldx(r2, kept)
        a.ldx(r6, r2.u64(8))
        a.label(f"next_{number}")
    return _finish(a)


def within_a_record() -> ProgramSpec:
    """Addresses in a value of a map whose distance from its beginning is bounded by comparisons."""
    a = _begin("within")
    key = a.slot("key", U64)
    a.stx(key, r7)
    a.lookup(_TABLE, key)
    a.jeq(r0, 0, "out")
    a.mov(r9, r0)
    for number in range(5):
        a.mov(r1, r6)
        a.rsh(r1, 8 * number)
        a.and_(r1, 0xFF)
        a.jgt(r1, 6 - number % 2, f"small_{number}")
        a.lsh(r1, 3)
        a.mov(r2, r9)
        a.add(r2, r1)
        a.ldx(r3, r2.u64(0))
        a.jslt(r3, 0, f"small_{number}")
        a.add(r6, r3)
        a.label(f"small_{number}")
    a.label("out")
    return _finish(a)


def texts() -> ProgramSpec:
    """Stack that helpers fill, in some of the ways, and partly."""
    a = _begin("texts")
    text, word = a.slot("text", (U64, 4)), a.slot("word", U64)
    for number in range(5):
        a.jeq(r6, number, f"past_{number}")
        a.addr(r1, text)
        a.mov(r2, 8 + 5 * number)
        a.mov(r3, r7)
        a.call("probe_read")
        a.jne(r0, 0, f"past_{number}")
        a.stx(word, r6)
        a.ldx(r7, word)
        a.label(f"past_{number}")
    return _finish(a)


_REGISTERS = (r1, r2, r3, r4, r6, r7, r8, r9)


def at_random(seed: int) -> ProgramSpec:
    """Arithmetic on numbers, comparisons and stack, drawn by `seed`."""
    a = _begin(f"random_{seed}")
    state = [seed * 2654435761 + 12345]

    def draw(limit: int) -> int:
        state[0] = (state[0] * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        return (state[0] >> 33) % limit

    def register() -> Register:
        return _REGISTERS[draw(len(_REGISTERS))]

    for number in (r1, r2, r3, r4, r8, r9):
        a.mov(number, r6 if draw(2) else draw(300) - 20)
    labels: List[str] = []
    for step in range(60):
        dst, src = register(), register() if draw(3) else draw(64)
        operation = draw(22)
        if operation < 9:
            name = ("add", "sub", "mul", "and_", "or_", "add", "and_", "mov", "xor")[operation]
            getattr(a, name)(dst, src)
        elif operation < 12:
            getattr(a, ("lsh", "rsh", "arsh")[operation - 9])(dst, draw(40))
        elif operation == 12:
            getattr(a, ("add32", "and32", "mov32", "rsh32")[draw(4)])(dst, draw(30))
        elif operation < 15:
            a.stx(r10.u64(-8 * draw(4) - 8), dst)
        elif operation == 15:
            a.st(r10.u64(-40), draw(100))
            a.ldx(dst, r10.u32(-40))
        elif len(labels) < 14:
            label = f"label_{step}"
            jump = ("jeq", "jne", "jgt", "jge", "jlt", "jle", "jsgt", "jsge", "jslt", "jsle", "jset")[draw(11)]
            getattr(a, jump)(dst, src, label)
            labels.append(label)
        if labels and draw(5) == 0:
            a.label(labels.pop(draw(len(labels))))
    for label in labels:
        a.label(label)
    for number in _REGISTERS[4:]:
        a.jsgt(number, draw(100), "out")
    a.label("out")
    return _finish(a)


_MADE = (
    *(stack_apart, stack_too_far_apart, stack_filled, bytes_apart, numbers_unread, numbers_read, joined_by_jumps),
    *(records, within_a_record, texts),
)
SAMPLES: Dict[str, ProgramSpec] = {
    program.name: program for program in (*(make() for make in _MADE), *(at_random(seed) for seed in range(30)))
}
