"""Data calls: what a read or a write adds to its file, and where in the file it went.

The system calls that transfer data differ in where their arguments are. A prologue puts those into the Call record
(file, op, direction, requested, explicit, offset, rw_flags), and one body, `account_transfer`, does the rest.
"""

from __future__ import annotations

from typing import Optional

from asm import U32, U64, Field, r0, r1, r2, r3, r4
from programs.counting import counters, results
from programs.counting.runs import extend_at_offset, extend_at_position, unless_appending
from programs.counting.threads import used, who
from programs.counting.who import find_row, take_over_runs
from programs.facts.abi import O_DIRECT, RWF_COUNTED
from programs.facts.catalogue import OPERATIONS, READ, WRITE, Position
from programs.facts.jumps import Jump
from programs.facts.records import (
    OPEN_AHEAD,
    OPEN_AHEAD_MASK,
    OPEN_SOUGHT,
    THREADS_KEPT,
    Call,
    LightCall,
    Lost,
    OpenFile,
    Signature,
    Window,
)
from programs.files.identify import SCRATCH_EXIT, find_or_identify, send_name
from programs.way.body import Body
from programs.way.descriptors import unshared
from programs.way.registers import CALL, CTX, FILE, OPEN_FILE, RESULT

LAST_READ = max(o.code for o in OPERATIONS if o.direction == READ)


def scalar(b: Body) -> None:
    """What the exit of a plain read or write does. Ends the program, but for the label "out"."""
    common_arguments(b)
    b.a.ldx(r1, b.argument(2))
    b.a.stx(CALL[Call.requested], r1)
    account_transfer(b, after=0, descriptor=0, often=True)


def common_arguments(b: Body) -> None:
    """Call.op, direction, explicit, offset and rw_flags, from SIGNATURE and the arguments. Clobbers r1 to r3."""
    a = b.a
    current, decided = a.unique("current"), a.unique("decided")
    set_operation(b, Signature.first)
    a.st(CALL[Call.rw_flags], 0)
    a.st(CALL[Call.unmeasured], 0)
    a.st(CALL[Call.explicit], 0)
    b.signature(r1, Signature.position)
    a.jeq(r1, Position.CURRENT, decided)
    a.ldx(r2, b.argument(3))
    a.stx(CALL[Call.offset], r2)
    a.jeq(r1, Position.EXPLICIT, current)
    a.ldx(r3, b.argument(5))
    a.and_(r3, RWF_COUNTED)
    a.stx(CALL[Call.rw_flags], r3)
    a.jeq(r2, -1, decided, "preadv2, pwritev2: -1 means the file position")
    a.label(current)
    a.st(CALL[Call.explicit], 1)
    a.label(decided)


def set_operation(b: Body, which: Field) -> None:
    """Call.op and Call.direction from SIGNATURE, of which `which` is the first or the second operation."""
    a, read = b.a, b.a.unique("reads")
    b.signature(r1, which, note="operation")
    a.stx(CALL[Call.op], r1)
    a.st(CALL[Call.direction], READ)
    a.jle(r1, LAST_READ, read)
    a.st(CALL[Call.direction], WRITE)
    a.label(read)


def account_transfer(
    b: Body, *, after: int, file: Field = Call.file, descriptor: Optional[int] = None, often: bool = False
) -> None:
    """Accounts for the transfer of RESULT bytes that the Call record describes. Ends the program.

    `file` is the field of the Call record that holds the `struct file *`, `descriptor` the number of the argument that
    was its descriptor, if it is the same for all calls that get here; `after` is the program to go on with, if any.
    `often`: see `transfer_result`.
    """
    a = b.a
    _set_moved(b)
    a.ldx(r1, CALL[file])
    a.jeq(r1, 0, "no_file")
    a.stx(CALL[Call.result], RESULT)
    a.mov(FILE, r1)
    a.st(CALL[Call.walk], 0)
    find_or_identify(b, scratch=SCRATCH_EXIT, skip="next", descriptor=descriptor)
    _read_position(b)
    a.ldx(RESULT, CALL[Call.result])
    take_time(b)
    a.st(CALL[Call.broken], 0)
    if not b.kernel.fetch_atomics:
        a.st(CALL[Call.overlapped], 0)
    a.jsle(RESULT, 0, "placed", "nothing was transferred")
    _place(b, file)
    a.label("placed")
    if not b.options.light:
        _leave_flight(b)
    a.ldx(r1, OPEN_FILE[OpenFile.id])
    a.stx(CALL[Call.id], r1)
    used(b)
    find_row(b, "full")
    take_over_runs(b)
    results.transfer_result(b, "full", often=often)
    a.ja("name")
    a.label("full")
    b.lost(Lost.calls)
    a.label("name")
    if file is Call.file:  # not the target of a copy
        _if_from_storage(b)
    send_name(b, SCRATCH_EXIT, after)
    a.label("no_file")
    counters.without_file(b, "next")
    a.label("next")
    if after:
        a.tail_call(CTX, b.maps.jumps, after)
    a.ret(0)


def take_time(b: Body) -> None:
    """r0 = the time, which Call.now holds too.

    Of a call that was not timed (`Options.light`) it is that of the kernel's last tick, which costs next to nothing.
    """
    a, timed, done, zero = b.a, b.a.unique("timed"), b.a.unique("have_time"), b.a.slot("zero", U32)
    if b.options.light and b.kernel.jiffies:
        a.ldx(r1, CALL[Call.entered])
        a.jne(r1, 0, timed)
        a.call("jiffies64")
        a.stx(CALL[Call.now], r0)
        a.st(zero, 0)
        a.lookup(b.maps.window, zero)
        a.jeq(r0, 0, timed)
        a.ldx(r1, r0[Window.tick])
        a.ldx(r2, CALL[Call.now])
        a.mul(r2, r1)
        a.ldx(r1, r0[Window.offset])
        a.add(r2, r1)
        a.mov(r0, r2)
        a.ja(done)
        a.label(timed)
    a.call("ktime_get_ns")
    a.label(done)
    a.stx(CALL[Call.now], r0)


def _if_from_storage(b: Body) -> None:
    """On to Jump.STORAGE if pages were brought in for the call, or it is a read that goes past the page cache."""
    a, storage, cache = b.a, b.a.unique("from_storage"), b.a.unique("from_cache")
    a.ldx(r1, CALL[Call.pages])
    a.jne(r1, 0, storage)
    a.ldx(r1, CALL[Call.flags])
    a.and_(r1, O_DIRECT[b.kernel.machine])
    a.jeq(r1, 0, cache, "as mostly")
    a.ldx(r1, CALL[Call.direction])
    a.jne(r1, READ, cache)
    a.label(storage)
    a.tail_call(CTX, b.maps.jumps, Jump.STORAGE)
    a.label(cache)


def _set_moved(b: Body) -> None:
    """Call.moved = the bytes of a successful transfer at the file position, else 0."""
    a, none = b.a, b.a.unique("not_moved")
    a.st(CALL[Call.moved], 0)
    a.jsle(RESULT, 0, none)
    a.ldx(r1, CALL[Call.explicit])
    a.jne(r1, 0, none)
    a.stx(CALL[Call.moved], RESULT)
    a.label(none)


def _read_position(b: Body) -> None:
    """Where the transfer ended: Call.position = f_pos now, or Call.offset by the size of the file for what appends.

    Where siblings may be at work, three things are read in this order: how many are in flight, what has been accounted
    for (Call.pos), and f_pos. `_at_position` says why. If nothing was transferred, Call.start is then where it would
    have begun.
    """
    a, o = b.a, b.kernel.offsets
    size, given = a.unique("by_size"), a.unique("offset_given")
    have, alone = a.unique("have_position"), a.unique("alone")
    a.ldx(r1, CALL[Call.explicit])
    a.jne(r1, 0, size)
    if not b.options.light:
        a.ldx(r1, CALL[Call.shared])
        a.jeq(r1, 0, alone)
        a.ldx(r1, OPEN_FILE[OpenFile.inflight])
        a.stx(CALL[Call.siblings], r1)
        a.ldx(r1, OPEN_FILE[OpenFile.pos])
        a.stx(CALL[Call.pos], r1)
        a.label(alone)
    b.copy(CALL[Call.position], FILE, o["file.pos"], "file", "f_pos")
    a.ja(have)
    a.label(size)
    unless_appending(b, given)
    a.ldx(r1, CALL[Call.direction])
    a.jeq(r1, READ, given)
    a.ldx(r3, CALL[Call.inode])
    b.probe(CALL[Call.offset], 8, r3, o["inode.size"], "i_size: pwrite appends too, whatever the offset")
    a.ldx(r1, CALL[Call.offset])
    a.ldx(r2, CALL[Call.result])
    a.sub(r1, r2)
    a.stx(CALL[Call.offset], r1)
    a.label(given)
    a.ldx(r1, CALL[Call.offset])
    a.stx(CALL[Call.start], r1)
    a.label(have)


def _place(b: Body, file: Field) -> None:
    """Call.start = where the transfer of RESULT bytes began; extends or ends the run that it belongs to.

    `file` is as for `account_transfer`.
    """
    a = b.a
    a.ldx(r1, CALL[Call.explicit])
    a.jne(r1, 0, "at_offset")
    _at_position(b, file)
    a.ja("run_done")
    a.label("at_offset")
    _at_offset(b)
    a.label("run_done")


def _at_position(b: Body, file: Field) -> None:
    """Places a transfer at the file position: where the accounted ones ended, unless the position was moved.

    If the kernel's position is ahead while another thread is in flight on the same description, that thread has
    transferred but has not come to its own exit: the bytes between are its own, and it will account for them. A sibling
    moves f_pos, then adds to OpenFile.pos, then leaves the flight. So one that has moved f_pos, and is not in Call.pos,
    was in flight before Call.pos was read, or is so now, or has added to OpenFile.pos since. Where no entry tells who
    is in flight (`Options.light`), `_by_seeks` decides.
    """
    a = b.a
    a.ldx(r1, CALL[Call.position], "f_pos now")
    a.sub(r1, RESULT)
    a.ldx(r2, CALL[Call.pos])
    a.sub(r1, r2, "how far off")
    if b.options.light:
        _by_seeks(b, file)
    else:
        a.jeq(r1, 0, "in_place")
        a.ldx(r3, CALL[Call.shared])
        a.jeq(r3, 0, "moved")
        a.jslt(r1, 0, "moved")
        a.ldx(r3, CALL[Call.siblings])
        a.jsgt(r3, 1, "in_place", "a sibling's transfer")
        a.ldx(r3, OPEN_FILE[OpenFile.inflight])
        a.jsgt(r3, 1, "in_place")
        a.ldx(r3, OPEN_FILE[OpenFile.pos])
        a.jne(r3, r2, "in_place")
    a.label("moved")
    a.xadd(OPEN_FILE[OpenFile.pos], r1)
    for direction in (READ, WRITE):
        a.xadd(OPEN_FILE[OpenFile.gap[direction]], r1)
    a.add(r2, r1)
    a.label("in_place")
    a.stx(CALL[Call.start], r2)
    a.ldx(r1, CALL[Call.direction])
    a.jne(r1, READ, "write_at_position")
    extend_at_position(b, READ)
    a.ja("position_done")
    a.label("write_at_position")
    extend_at_position(b, WRITE)
    a.label("position_done")
    _advance(b)


def _by_seeks(b: Body, file: Field) -> None:
    """Falls through if the position was moved, by r1 from where it was accounted to be, r2; else jumps to "in_place".

    It was where a seek was seen since the last transfer, where it lies behind, and where no other thread can use the
    description now. Else a sibling may have transferred what lies between, and its exit is yet to come. Where none but
    this thread was ever seen there, that is believed for so many of its transfers. Keeps r1 and r2.
    """
    a, far, marks, quiet = b.a, CALL[Call.siblings], b.a.slot("marks", U64), b.a.unique("no_seek")
    a.ldx(r3, OPEN_FILE[OpenFile.flags])
    a.mov(r4, r3)
    a.and_(r4, OPEN_SOUGHT | OPEN_AHEAD_MASK)
    a.stx(marks, r4)
    a.jeq(r4, 0, quiet, "as mostly")
    a.xor(r3, r4)
    a.stx(OPEN_FILE[OpenFile.flags], r3)
    a.and_(r4, OPEN_SOUGHT)
    a.jeq(r4, 0, quiet)
    a.jne(r1, 0, "moved")
    a.label(quiet)
    a.jeq(r1, 0, "in_place")
    a.jslt(r1, 0, "moved")
    a.stx(far, r1)
    a.ldx(r1, CALL[LightCall.task])
    a.stx(b.a.slot("task", U64), r1)
    a.ldx(r3, CALL[file])
    unshared(b, r3, "alone", "may_be_shared")
    a.label("may_be_shared")
    _unless_alone(b, "siblings")
    a.ldx(r1, marks)
    a.and_(r1, OPEN_AHEAD_MASK)
    a.add(r1, OPEN_AHEAD)
    a.jgt(r1, OPEN_AHEAD_MASK, "alone")
    a.ldx(r2, OPEN_FILE[OpenFile.flags])
    a.or_(r2, r1)
    a.stx(OPEN_FILE[OpenFile.flags], r2)
    a.label("siblings")
    a.ldx(r2, CALL[Call.pos])
    a.ja("in_place")
    a.label("alone")
    a.ldx(r1, far)
    a.ldx(r2, CALL[Call.pos])


def _unless_alone(b: Body, siblings: str) -> None:
    """Jumps to `siblings` if OPEN_FILE knows of other threads than this one, or not even of this one."""
    a, own = b.a, b.a.unique("own_thread")
    who(b)
    a.mov(r2, 0)
    for number in range(THREADS_KEPT):
        none = a.unique("no_thread")
        a.ldx(r3, OPEN_FILE[OpenFile.threads[number]])
        a.jeq(r3, 0, none)
        a.jne(r3, r1, siblings)
        a.mov(r2, 1)
        a.label(none)
    a.jne(r2, 0, own)
    a.ja(siblings)
    a.label(own)


def _advance(b: Body) -> None:
    """OpenFile.pos += RESULT. Call.start = what it was before, which no sibling's transfer has for its start.

    Kernels before 5.12 do not tell what it was. There Call.start stays what was read, and Call.overlapped = by how much
    siblings have moved it on since.
    """
    a = b.a
    if b.kernel.fetch_atomics:
        a.mov(r1, RESULT)
        a.fetch_add(OPEN_FILE[OpenFile.pos], r1)
        a.stx(CALL[Call.start], r1)
        return
    a.xadd(OPEN_FILE[OpenFile.pos], RESULT)
    a.ldx(r1, OPEN_FILE[OpenFile.pos])
    a.ldx(r2, CALL[Call.start])
    a.sub(r1, r2)
    a.sub(r1, RESULT)
    a.stx(CALL[Call.overlapped], r1)


def _at_offset(b: Body) -> None:
    a = b.a
    a.ldx(r1, CALL[Call.start])
    a.ldx(r2, CALL[Call.direction])
    a.jne(r2, READ, "write_at_offset")
    extend_at_offset(b, READ)
    a.ja("offset_done")
    a.label("write_at_offset")
    extend_at_offset(b, WRITE)
    a.label("offset_done")


def _leave_flight(b: Body) -> None:
    a, alone = b.a, b.a.unique("alone")
    a.ldx(r1, CALL[Call.shared])
    a.jeq(r1, 0, alone)
    a.mov(r1, -1)
    a.xadd(OPEN_FILE[OpenFile.inflight], r1)
    a.st(CALL[Call.shared], 0)
    a.label(alone)
