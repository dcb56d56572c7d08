"""What the writes and syncs of a file come to, whichever operations they were: its FileState.

These are the bytes that wait for a sync, and whether a write began where the one before it did. Requests tell the
latter when they are submitted, as their completions come in any order.
"""

from __future__ import annotations

from typing import Optional

from asm import U64, Field, MapSpec, Mem, Register, r0, r1, r2, r3, r4
from programs.counting.who import find_in, find_row_state
from programs.facts.records import TALLY_BETWEEN_SYNCS, Call, FileState
from programs.way.body import Body
from programs.way.registers import CALL, RESULT


def find_state(b: Body, missing: str) -> None:
    """r0 = the FileState of the file Call.id, or a jump to `missing`. Clobbers r1 to r5."""
    find_in(b, b.maps.states, CALL[Call.id], missing)


def _find_both(b: Body, missing: str) -> None:
    """`find_state`; and the slot "row_state" = the FileState of Call.row, where rows are apart (`Options.by`)."""
    if b.options.by:
        find_row_state(b, missing)
        b.a.stx(b.row_state(), r0)
    find_state(b, missing)


def _row_state(b: Body, dst: Register) -> Register:
    """`dst` = what `_find_both` has left in that slot."""
    b.a.ldx(dst, b.row_state())
    return dst


def _unsynced_of_row(b: Body) -> None:
    """RESULT bytes more of Call.row that wait for a sync; of the file in r0, which was synced since or not.

    Of two CPUs that are the first after a sync one may be forgotten: the file's own count is the right one.
    """
    a, same = b.a, b.a.unique("same_epoch")
    row = _row_state(b, r4)
    a.ldx(r1, r0[FileState.syncs])
    a.ldx(r2, row[FileState.epoch])
    a.jeq(r1, r2, same)
    a.stx(row[FileState.epoch], r1)
    a.st(row[FileState.unsynced], 0)
    a.label(same)
    a.xadd(row[FileState.unsynced], RESULT)


def written(b: Body, *, submitted: bool) -> None:
    """A write of RESULT bytes at Call.start. If it was `submitted`, `write_submitted` has seen where it begins.

    A write that siblings overlapped at the file position is no rewrite, and where it begins may be unknown.
    """
    a = b.a
    not_first, elsewhere, done = a.unique("not_first"), a.unique("elsewhere"), a.unique("written")
    _find_both(b, done)
    a.xadd(r0[FileState.unsynced], RESULT)
    if b.options.by:
        _unsynced_of_row(b)
    if not submitted and not b.kernel.fetch_atomics:
        a.ldx(r2, CALL[Call.overlapped])
        a.jne(r2, 0, done)
    a.ldx(r2, CALL[Call.start])
    a.add(r2, 1)
    if submitted:
        a.ldx(r3, CALL[Call.previous])
    else:
        a.ldx(r3, r0[FileState.last_write])
        a.jne(r3, 0, not_first)
        a.stx(r0[FileState.first_write], r2)
        if b.options.by:
            a.stx(_row_state(b, r4)[FileState.first_write], r2)
        a.label(not_first)
    a.jne(r3, r2, elsewhere)
    b.count((_row_state(b, r4) if b.options.by else r0)[FileState.rewrites])
    a.label(elsewhere)
    if not submitted:
        a.stx(r0[FileState.last_write], r2)
    a.label(done)


def write_submitted(b: Body, start: Field) -> None:
    """Makes a write at `start`, a field of Call, the last one to the file Call.id, whenever it completes.

    Call.previous = the one before.
    """
    a, done = b.a, b.a.unique("not_first")
    _find_both(b, done)
    a.mov(r4, r0)
    a.ldx(r1, CALL[start])
    a.add(r1, 1)
    b.swap(r4[FileState.last_write], r1, r2)
    a.stx(CALL[Call.previous], r2)
    a.jne(r2, 0, done)
    a.stx(r4[FileState.first_write], r1)
    if b.options.by:
        a.stx(_row_state(b, r4)[FileState.first_write], r1)
    a.label(done)


def write_taken_back(b: Body) -> None:
    """Takes back the write submitted at Call.start, which did not happen. After a later one nothing is left to take."""
    a, done = b.a, b.a.unique("not_the_last")
    _find_both(b, done)
    a.ldx(r2, CALL[Call.start])
    a.add(r2, 1)
    a.ldx(r3, r0[FileState.last_write])
    a.jne(r3, r2, done)
    a.ldx(r3, CALL[Call.previous])
    a.stx(r0[FileState.last_write], r3)
    a.jne(r3, 0, done)
    a.st(r0[FileState.first_write], 0)
    if b.options.by:
        a.st(_row_state(b, r4)[FileState.first_write], 0)
    a.label(done)


def synced(b: Body, done: str) -> None:
    """A successful sync covers every byte written to the file Call.id before. Jumps to `done` if it has no state."""
    a, again = b.a, b.a.unique("synced_before")
    _find_both(b, done)
    a.mov(r4, r0)
    a.mov(r1, 0)
    b.swap(r4[FileState.unsynced], r1, r2)
    if b.options.by:
        b.count(r4[FileState.syncs])
    a.xadd(r4[FileState.synced], r2)
    a.ldx(r1, r4[FileState.first_sync])
    a.jne(r1, 0, again)
    a.mov(r1, r2)
    a.add(r1, 1)
    a.stx(r4[FileState.first_sync], r1)
    if b.options.by:
        a.stx(_row_state(b, r4)[FileState.first_sync], r1)
    a.label(again)
    b.bucket(r1, r2, r3)
    a.mov(r3, r1)
    b.tally(file=b.counted, op=None, kind=TALLY_BETWEEN_SYNCS, item=r3)


def set_flag(b: Body, file: Mem, flag: int, states: Optional[MapSpec] = None) -> None:
    """Sets one of FILE_* in the state of the file, or row, whose id is in `file`. Clobbers r0 to r5.

    It is in `states`, unless that is None: in that of files.
    """
    a, file_id, none = b.a, b.a.slot("id", U64), b.a.unique("no_state")
    a.ldx(r1, file)
    a.stx(file_id, r1)
    a.lookup(states or b.maps.states, file_id)
    a.jeq(r0, 0, none)
    a.ldx(r1, r0[FileState.flags])
    a.or_(r1, flag)
    a.stx(r0[FileState.flags], r1)
    a.label(none)
