"""Opens and closes of a file: how many, how long they took, and what size the file had.

Both happen once where transfers happen often, so that the histograms of their latencies are kept sparsely, and the
first of each with the file: most files have no other, and a sparse counter has to be made, read and deleted. The
functions expect the FileState in r0, CALL with Call.id (and Call.row), entered and now, and clobber r0 to r5.
"""

from __future__ import annotations

from typing import NamedTuple

from asm import U64, Field, r0, r1, r2, r3
from programs.counting.counters import greatest
from programs.counting.latencies import fine_bucket
from programs.counting.who import find_row_state
from programs.facts.catalogue import BY_NAME
from programs.facts.records import TALLY_LATENCY, Call, FileState
from programs.way.body import Body
from programs.way.registers import CALL

_OPEN, _CLOSE = BY_NAME["open"].code, BY_NAME["close"].code


class _Kind(NamedTuple):
    """Opens or closes: where the FileState has their number, the sum of their latencies, the greatest one, and the
    bucket of the first one."""

    number: Field
    total: Field
    slowest: Field
    first: Field
    operation: int


_OPENS = _Kind(FileState.opens, FileState.opening, FileState.slowest_open, FileState.first_open, _OPEN)
_CLOSES = _Kind(FileState.closes, FileState.closing, FileState.slowest_close, FileState.first_close, _CLOSE)


def opened(b: Body) -> None:
    """A successful open of the file, whose inode is Call.inode."""
    _saw_size(b)
    if b.options.by:
        find_row_state(b, "no_row")
    _lasted(b, _OPENS)
    if b.options.by:
        b.a.label("no_row")


def closed(b: Body) -> None:
    """A successful close."""
    none = b.a.unique("no_row") if b.options.by else ""
    if b.options.by:
        find_row_state(b, none)
    _lasted(b, _CLOSES)
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


def _lasted(b: Body, kind: _Kind) -> None:
    """An open or a close of the file Call.id, from Call.entered to Call.now; r0 = its FileState. Clobbers r0 to r5.

    Which one is the first cannot be known where nothing can be read and added to at once.
    """
    a, exact = b.a, b.kernel.fetch_atomics
    before, done = a.slot("before", U64), a.unique("lasted")
    a.mov(r2, r0)
    if exact:
        a.mov(r1, 1)
        a.fetch_add(r2[kind.number], r1)
        a.stx(before, r1)
    else:
        b.count(r2[kind.number])
    a.ldx(r1, CALL[Call.now])
    a.ldx(r3, CALL[Call.entered])
    a.sub(r1, r3)
    a.xadd(r2[kind.total], r1)
    greatest(b, r2[kind.slowest])
    fine_bucket(b, r3, r1)
    if exact:
        again = a.unique("not_the_first")
        a.ldx(r1, before)
        a.jne(r1, 0, again)
        a.add(r3, 1)
        a.stx(r2[kind.first], r3)
        a.ja(done)
        a.label(again)
    a.st(CALL[Call.op], kind.operation)
    b.tally(file=b.counted, op=CALL[Call.op], kind=TALLY_LATENCY, item=r3)
    a.label(done)
