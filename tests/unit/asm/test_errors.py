"""The line that is remembered of each instruction: that of the innermost caller outside the assembler."""

from __future__ import annotations

import contextlib
from typing import Iterator

import pytest

from asm import U32, U64, Assembler, Layout, MapSpec, MapType, ProgramType, field, isa, r0, r1, r2, r6, r10, unchecked
from asm.instruction import Instruction


class Key(Layout):
    inode = field(U64)


COUNTS = MapSpec("counts", MapType.ARRAY, U32, U64, 1)


def one_on_each_line(a: Assembler) -> None:
    """What adds one instruction for each of its lines, of every way that leads to one."""
    a.mov(r6, r1)
    a.mov(r0, 1)
    a.mov32(r2, 2)
    a.neg(r2)
    a.be16(r2)
    a.add(r2, r0)
    a.stx(r10.u64(-8), r2)
    a.st(r10.u64(-16), 0)
    a.ldx(r2, r10.u64(-8))
    a.xadd(r10.u64(-8), r2)
    a.fetch_add(r10.u64(-8), r2)
    a.emit(Instruction(isa.ALU64 | isa.MOV, 2, imm=7), writes=r2)
    a.ld_imm64(r2, 1 << 40)
    a.ld_map(r2, COUNTS)
    a.ld_map_value(r2, COUNTS)
    a.ld_function(r2, "function")
    a.call("get_current_task")
    a.call_kernel("bpf_get_something", 5)
    a.jeq(r0, 1, "end")
    a.jne32(r0, r6, "end")
    a.ja("end")


def several_on_one(a: Assembler) -> None:
    a.label("end"); a.ret(0); a.function("function"); a.zero(a.slot("key", Key)); a.ret(1)  # fmt: skip # noqa: E702


@pytest.fixture(params=[True, False], ids=["checked", "unchecked"])
def a(request: pytest.FixtureRequest) -> Iterator[Assembler]:
    with contextlib.ExitStack() as stack:
        if not request.param:
            stack.enter_context(unchecked())
        yield Assembler("test", ProgramType.KPROBE, "GPL")


def test_each_instruction_has_the_line_of_whoever_called_the_assembler(a: Assembler) -> None:
    """A function outside that calls it, too, as a macro is; not the line that calls that function."""
    one_on_each_line(a)
    several_on_one(a)
    found = [instruction.where for instruction in a.program().instructions]
    after = several_on_one.__code__.co_firstlineno
    lines = range(one_on_each_line.__code__.co_firstlineno + 2, after - 2)
    assert found[: len(lines)] == [("asm/test_errors.py", line) for line in lines]
    assert found[len(lines) :] == 5 * [("asm/test_errors.py", after + 1)]
