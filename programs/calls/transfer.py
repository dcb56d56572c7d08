"""Data calls: what a read or a write adds to its file, and where in the file it went.

The system calls that transfer data differ in where their arguments are; a *prologue* puts those into the Call record
(file, op, direction, requested, explicit, offset, moved), and one body, ``account``, does the rest.
"""

from __future__ import annotations

from typing import Optional

from asm import U32, U64, Field, Mem, ProgramSpec, Register, r0, r1, r2, r3, r4, r7, r8
from programs.counting import counters
from programs.facts.catalogue import OPERATIONS, READ, WRITE, Kind, Position
from programs.facts.kernel import O_APPEND, RWF_APPEND, RWF_DSYNC, RWF_SYNC, Kernel, Options
from programs.facts.maps import Maps
from programs.facts.records import (
    IOVEC_BYTES,
    IOVEC_CHUNK,
    IOVECS,
    Call,
    Lost,
    OpenFile,
    Scratch,
)
from programs.files.identify import SCRATCH_EXIT, find_open, identify, send_name
from programs.way.body import Body, begin
from programs.way.entry import begin_exit, find_call, load_result, only_marked_stacks, spare_name
from programs.way.registers import CALL, CHUNK, CTX, TOTAL

LAST_READ = max(o.code for o in OPERATIONS if o.direction == READ)


def exit_main(kernel: Kernel, options: Options, maps: Maps, copy: int = 0) -> ProgramSpec:
    """The exit of every system call: accounts for plain reads and writes, hands the others on by kind.

    A call that it has accounted for is no longer noted, so that a spare finds nothing to do.
    """
    b = begin(spare_name("exit", copy), kernel, options, maps)
    a = b.a
    if options.attach == "raw":
        only_marked_stacks(b)
        _only_ours(b)
    find_call(b, "out")
    a.ldx(r7, CALL[Call.call])
    a.jeq(r7, 0, "out", "its entry was not seen, or is not traced")
    a.mov(r1, r7)
    a.and_(r1, 0xFF, "kind")
    a.jeq(r1, Kind.SCALAR, "scalar")
    a.jne(r1, Kind.AIO_SUBMIT, "other")
    load_result(b)
    a.ldx(r1, CALL[Call.next])
    a.jeq(r1, r8, "over", "all that it brought was noted, and is accepted")
    a.mov(r1, Kind.AIO_SUBMIT)
    a.label("other")
    a.tail_call(CTX, maps.jumps, r1)
    a.ja("out")
    a.label("over")
    a.st(CALL[Call.call], 0)
    a.ret(0)
    a.label("scalar")
    a.st(CALL[Call.call], 0)
    load_result(b)
    _common_arguments(b)
    a.ldx(r1, b.argument(2))
    a.stx(CALL[Call.requested], r1)
    account_transfer(b, after=0)
    a.label("out")
    a.ret(0)
    return b.program()


def _only_ours(b: Body) -> None:
    """Turns the exits of other system calls away by their number, where reading it costs next to nothing."""
    a, number, at = b.a, b.a.slot("number", U32), b.kernel.registers.number
    if at < 0 or not b.typed("pt_regs"):
        return
    a.ldx(r3, CTX[0], "pt_regs")
    b.cast(r3, "pt_regs")
    a.ldx(r1, r0.u64(at))
    a.stx(number, r1)
    a.lookup(b.maps.syscalls, number)
    a.jeq(r0, 0, "out")
    a.ldx(r1, r0.u64(0))
    a.jeq(r1, 0, "out")


def exit_vector(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """The exit of readv and its relatives: sums the iovec, then accounts like ``exit_main``."""
    b = begin_exit("exit_vector", kernel, options, maps)
    a = b.a
    _common_arguments(b)
    sum_iovec(b)
    account_transfer(b, after=0)
    a.label("out")
    a.ret(0)
    return b.program()


def _common_arguments(b: Body) -> None:
    """From the descriptor in r7 and the arguments: op, direction, explicit, offset, rw_flags."""
    a = b.a
    current, decided = a.unique("current"), a.unique("decided")
    set_operation(b, 16)
    a.st(CALL[Call.rw_flags], 0)
    a.st(CALL[Call.unmeasured], 0)
    a.st(CALL[Call.explicit], 0)
    a.mov(r1, r7)
    a.rsh(r1, 8)
    a.and_(r1, 0xFF, "position")
    a.jeq(r1, Position.CURRENT, decided)
    a.ldx(r2, b.argument(3))
    a.stx(CALL[Call.offset], r2)
    a.jeq(r1, Position.EXPLICIT, current)
    a.ldx(r3, b.argument(5))
    a.and_(r3, RWF_DSYNC | RWF_SYNC | RWF_APPEND)
    a.stx(CALL[Call.rw_flags], r3)
    a.jeq(r2, -1, decided, "preadv2, pwritev2: -1 means the file position")
    a.label(current)
    a.st(CALL[Call.explicit], 1)
    a.label(decided)


def set_operation(b: Body, shift: int) -> None:
    """Call.op and Call.direction from the byte at ``shift`` of the call's descriptor in r7."""
    a, read = b.a, b.a.unique("reads")
    a.mov(r1, r7)
    a.rsh(r1, shift)
    a.and_(r1, 0xFF, "operation")
    a.stx(CALL[Call.op], r1)
    a.st(CALL[Call.direction], READ)
    a.jle(r1, LAST_READ, read)
    a.st(CALL[Call.direction], WRITE)
    a.label(read)


def sum_iovec(
    b: Body, pointer: Optional[Mem] = None, entries: Optional[Mem] = None, scratch: int = SCRATCH_EXIT
) -> None:
    """Call.requested = the sum of iov_len over the iovec: the second and third argument unless others are given.

    Read at exit: the kernel has read it by then, so its pages are present.  One copy of the whole, its end rounded up
    to a chunk with zeros, then chunk by chunk: in a loop where there is one, else by a jump into an unrolled sum.
    """
    a = b.a
    pointer = pointer or b.argument(1)
    entries = entries or b.argument(2)
    zero, end = a.slot("zero", U32), "summed"
    data = Scratch.data.offset
    a.st(CALL[Call.requested], 0)
    a.st(zero, scratch)
    a.lookup(b.maps.scratch, zero)
    a.jeq(r0, 0, "out")
    a.mov(r7, r0)
    a.ldx(r2, entries)
    a.jlt(r2, 1, end, "an empty iovec")
    a.jle(r2, IOVECS, "count")
    a.mov(r2, IOVECS)
    a.label("count")
    a.mov(r1, r7)
    a.add(r1, data)
    a.ldx(r3, pointer)
    a.lsh(r2, IOVEC_BYTES.bit_length() - 1)
    a.mov(r4, r2)
    a.add(r4, r1)
    for entry in range(IOVEC_CHUNK - 1):
        a.st(r4.u64(entry * IOVEC_BYTES + 8), 0)
    a.call("probe_read", "the iovec")
    a.jeq(r0, 0, "iovec_read")
    b.lost(Lost.iovecs)
    a.st(CALL[Call.unmeasured], 1)
    a.ja(end)
    a.label("iovec_read")
    a.ldx(r2, entries)
    if b.kernel.loops:
        _sum_in_loop(b, scratch)
    else:
        _sum_unrolled(b)
    a.stx(CALL[Call.requested], r1)
    a.label(end)


def _sum_in_loop(b: Body, scratch: int) -> None:
    """r1 = the sum over the r2 entries in the work space that r7 points to: mostly there is one chunk and no loop."""
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
    _add_chunk(b, r7, Scratch.data.offset)
    a.label(done)


def _chunk(b: Body, scratch: int) -> None:
    """Adds the lengths of chunk r1 to the total that r2 points to."""
    a, which = b.a, b.a.slot("which", U32)
    a.mov(TOTAL, r2)
    a.mov(CHUNK, r1)
    a.st(which, scratch)
    a.lookup(b.maps.scratch, which)
    a.jeq(r0, 0, "no_chunk")
    a.and_(r7, IOVECS // IOVEC_CHUNK - 1, "which the verifier cannot see by itself")
    a.lsh(r7, (IOVEC_CHUNK * IOVEC_BYTES).bit_length() - 1)
    a.add(r7, r0)
    a.ldx(r1, TOTAL.u64(0))
    _add_chunk(b, r7, Scratch.data.offset)
    a.stx(TOTAL.u64(0), r1)
    a.label("no_chunk")
    a.ret(0)


def _add_chunk(b: Body, base: Register, offset: int) -> None:
    """Adds the lengths of a chunk of entries at ``base + offset`` to r1.  Clobbers r3."""
    for entry in range(IOVEC_CHUNK):
        b.a.ldx(r3, base.u64(offset + entry * IOVEC_BYTES + 8))
        b.a.add(r1, r3)


def _sum_unrolled(b: Body) -> None:
    """The same as straight code, as 4.14 needs it."""
    b.a.mov(r1, 0, "the sum")
    _chunk_jump(b, 1, IOVECS // IOVEC_CHUNK)
    for chunk in range(IOVECS // IOVEC_CHUNK, 0, -1):
        b.a.label(f"chunk_{chunk}")
        _add_chunk(b, r7, Scratch.data.offset + (chunk - 1) * IOVEC_CHUNK * IOVEC_BYTES)


def _chunk_jump(b: Body, low: int, high: int) -> None:
    """Jumps to the chunk that entry number r2 (counted from 1) lies in, which is one of ``low`` to ``high``."""
    if low == high:
        b.a.ja(f"chunk_{low}")
        return
    middle = (low + high) // 2
    upper = b.a.unique("chunks_above")
    b.a.jgt(r2, middle * IOVEC_CHUNK, upper)
    _chunk_jump(b, low, middle)
    b.a.label(upper)
    _chunk_jump(b, middle + 1, high)


# -- the body ------------------------------------------------------------------------------------------------------


def account_transfer(b: Body, *, after: int, file: Field = Call.file) -> None:
    """Accounts for the transfer that the Call record describes; r8 holds its result.  Ends the program.

    ``file`` is the field of the Call record that holds the ``struct file *``, ``after`` the program to go on with.
    """
    a = b.a
    _set_moved(b)
    a.ldx(r1, CALL[file])
    a.jeq(r1, 0, "no_file")
    a.stx(CALL[Call.result], r8)
    a.mov(r8, r1)
    a.st(CALL[Call.walk], 0)
    find_open(b, "found", "slow")
    a.label("slow")
    identify(b, scratch=SCRATCH_EXIT, skip="next")
    a.label("found")
    _read_position(b)
    a.ldx(r8, CALL[Call.result])
    a.call("ktime_get_ns")
    a.stx(CALL[Call.now], r0)
    a.st(CALL[Call.broken], 0)
    a.jsle(r8, 0, "placed", "nothing was transferred")
    _place(b)
    a.label("placed")
    _leave_flight(b)
    a.ldx(r1, r7[OpenFile.id])
    a.stx(CALL[Call.id], r1)
    counters.transfer_result(b, "full")
    a.ja("name")
    a.label("full")
    b.lost(Lost.calls)
    a.label("name")
    send_name(b, SCRATCH_EXIT, after)
    a.label("no_file")
    a.jsge(r8, 0, "late")
    counters.failed(b, None)
    a.ja("next")
    a.label("late")
    b.lost(Lost.calls)
    a.label("next")
    if after:
        a.tail_call(CTX, b.maps.jumps, after)
    a.ret(0)


def _set_moved(b: Body) -> None:
    """Call.moved: a successful transfer at the file position has moved it."""
    a, none = b.a, b.a.unique("not_moved")
    a.st(CALL[Call.moved], 0)
    a.jsle(r8, 0, none)
    a.ldx(r1, CALL[Call.explicit])
    a.jne(r1, 0, none)
    a.stx(CALL[Call.moved], r8)
    a.label(none)


def _read_position(b: Body) -> None:
    """Where the transfer ended: Call.position = f_pos now, or Call.offset by the size of the file for what appends."""
    a, o = b.a, b.kernel.offsets
    size, have = a.unique("by_size"), a.unique("have_position")
    a.ldx(r1, CALL[Call.explicit])
    a.jne(r1, 0, size)
    b.copy(CALL[Call.position], r8, o["file.pos"], "file", "f_pos")
    a.ja(have)
    a.label(size)
    a.ldx(r1, CALL[Call.flags])
    a.and_(r1, O_APPEND)
    a.ldx(r2, CALL[Call.rw_flags])
    a.and_(r2, RWF_APPEND)
    a.or_(r1, r2)
    a.jeq(r1, 0, have)
    a.ldx(r1, CALL[Call.direction])
    a.jeq(r1, READ, have)
    a.ldx(r3, CALL[Call.inode])
    b.probe(CALL[Call.offset], 8, r3, o["inode.size"], "i_size: pwrite appends too, whatever the offset")
    a.ldx(r1, CALL[Call.offset])
    a.ldx(r2, CALL[Call.result])
    a.sub(r1, r2)
    a.stx(CALL[Call.offset], r1)
    a.label(have)


def _place(b: Body) -> None:
    """Call.start = where the transfer of r8 bytes began; extends or ends the run that it belongs to."""
    a = b.a
    a.ldx(r1, CALL[Call.explicit])
    a.jne(r1, 0, "at_offset")
    _at_position(b)
    a.ja("run_done")
    a.label("at_offset")
    _at_offset(b)
    a.label("run_done")


def _at_position(b: Body) -> None:
    """A transfer at the file position: it began where the accounted ones ended, unless somebody moved the position.

    If the kernel's position is ahead while another thread is in flight on the same description, that thread has
    transferred but has not come to its own exit: the bytes between are its own, and it will account for them.
    """
    a = b.a
    a.ldx(r1, CALL[Call.position], "f_pos now")
    a.sub(r1, r8)
    a.ldx(r2, CALL[Call.pos])
    a.stx(CALL[Call.start], r2)
    a.sub(r1, r2, "how far off")
    a.jeq(r1, 0, "in_place")
    a.ldx(r3, CALL[Call.shared])
    a.jeq(r3, 0, "moved")
    a.jslt(r1, 0, "moved")
    a.ldx(r3, r7[OpenFile.inflight])
    a.jsgt(r3, 1, "in_place", "a sibling's transfer")
    a.label("moved")
    a.xadd(r7[OpenFile.pos], r1)
    for direction in (READ, WRITE):
        a.xadd(r7[OpenFile.gap[direction]], r1)
    a.add(r2, r1)
    a.stx(CALL[Call.start], r2)
    a.label("in_place")
    a.ldx(r1, CALL[Call.direction])
    a.jne(r1, READ, "write_at_position")
    _extend_at_position(b, READ)
    a.ja("position_done")
    a.label("write_at_position")
    _extend_at_position(b, WRITE)
    a.label("position_done")
    a.xadd(r7[OpenFile.pos], r8)


def _extend_at_position(b: Body, direction: int) -> None:
    a = b.a
    new, done = a.unique("new_run"), a.unique("extended")
    a.ldx(r1, r7[OpenFile.gap[direction]])
    a.jne(r1, 0, new)
    a.xadd(r7[OpenFile.run[direction]], r8)
    a.ja(done)
    a.label(new)
    b.swap(r7[OpenFile.run[direction]], r8, r2)
    a.stx(CALL[Call.broken], r2)
    a.neg(r1)
    a.xadd(r7[OpenFile.gap[direction]], r1)
    a.label(done)
    a.xadd(r7[OpenFile.gap[1 - direction]], r8)


def _at_offset(b: Body) -> None:
    a = b.a
    a.ldx(r1, CALL[Call.offset])
    a.stx(CALL[Call.start], r1)
    a.ldx(r2, CALL[Call.direction])
    a.jne(r2, READ, "write_at_offset")
    extend_at_offset(b, READ)
    a.ja("offset_done")
    a.label("write_at_offset")
    extend_at_offset(b, WRITE)
    a.label("offset_done")


def extend_at_offset(b: Body, direction: int) -> None:
    """A transfer of r8 bytes at offset r1 into the run of the OpenFile in r7; Call.broken = the run that it ended."""
    a = b.a
    new, done = a.unique("new_run"), a.unique("extended")
    a.ldx(r2, r7[OpenFile.pos])
    a.ldx(r3, r7[OpenFile.gap[direction]])
    a.mov(r4, r2)
    a.sub(r4, r3, "where the last one ended")
    a.jne(r4, r1, new)
    a.xadd(r7[OpenFile.run[direction]], r8)
    a.mov(r4, r8)
    a.neg(r4)
    a.xadd(r7[OpenFile.gap[direction]], r4)
    a.ja(done)
    a.label(new)
    a.sub(r2, r1)
    a.sub(r2, r8)
    a.stx(r7[OpenFile.gap[direction]], r2, "pos - end")
    b.swap(r7[OpenFile.run[direction]], r8, r2)
    a.stx(CALL[Call.broken], r2)
    a.label(done)


def _leave_flight(b: Body) -> None:
    a, alone = b.a, b.a.unique("alone")
    a.ldx(r1, CALL[Call.shared])
    a.jeq(r1, 0, alone)
    a.mov(r1, -1)
    a.xadd(r7[OpenFile.inflight], r1)
    a.st(CALL[Call.shared], 0)
    a.label(alone)
