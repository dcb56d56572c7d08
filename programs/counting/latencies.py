"""How long calls and requests take: the sum, the longest, and a histogram that divides each power of two in eight.

The functions expect CALL, with Call.now, and clobber r0 to r5.
"""

from __future__ import annotations

from asm import U64, Register, r0, r1, r2, r3, r4, r5
from programs.counting.counters import HEAD, LATENCY, Counters, greatest
from programs.facts.records import (
    LATENCY_BITS,
    LATENCY_BUCKETS,
    LATENCY_FULL_BIT,
    LATENCY_PART_BITS,
    LATENCY_PARTS,
    LATENCY_PIECE,
    LATENCY_UNIT_BITS,
    TALLY_LATENCY,
    Call,
    Latency,
    LatencyPiece,
    OpHead,
    OpKey,
)
from programs.way.body import BPF_NOEXIST, Body
from programs.way.registers import CALL


def returned(b: Body, counters: Counters) -> None:
    """Latency and time of a successful return."""
    a, sparse, done = b.a, b.a.unique("sparse"), b.a.unique("latency")
    _took(b, counters)
    fine_bucket(b, r2, r1)
    if b.kernel.big_values:
        a.mov(r3, r2)
    else:
        a.stx(a.slot("bucket", U64), r2)
    a.jge(r2, LATENCY_BUCKETS, sparse)
    _cell(b, counters, sparse, make=True)
    counters.count(r0.u32(0))
    a.ja(done)
    a.label(sparse)
    if not b.kernel.big_values:
        a.ldx(r3, a.slot("bucket", U64))
    b.tally(file=counters.file_id, op=CALL[Call.op], kind=TALLY_LATENCY, item=r3)
    a.label(done)


def find_cell(b: Body, counters: Counters, missing: str) -> None:
    """The slot "latency_cell" = the histogram's cell for a request from Call.entered to Call.now, of LATENCY_BITS.

    Jumps to `missing` where the cell is full, or records are kept in pieces and that piece has not been made.
    """
    a = b.a
    a.ldx(r1, CALL[Call.now])
    a.ldx(r3, CALL[Call.entered])
    a.sub(r1, r3)
    fine_bucket(b, r2, r1, bits=LATENCY_BITS - LATENCY_UNIT_BITS)
    a.jge(r2, LATENCY_BUCKETS, missing, "cannot be")
    _cell(b, counters, missing, make=False)
    a.stx(a.slot("latency_cell", U64), r0)


def returned_to_cell(b: Body, counters: Counters) -> None:
    """The same as `returned`, after `find_cell`."""
    _took(b, counters)
    b.a.ldx(r1, b.a.slot("latency_cell", U64))
    b.a.mov(r2, 1)
    b.a.xadd(r1.u32(0), r2)


def _took(b: Body, counters: Counters) -> None:
    """r1 = the latency: its sum and the longest, and when the last call returned. r2 = the head."""
    a = b.a
    returned_at(b, counters)
    a.ldx(r3, CALL[Call.entered])
    a.sub(r1, r3)
    counters.add(counters.field(HEAD, r2, OpHead.busy), r1, r3)
    greatest(b, counters.field(HEAD, r2, OpHead.slowest), alone=counters.alone)


def returned_at(b: Body, counters: Counters) -> None:
    """When the last call returned. r1 = Call.now, r2 = the head."""
    a, later = b.a, b.a.unique("later")
    counters.at(HEAD, r2)
    a.ldx(r1, CALL[Call.now])
    last = counters.field(HEAD, r2, OpHead.last)
    a.ldx(r3, last)
    a.jge(r3, r1, later)
    a.stx(last, r1)
    a.label(later)


def fine_bucket(b: Body, dst: Register, latency: Register, bits: int = 64) -> None:
    """`dst` = the bucket of a latency, which is destroyed. Clobbers r0, r4 and r5. `bits`: no more units of time.

    With w units of time, of which the highest bit is number k + 3 or there are no more than 8, the bucket is
    8 k + (w >> k), as w >> k is 8 to 15, or less in the first buckets.
    """
    a = b.a
    a.rsh(latency, LATENCY_UNIT_BITS)
    a.mov(r4, latency)
    a.or_(latency, LATENCY_PARTS)
    b.log2(dst, latency, r5, bits=bits)
    a.sub(dst, LATENCY_PART_BITS)
    a.rsh(r4, dst)
    a.and_(r4, 2 * LATENCY_PARTS - 1, "which the verifier cannot see by itself")
    a.lsh(dst, LATENCY_PART_BITS)
    a.add(dst, r4)


def _cell(b: Body, counters: Counters, missing: str, *, make: bool) -> None:
    """r0 = the cell of bucket r2. Jumps to `missing` without one, and where it is full. Clobbers r1 and r2."""
    a = b.a
    if b.kernel.big_values:
        counters.at(LATENCY, r0)
        a.add(r0, counters.field(LATENCY, r0, Latency.buckets).offset)
    else:
        _piece(b, counters, missing, make=make)
    a.lsh(r2, 2)
    a.add(r0, r2)
    a.ldx(r1, r0.u32(0))
    a.rsh(r1, LATENCY_FULL_BIT)
    a.jne(r1, 0, missing, "before it overflows, even where many CPUs add to it at the same time")


def _piece(b: Body, counters: Counters, missing: str, *, make: bool) -> None:
    """r0 = the piece of the record that bucket r2 lies in, r2 = the bucket's number in that.

    Where there is none it is made, if `make`. Jumps to `missing` without.
    """
    a, maps, found = b.a, b.maps, b.a.unique("have_piece")
    a.mov(r1, r2)
    a.mul(r1, _RECIPROCAL)
    a.rsh(r1, _RECIPROCAL_BITS, f"by {LATENCY_PIECE}")
    a.stx(counters.key[OpKey.piece], r1)
    a.mul(r1, LATENCY_PIECE)
    a.sub(r2, r1)
    within = a.slot("within", U64)
    a.stx(within, r2)
    a.lookup(maps.latency, counters.key)
    if make:
        a.jne(r0, 0, found)
        a.update(maps.latency, counters.key, b.fresh(LatencyPiece), BPF_NOEXIST)
        a.lookup(maps.latency, counters.key)
        a.jeq(r0, 0, missing)
        a.label(found)
    else:
        a.jeq(r0, 0, missing)
    a.ldx(r2, within)
    a.jge(r2, LATENCY_PIECE, missing, "cannot be")


_RECIPROCAL_BITS = 12
_RECIPROCAL = (1 << _RECIPROCAL_BITS) // LATENCY_PIECE + 1
assert all(n * _RECIPROCAL >> _RECIPROCAL_BITS == n // LATENCY_PIECE for n in range(LATENCY_BUCKETS))
