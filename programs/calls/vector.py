"""Vectored reads and writes: how many bytes an iovec asks for.

The iovec is read at the entry, where the kernel reads it too: a read may overwrite it, and so may another thread. Where
its pages are not in memory yet, and a program cannot fetch them, it is read at the exit.

One copy of the whole, its end rounded up to a chunk with zeros, then chunk by chunk: in a loop where there is one
(bpf_loop, 5.17), else by a jump into an unrolled sum, as 4.14 needs it.
"""

from __future__ import annotations

from typing import Optional

from asm import U32, U64, Mem, ProgramSpec, r0, r1, r2, r3, r4
from programs.calls.transfer import account_transfer, common_arguments
from programs.facts.catalogue import Kind, Position
from programs.facts.jumps import Jump
from programs.facts.kernel import Kernel, Options
from programs.facts.maps import Maps
from programs.facts.records import IOVEC_BYTES, IOVEC_CHUNK, IOVECS, SIZE_BUCKETS, Call, Lost, Scratch, Signature
from programs.files.identify import SCRATCH_ENTER, SCRATCH_EXIT
from programs.way.body import Body
from programs.way.enter import note_shared
from programs.way.exit import begin_exit
from programs.way.registers import CALL, CHUNK, CTX, FILE, RESULT, SCRATCH, TOTAL
from programs.way.threads import begin_part

LENGTH_AT = 8  # offsetof(struct iovec, iov_len)
CHUNK_BYTES = IOVEC_CHUNK * IOVEC_BYTES
MEASURED, UNREADABLE = 1, 2  # Call.measured; 0: not yet


def enter_vector(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """The rest of the entry of readv and its relatives: Call.requested, and Call.measured if the iovec was there."""
    b = begin_part("enter_vector", kernel, options, maps)
    a = b.a
    sum_iovec(b, scratch=SCRATCH_ENTER, unreadable="unmeasured")
    a.st(CALL[Call.measured], MEASURED)
    a.label("unmeasured")
    b.signature(r1, Signature.position, CALL[Call.call])
    a.jeq(r1, Position.EXPLICIT, "out")
    a.call("get_current_task")
    a.stx(a.slot("task", U64), r0)
    a.ldx(FILE, CALL[Call.file])
    note_shared(b, "out")
    a.label("out")
    a.ret(0)
    return b.program()


def exit_vector(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """The exit of readv and its relatives: accounts like a plain read or write, once the iovec is summed."""
    b = begin_exit("exit_vector", kernel, options, maps, over=False)
    a = b.a
    a.ldx(r1, CALL[Call.measured])
    a.jne(r1, 0, "looked_at")
    a.tail_call(CTX, maps.jumps, Jump.EXIT_IOVEC)
    a.label("looked_at")
    a.st(CALL[Call.call], 0)
    common_arguments(b)
    a.ldx(r1, CALL[Call.measured])
    a.jeq(r1, MEASURED, "measured")
    a.st(CALL[Call.unmeasured], 1)
    a.label("measured")
    account_transfer(b, after=0, descriptor=0)
    a.label("out")
    a.ret(0)
    return b.program()


def exit_iovec(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """Sums an iovec that was not in memory at the entry, then goes back to the exit.

    It may have been overwritten since. That is certain if it asks for less than was transferred, and is assumed if it
    asks for more than the kernel transfers at once (MAX_RW_COUNT): then nobody knows what was asked for.
    """
    b = begin_exit("exit_iovec", kernel, options, maps, over=False)
    a = b.a
    a.st(CALL[Call.measured], MEASURED)
    a.ldx(r1, CALL[Call.file])
    a.jeq(r1, 0, "back", "no file to count it for")
    sum_iovec(b, unreadable="unreadable")
    a.jsle(RESULT, 0, "back")
    a.ldx(r1, CALL[Call.requested])
    a.jlt(r1, RESULT, "unreadable")
    a.rsh(r1, SIZE_BUCKETS - 2)
    a.jeq(r1, 0, "back")
    a.label("unreadable")
    b.lost(Lost.iovecs)
    a.st(CALL[Call.measured], UNREADABLE)
    a.label("back")
    a.tail_call(CTX, maps.jumps, Kind.VECTOR)
    a.label("out")
    a.ret(0)
    return b.program()


def sum_iovec(
    b: Body,
    pointer: Optional[Mem] = None,
    entries: Optional[Mem] = None,
    scratch: int = SCRATCH_EXIT,
    unreadable: str = "",
) -> None:
    """Call.requested = the sum of iov_len over the iovec: the second and third argument unless others are given.

    If it cannot be read there is a jump to `unreadable`, or else it is counted as lost and Call.unmeasured is set.
    Jumps to "out" if there is no work space `scratch`. Destroys SCRATCH.
    """
    a = b.a
    pointer = pointer or b.argument(1)
    entries = entries or b.argument(2)
    zero, end = a.slot("zero", U32), "summed"
    a.st(CALL[Call.requested], 0)
    a.st(zero, scratch)
    a.lookup(b.maps.scratch, zero)
    a.jeq(r0, 0, "out")
    a.mov(SCRATCH, r0)
    a.ldx(r2, entries)
    a.jlt(r2, 1, end, "an empty iovec")
    a.jle(r2, IOVECS, "count")
    a.mov(r2, IOVECS)
    a.label("count")
    a.addr(r1, SCRATCH[Scratch.data])
    a.ldx(r3, pointer)
    a.lsh(r2, IOVEC_BYTES.bit_length() - 1)
    a.mov(r4, r1)
    a.add(r4, r2, "never the other way round: adding a pointer to a scalar crashes 4.14's verifier")
    for entry in range(IOVEC_CHUNK - 1):
        a.st(r4.u64(entry * IOVEC_BYTES + LENGTH_AT), 0)
    a.call("probe_read", "the iovec")
    if unreadable:
        a.jne(r0, 0, unreadable)
    else:
        a.jeq(r0, 0, "iovec_read")
        leave_unmeasured(b)
        a.ja(end)
        a.label("iovec_read")
    a.ldx(r2, entries)
    if b.kernel.loops:
        _sum_in_loop(b, scratch)
    else:
        _sum_unrolled(b)
    a.stx(CALL[Call.requested], r1)
    a.label(end)


def leave_unmeasured(b: Body) -> None:
    """Counts an iovec that could not be read: nobody knows how much was asked for."""
    b.lost(Lost.iovecs)
    b.a.st(CALL[Call.unmeasured], 1)
    b.a.st(CALL[Call.requested], 0)


def _sum_in_loop(b: Body, scratch: int) -> None:
    """r1 = the sum over the r2 entries in the work space at SCRATCH: mostly there is one chunk and no loop."""
    a, total, one, done = b.a, b.a.slot("total", U64), b.a.unique("one_chunk"), b.a.unique("all_chunks")
    few = b.a.unique("all_copied")
    a.mov(r1, 0, "the sum")
    a.jle(r2, IOVEC_CHUNK, one)
    a.stx(total, r1)
    a.jle(r2, IOVECS, few)
    a.mov(r2, IOVECS)
    a.label(few)
    a.add(r2, IOVEC_CHUNK - 1)
    a.rsh(r2, IOVEC_CHUNK.bit_length() - 1)
    a.mov(r1, r2)
    b.loop(r1, "chunk", lambda: _chunk(b, scratch), total)
    a.ldx(r1, total)
    a.ja(done)
    a.label(one)
    _add_chunk(b, SCRATCH[Scratch.data])
    a.label(done)


def _chunk(b: Body, scratch: int) -> None:
    """Adds the lengths of chunk r1 to the total that r2 points to."""
    a, which = b.a, b.a.slot("which", U32)
    a.mov(TOTAL, r2)
    a.mov(CHUNK, r1)
    a.st(which, scratch)
    a.lookup(b.maps.scratch, which)
    a.jeq(r0, 0, "no_chunk")
    a.and_(CHUNK, IOVECS // IOVEC_CHUNK - 1, "which the verifier cannot see by itself")
    a.lsh(CHUNK, CHUNK_BYTES.bit_length() - 1)
    a.add(r0, CHUNK)
    a.ldx(r1, TOTAL.u64(0))
    _add_chunk(b, r0[Scratch.data])
    a.stx(TOTAL.u64(0), r1)
    a.label("no_chunk")
    a.ret(0)


def _add_chunk(b: Body, chunk: Mem) -> None:
    """Adds the lengths of a chunk of entries, the first in `chunk`, to r1. Clobbers r3."""
    for entry in range(IOVEC_CHUNK):
        b.a.ldx(r3, chunk.at(entry * IOVEC_BYTES + LENGTH_AT))
        b.a.add(r1, r3)


def _sum_unrolled(b: Body) -> None:
    """The same as straight code."""
    b.a.ldx(r1, CALL[Call.requested], "0, which the verifier must not know: a sum that goes on holds anything")
    _chunk_jump(b, 1, IOVECS // IOVEC_CHUNK)
    for chunk in range(IOVECS // IOVEC_CHUNK, 0, -1):
        b.a.label(f"chunk_{chunk}")
        _add_chunk(b, SCRATCH[Scratch.data].at((chunk - 1) * CHUNK_BYTES, CHUNK_BYTES))


def _chunk_jump(b: Body, low: int, high: int) -> None:
    """Jumps to the chunk, one of `low` to `high`, that holds entry number r2, counted from 1.

    To every other chunk by a conditional jump: the verifier compares what it knows at the targets of those alone, and
    would follow the sum to its end from each of the chunks.
    """
    middle = (low + high) // 2
    if high - low == 1:
        b.a.jle(r2, middle * IOVEC_CHUNK, f"chunk_{low}")
        b.a.ja(f"chunk_{high}")
        return
    upper = b.a.unique("chunks_above")
    b.a.jgt(r2, middle * IOVEC_CHUNK, upper)
    _chunk_jump(b, low, middle)
    b.a.label(upper)
    _chunk_jump(b, middle + 1, high)
