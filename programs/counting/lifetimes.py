"""Opens and closes of a file: how many, how long they took, and what size the file had.

Both happen once where transfers happen often, so that the histograms of their latencies are kept sparsely. The
functions expect the FileState in r0, CALL with Call.id (and Call.row), entered and now, and clobber r0 to r5.
"""

from __future__ import annotations

from asm import U64, Field, r0, r1, r2, r3
from programs.counting.counters import greatest
from programs.counting.latencies import fine_bucket
from programs.counting.who import find_row_state
from programs.facts.catalogue import BY_NAME
from programs.facts.records import TALLY_LATENCY, Call, FileState
from programs.way.body import Body
from programs.way.registers import CALL


def opened(b: Body) -> None:
    """A successful open of the file, whose inode is Call.inode."""
    if not b.options.by:
        b.count(r0[FileState.opens])
    _saw_size(b)
    if b.options.by:
        find_row_state(b, "no_row")
        b.count(r0[FileState.opens])
    _lasted(b, FileState.opening, FileState.slowest_open, BY_NAME["open"].code)
    if b.options.by:
        b.a.label("no_row")


def closed(b: Body) -> None:
    """A successful close."""
    none = b.a.unique("no_row") if b.options.by else ""
    if b.options.by:
        find_row_state(b, none)
    b.count(r0[FileState.closes])
    _lasted(b, FileState.closing, FileState.slowest_close, BY_NAME["close"].code)
    if b.options.by:
        b.a.label(none)


def _saw_size(b: Body) -> None:
    """FileState.seen = the size of the file, whose inode is Call.inode; r0 = the FileState, and afterwards too."""
    a, state = b.a, b.a.slot("state", U64)
    a.stx(state, r0)
    a.ldx(r3, CALL[Call.inode])
    b.load(r1, r3, b.kernel.offsets["inode.size"], "i_size", of="inode")
    a.add(r1, 1)
    a.ldx(r0, state)
    a.stx(r0[FileState.seen], r1)


def _lasted(b: Body, total: Field, slowest: Field, operation: int) -> None:
    """An open or a close of the file Call.id, from Call.entered to Call.now; r0 = its FileState. Clobbers r0 to r5."""
    a = b.a
    a.mov(r2, r0)
    a.ldx(r1, CALL[Call.now])
    a.ldx(r3, CALL[Call.entered])
    a.sub(r1, r3)
    a.xadd(r2[total], r1)
    greatest(b, r2[slowest])
    fine_bucket(b, r3, r1)
    a.st(CALL[Call.op], operation)
    b.tally(file=b.counted, op=CALL[Call.op], kind=TALLY_LATENCY, item=r3)
