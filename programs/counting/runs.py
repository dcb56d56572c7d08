"""Sequential runs of an open file description: transfers of one direction, each where the last one ended.

A run goes on if there is no gap between the end of the last transfer and the file position (`OpenFile.gap`); its bytes
so far are in `OpenFile.run`. When another transfer begins elsewhere, or the description is closed, the run has ended
and goes into a histogram: that of the operation that ended it, or the tallies of its file.
"""

from __future__ import annotations

from typing import Union

from asm import Mem, r1, r2, r3, r4
from programs.facts.abi import O_APPEND, RWF_APPEND, RWF_NOAPPEND
from programs.facts.catalogue import READ, WRITE
from programs.facts.records import TALLY_READ_RUN, Call, OpenFile, OwnedFile
from programs.way.body import Body
from programs.way.registers import CALL, OPEN_FILE, RESULT


def extend_at_position(b: Body, direction: int) -> None:
    """A transfer of RESULT bytes at the file position of OPEN_FILE; Call.broken = the run that it ended."""
    a = b.a
    new, done = a.unique("new_run"), a.unique("extended")
    a.ldx(r1, OPEN_FILE[OpenFile.gap[direction]])
    a.jne(r1, 0, new)
    a.xadd(OPEN_FILE[OpenFile.run[direction]], RESULT)
    a.ja(done)
    a.label(new)
    b.swap(OPEN_FILE[OpenFile.run[direction]], RESULT, r2)
    a.stx(CALL[Call.broken], r2)
    a.neg(r1)
    a.xadd(OPEN_FILE[OpenFile.gap[direction]], r1)
    a.label(done)
    a.xadd(OPEN_FILE[OpenFile.gap[1 - direction]], RESULT)


def extend_at_offset(b: Body, direction: int) -> None:
    """A transfer of RESULT bytes at offset r1 into the run of OPEN_FILE; Call.broken = the run that it ended."""
    a = b.a
    new, done = a.unique("new_run"), a.unique("extended")
    a.ldx(r2, OPEN_FILE[OpenFile.pos])
    a.ldx(r3, OPEN_FILE[OpenFile.gap[direction]])
    a.mov(r4, r2)
    a.sub(r4, r3, "where the last one ended")
    a.jne(r4, r1, new)
    a.xadd(OPEN_FILE[OpenFile.run[direction]], RESULT)
    a.mov(r4, RESULT)
    a.neg(r4)
    a.xadd(OPEN_FILE[OpenFile.gap[direction]], r4)
    a.ja(done)
    a.label(new)
    a.sub(r2, r1)
    a.sub(r2, RESULT)
    a.stx(OPEN_FILE[OpenFile.gap[direction]], r2, "pos - end")
    b.swap(OPEN_FILE[OpenFile.run[direction]], RESULT, r2)
    a.stx(CALL[Call.broken], r2)
    a.label(done)


def unless_appending(b: Body, other: str) -> None:
    """Jumps to `other` unless the transfer goes to the end of its file, whatever its offset. Clobbers r1 and r2.

    RWF_NOAPPEND overrides O_APPEND; together with RWF_APPEND it is refused (kiocb_set_rw_flags, include/linux/fs.h).
    """
    a = b.a
    a.ldx(r2, CALL[Call.rw_flags])
    a.mov(r1, r2)
    a.and_(r1, RWF_NOAPPEND)
    a.jne(r1, 0, other)
    a.ldx(r1, CALL[Call.flags])
    a.and_(r1, O_APPEND)
    a.and_(r2, RWF_APPEND)
    a.or_(r1, r2)
    a.jeq(r1, 0, other)


def end_runs(b: Body) -> None:
    """Records and clears both runs of OPEN_FILE."""
    for direction in (READ, WRITE):
        b.a.mov(r1, 0)
        b.swap(OPEN_FILE[OpenFile.run[direction]], r1, r2)
        b.a.stx(CALL[Call.broken], r2)
        record_run(b, direction)


def record_run(b: Body, direction: Union[int, Mem]) -> None:
    """Tallies the run of Call.broken bytes that has ended, if it had any, for the file, or the row, of OPEN_FILE."""
    a, none = b.a, b.a.unique("no_run")
    a.ldx(r2, CALL[Call.broken])
    a.jeq(r2, 0, none)
    if b.options.by:
        a.ldx(r1, OPEN_FILE[OwnedFile.row])
        a.jeq(r1, 0, none, "of calls that were lost: there was no room for their row")
    b.bucket(r1, r2, r3)
    a.mov(r3, r1)
    whose = OPEN_FILE[OwnedFile.row if b.options.by else OpenFile.id]
    b.tally(file=whose, op=None, kind=TALLY_READ_RUN, item=r3, beyond=direction)
    a.label(none)
