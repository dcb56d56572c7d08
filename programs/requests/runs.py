"""Runs and rewrites of requests, in the order of submission.

Completions of a deep queue come in any order, so that runs by completion would be of no use. Each request is taken to
transfer all of what it asks for, and extends or ends a run when it is submitted. A completion that fell short, and a
request that was not accepted, take back what is missing.
"""

from __future__ import annotations

from asm import U64, Slot, r0, r1, r2, r3, r4
from programs.counting import state
from programs.counting.runs import extend_at_offset, unless_appending
from programs.facts.catalogue import READ, WRITE
from programs.facts.records import SYNC, TALLY_READ_RUN, Call, OpenFile, OpenKey
from programs.way.body import Body
from programs.way.registers import CALL, LENGTH, OPEN_FILE, RESULT


def extend_run(b: Body) -> None:
    """The run of OPEN_FILE, by the request of the Call record, if that says where it will be: not at the file position.

    Call.ended = where the run before it ended, Call.broken = its bytes if this request ends it. Destroys r8.
    """
    a = b.a
    write, done = a.unique("writes"), a.unique("run_extended")
    a.ldx(LENGTH, CALL[Call.requested])
    a.ldx(r2, CALL[Call.direction])
    a.jeq(r2, SYNC, done)
    a.ldx(r1, CALL[Call.explicit])
    a.jeq(r1, 0, done)
    a.jeq(r2, WRITE, write)
    _extend(b, READ)
    a.ja(done)
    a.label(write)
    _append(b)
    a.jsle(LENGTH, 0, done)
    state.write_submitted(b, Call.offset)
    _extend(b, WRITE)
    a.label(done)


def _extend(b: Body, direction: int) -> None:
    """The same for one direction, LENGTH bytes at Call.offset."""
    a, nothing = b.a, b.a.unique("no_bytes")
    a.jsle(LENGTH, 0, nothing, "nothing, or a size that the kernel refuses")
    _end(b, direction)
    a.stx(CALL[Call.ended], r1)
    a.ldx(r1, CALL[Call.offset])
    extend_at_offset(b, direction)
    a.label(nothing)


def _end(b: Body, direction: int) -> None:
    """r1 = where the last transfer of OPEN_FILE ended. Clobbers r2."""
    a = b.a
    a.ldx(r1, OPEN_FILE[OpenFile.pos])
    a.ldx(r2, OPEN_FILE[OpenFile.gap[direction]])
    a.sub(r1, r2)


def _append(b: Body) -> None:
    """Call.offset of a write that appends: the end of the file, or of the write before if that is still under way."""
    a = b.a
    done, behind, size = a.unique("not_appending"), a.unique("behind_the_end"), a.slot("word", U64)
    unless_appending(b, done)
    a.ldx(r3, CALL[Call.inode])
    b.probe(size, 8, r3, b.kernel.offsets["inode.size"], "i_size")
    _end(b, WRITE)
    a.ldx(r2, size)
    a.jge(r1, r2, behind)
    a.mov(r1, r2)
    a.label(behind)
    a.stx(CALL[Call.offset], r1)
    a.label(done)


def correct(b: Body) -> None:
    """Takes out of its run what the request of the Call record, whose result RESULT holds too, did not transfer.

    If nothing came after it, the run ends where the transfer did; and if it moved nothing at all, the run that it
    seemed to end goes on. If others came after it, the run is left in one piece, shorter by what is missing.
    A write that wrote nothing is none that another one could repeat. Destroys r7.
    """
    a = b.a
    short, tell, done = a.unique("short"), a.unique("not_in_a_run"), a.unique("corrected")
    a.ldx(r1, CALL[Call.requested])
    a.mov(r2, RESULT)
    a.jsgt(r2, 0, short)
    a.mov(r2, 0)
    a.label(short)
    a.sub(r1, r2, "what was not transferred")
    a.jsle(r1, 0, done)
    a.ldx(r2, CALL[Call.explicit])
    a.jeq(r2, 0, done)
    missing, moved = a.slot("missing", U64), a.unique("some_or_none_written")
    a.stx(missing, r1)
    a.ldx(r1, CALL[Call.result])
    a.jsgt(r1, 0, moved)
    a.ldx(r1, CALL[Call.direction])
    a.jeq(r1, READ, moved)
    state.write_taken_back(b)
    a.label(moved)
    _find_open_file(b, tell)
    write = a.unique("write_fell_short")
    a.ldx(r1, CALL[Call.direction])
    a.jeq(r1, WRITE, write)
    _shorten(b, READ, missing, tell)
    a.ja(tell)
    a.label(write)
    _shorten(b, WRITE, missing, tell)
    a.label(tell)
    _tell_broken(b)
    a.label(done)


def _find_open_file(b: Body, gone: str) -> None:
    """OPEN_FILE = that of the request, if it is open still; else a jump to `gone`."""
    a = b.a
    a.lookup(b.maps.opens, a.slot("open", OpenKey))
    a.jeq(r0, 0, gone, "closed meanwhile")
    a.mov(OPEN_FILE, r0)
    a.ldx(r1, OPEN_FILE[OpenFile.id])
    a.ldx(r2, CALL[Call.id])
    a.jne(r1, r2, gone, "another file by now")


def _shorten(b: Body, direction: int, missing: Slot, done: str) -> None:
    """`correct` for one direction: OPEN_FILE's run is to lose `missing` bytes if the request is part of it."""
    a = b.a
    _end(b, direction)
    a.ldx(r2, CALL[Call.offset])
    a.ldx(r3, OPEN_FILE[OpenFile.run[direction]])
    a.mov(r4, r1)
    a.sub(r4, r3, "where the run begins")
    a.jslt(r2, r4, done, "in a run that has ended")
    a.ldx(r4, CALL[Call.requested])
    a.add(r4, r2)
    a.jsgt(r4, r1, done, "in a run that has ended")
    a.ldx(r3, missing)
    a.neg(r3)
    a.xadd(OPEN_FILE[OpenFile.run[direction]], r3)
    a.jne(r4, r1, done, "others came after it")
    a.neg(r3)
    a.xadd(OPEN_FILE[OpenFile.gap[direction]], r3)
    a.jsgt(RESULT, 0, done)
    a.ldx(r3, OPEN_FILE[OpenFile.run[direction]])
    a.jne(r3, 0, done)
    a.ldx(r1, CALL[Call.broken], "the run that it began never came to be")
    a.xadd(OPEN_FILE[OpenFile.run[direction]], r1)
    a.ldx(r1, OPEN_FILE[OpenFile.pos])
    a.ldx(r2, CALL[Call.ended])
    a.sub(r1, r2)
    a.stx(OPEN_FILE[OpenFile.gap[direction]], r1)
    a.st(CALL[Call.broken], 0)


def _tell_broken(b: Body) -> None:
    """Tallies the run that ended when a request which then moved nothing was submitted; others tell by themselves."""
    a, done = b.a, b.a.unique("told")
    a.jsgt(RESULT, 0, done, "transfer_result does it")
    a.ldx(r2, CALL[Call.broken])
    a.jeq(r2, 0, done)
    b.bucket(r1, r2, r3)
    a.mov(r3, r1)
    b.tally(file=b.counted, op=None, kind=TALLY_READ_RUN, item=r3, beyond=CALL[Call.direction])
    a.st(CALL[Call.broken], 0)
    a.label(done)
