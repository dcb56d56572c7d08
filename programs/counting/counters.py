"""Counting: the record of one operation on one file, and what every call adds to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Optional, Tuple, Type

from asm import U32, U64, Field, Layout, MapSpec, Mem, Register, Slot, r0, r1, r2, r3, r4, r8
from programs.facts.catalogue import OPERATIONS, READ
from programs.facts.kernel import O_DIRECT, O_DSYNC, RWF_DSYNC, RWF_SYNC
from programs.facts.records import (
    LATENCY_BUCKETS,
    RUN_BUCKETS,
    SIZE_BUCKETS,
    TALLY_BETWEEN_SYNCS,
    TALLY_ERROR,
    TALLY_READ_RUN,
    TALLY_REQUESTED,
    Activity,
    Call,
    Completed,
    FileState,
    Latency,
    OpHead,
    OpKey,
    OpStats,
    Runs,
)
from programs.way.body import BPF_NOEXIST, Body
from programs.way.registers import CALL


@dataclass(frozen=True)
class Part:
    """A part of OpStats, which is a record of its own where helpers take no values larger than the stack."""

    within: Field
    record: Type[Layout]


EXTREME_TRIES = 4  # CPUs that set a new extreme of one file at the same instant
HEAD, COMPLETED, LATENCY, RUNS = (
    Part(OpStats.head, OpHead),
    Part(OpStats.completed, Completed),
    Part(OpStats.latency, Latency),
    Part(OpStats.runs, Runs),
)


class Operation:
    """Emits accesses to the counters of (Call.op, file); the record is looked up once, by ``find``."""

    def __init__(self, b: Body, file_id: Mem) -> None:
        self.b = b
        self.file_id = file_id
        self.key = b.a.slot("operation", OpKey)

    def find(self, full: str) -> None:
        """Finds or makes the record; ``full``: there is no room."""
        self._fill_key()
        for name, spec, record in self._records():
            self._find(spec, record, name, full)

    def find_made(self, missing: str) -> None:
        """Finds the record if somebody has made it."""
        a = self.b.a
        self._fill_key()
        for name, spec, _ in self._records():
            a.lookup(spec, self.key)
            a.jeq(r0, 0, missing)
            a.stx(self._pointer(name), r0)

    def _fill_key(self) -> None:
        a = self.b.a
        a.ldx(r1, self.file_id)
        a.stx(self.key[OpKey.id], r1)
        a.ldx(r1, CALL[Call.op])
        a.stx(self.key[OpKey.op], r1)
        a.st(self.key[OpKey.pad], 0)

    def _records(self) -> List[Tuple[str, MapSpec, Type[Layout]]]:
        """What the record consists of: names, maps, layouts."""
        maps = self.b.maps
        if self.b.kernel.big_values:
            return [("head", maps.heads, OpStats)]
        return [
            ("head", maps.heads, OpHead),
            ("completed", maps.completed, Completed),
            ("latency", maps.latency, Latency),
            ("runs", maps.runs, Runs),
        ]

    def _find(self, spec: MapSpec, record: Type[Layout], name: str, full: str) -> None:
        a, have = self.b.a, self.b.a.unique("have_" + name)
        a.lookup(spec, self.key)
        a.jne(r0, 0, have)
        if self.b.kernel.big_values:
            self._update_from_zeros(spec)
        else:
            fresh = self.b.fresh(record)
            a.update(spec, self.key, fresh, BPF_NOEXIST)
        if name == "head":
            self._enter_in_state()
        a.lookup(spec, self.key)
        a.jeq(r0, 0, full)
        a.label(have)
        a.stx(self._pointer(name), r0)

    def _update_from_zeros(self, spec: MapSpec) -> None:
        a, zero = self.b.a, self.b.a.slot("zero", U32)
        none = a.unique("no_zeros")
        a.st(zero, 0)
        a.lookup(self.b.maps.zeros, zero)
        a.jeq(r0, 0, none)
        a.mov(r3, r0)
        a.ld_map(r1, spec)
        a.addr(r2, self.key)
        a.mov(r4, BPF_NOEXIST)
        a.call("map_update_elem", "a record of zeros")
        a.label(none)

    def _enter_in_state(self) -> None:
        """FileState.operations, if r0 says that the record has just been made: nobody else makes it again."""
        a, file_id, theirs = self.b.a, self.b.a.slot("id", U64), self.b.a.unique("theirs")
        a.jne(r0, 0, theirs)
        a.ldx(r1, self.key[OpKey.id])
        a.stx(file_id, r1)
        a.lookup(self.b.maps.states, file_id)
        a.jeq(r0, 0, theirs)
        a.ldx(r2, self.key[OpKey.op])
        a.mov(r1, 1)
        a.lsh(r1, r2)
        a.xadd(r0[FileState.operations], r1)
        a.label(theirs)

    def _pointer(self, name: str) -> Slot:
        return self.b.a.slot("at_" + name, U64)

    def at(self, part: Part, dst: Register) -> int:
        """``dst`` = the record that holds ``part``; returns the part's offset in it."""
        if self.b.kernel.big_values:
            self.b.a.ldx(dst, self._pointer("head"))
            return part.within.offset
        name = {HEAD: "head", COMPLETED: "completed", LATENCY: "latency", RUNS: "runs"}[part]
        self.b.a.ldx(dst, self._pointer(name))
        return 0

    def head(self, base: Register, place: Field) -> Mem:
        """A field of OpHead; ``base`` holds what ``at(HEAD, base)`` gave."""
        return base[OpStats.head[place] if self.b.kernel.big_values else place]


def entered_and_called(b: Body, op: Operation) -> None:
    """One call more, and its entry if none was earlier.  r2 = the head; clobbers r1 and r3."""
    a, later, first = b.a, b.a.unique("later"), b.a.unique("first")
    op.at(HEAD, r2)
    b.count(op.head(r2, OpHead.calls))
    a.ldx(r1, CALL[Call.entered])
    a.ldx(r3, op.head(r2, OpHead.first))
    a.jeq(r3, 0, first)
    a.jle(r3, r1, later)
    a.label(first)
    a.stx(op.head(r2, OpHead.first), r1)
    a.label(later)


def requested(b: Body, op: Operation) -> None:
    """Call.requested into its histogram.  Sizes that no kernel transfers are rare and kept sparsely."""
    a = b.a
    large, same, done = a.unique("large"), a.unique("same_request"), a.unique("requested")
    a.ldx(r1, CALL[Call.unmeasured])
    a.jne(r1, 0, done, "the iovec could not be read")
    a.ldx(r2, CALL[Call.requested])
    a.ldx(r1, CALL[Call.bucket])
    a.ldx(r3, CALL[Call.bucketed])
    a.jeq(r2, r3, same)
    a.stx(CALL[Call.bucketed], r2)
    b.bucket(r1, r2, r3)
    a.stx(CALL[Call.bucket], r1)
    a.label(same)
    a.jge(r1, SIZE_BUCKETS, large)
    offset = op.at(HEAD, r2)
    a.add(r2, offset + OpHead.requested.offset)
    b.cell(r2, r1, SIZE_BUCKETS)
    a.ja(done)
    a.label(large)
    a.mov(r3, r1)
    b.tally(file=op.file_id, op=CALL[Call.op], kind=TALLY_REQUESTED, item=r3)
    a.label(done)


def failed(b: Body, file_id: Optional[Mem]) -> None:
    """One more error of Call.op: r8 holds -errno.  Without a file it is counted as unattributed."""
    a = b.a
    a.mov(r3, r8)
    a.neg(r3, "errno")
    b.tally(file=file_id, op=CALL[Call.op], kind=TALLY_ERROR, item=r3)


def returned(b: Body, op: Operation) -> None:
    """Latency and time of a successful return."""
    a, known, later = b.a, b.a.unique("in_range"), b.a.unique("later")
    a.ldx(r2, CALL[Call.now])
    a.ldx(r1, CALL[Call.entered])
    a.sub(r2, r1)
    b.bucket(r1, r2, r3)
    a.jlt(r1, LATENCY_BUCKETS, known)
    a.mov(r1, LATENCY_BUCKETS - 1)
    a.label(known)
    offset = op.at(LATENCY, r2)
    if offset:
        a.add(r2, offset)
    b.cell(r2, r1, LATENCY_BUCKETS)
    op.at(HEAD, r2)
    a.ldx(r1, CALL[Call.now])
    a.ldx(r3, op.head(r2, OpHead.last))
    a.jge(r3, r1, later)
    a.stx(op.head(r2, OpHead.last), r1)
    a.label(later)


def completed(b: Body, op: Operation) -> None:
    """The bytes in r8, of a successful transfer, into the total and the histogram."""
    a, skip, same, other = b.a, b.a.unique("completed"), b.a.unique("same_bucket"), b.a.unique("other_bucket")
    op.at(HEAD, r2)
    a.xadd(op.head(r2, OpHead.bytes), r8)
    a.ldx(r2, CALL[Call.unmeasured])
    a.jne(r2, 0, other)
    a.ldx(r2, CALL[Call.requested])
    a.ldx(r1, CALL[Call.bucket])
    a.jeq(r2, r8, same, "as mostly: all that was asked for")
    a.label(other)
    a.ldx(r2, CALL[Call.result])
    b.bucket(r1, r2, r3)
    a.label(same)
    a.jge(r1, SIZE_BUCKETS, skip, "cannot be: MAX_RW_COUNT")
    offset = op.at(COMPLETED, r2)
    if offset:
        a.add(r2, offset)
    b.cell(r2, r1, SIZE_BUCKETS)
    a.label(skip)


def extent(b: Body, op: Operation) -> None:
    """The bytes [Call.start, Call.start + r8) into the lowest and highest offset."""
    a = b.a
    op.at(HEAD, r2)
    a.ldx(r1, CALL[Call.start])
    a.add(r1, 1)
    _extreme(b, op.head(r2, OpHead.lowest), lowest=True)
    a.sub(r1, 1)
    a.add(r1, r8)
    _extreme(b, op.head(r2, OpHead.highest), lowest=False)


def _extreme(b: Body, mem: Mem, *, lowest: bool) -> None:
    """``mem`` = r1 if that is lower, or higher; 0 in memory means that there is none yet.  Clobbers r0 and r3.

    Where two CPUs race, compare-and-exchange keeps the true extreme; without it (before 5.12) one of the two may
    be lost if both set a new extreme within the same few nanoseconds.
    """
    a, done = b.a, b.a.unique("extreme")
    for _ in range(EXTREME_TRIES if b.kernel.fetch_atomics else 1):
        take = a.unique("take")
        a.ldx(r3, mem)
        if lowest:
            a.jeq(r3, 0, take)
            a.jge(r1, r3, done)
            a.label(take)
        else:
            a.jge(r3, r1, done)
        if not b.kernel.fetch_atomics:
            a.stx(mem, r1)
            break
        a.mov(r0, r3)
        a.mov(r4, r1)
        a.cmpxchg(mem, r4)
        a.jeq(r0, r3, done)
    a.label(done)


def run_ended(b: Body, op: Operation, *, long_too: bool = True) -> None:
    """The run of Call.broken bytes that this call has ended, if it had any.

    Unless ``long_too``, it is known to be one of those that have a bucket in the record.
    """
    a = b.a
    long, done = a.unique("long_run"), a.unique("no_run")
    a.ldx(r2, CALL[Call.broken])
    a.jeq(r2, 0, done)
    b.bucket(r1, r2, r3)
    a.jge(r1, RUN_BUCKETS, long if long_too else done)
    offset = op.at(RUNS, r2)
    if offset:
        a.add(r2, offset)
    b.cell(r2, r1, RUN_BUCKETS)
    if long_too:
        a.ja(done)
        a.label(long)
        a.mov(r3, r1)
        b.tally(file=CALL[Call.id], op=None, kind=TALLY_READ_RUN, item=r3, beyond=CALL[Call.direction])
    a.label(done)


def direct(b: Body, op: Operation) -> None:
    """Counts a call on an O_DIRECT descriptor."""
    a, no = b.a, b.a.unique("not_direct")
    a.ldx(r1, CALL[Call.flags])
    a.and_(r1, O_DIRECT[b.kernel.machine])
    a.jeq(r1, 0, no)
    op.at(HEAD, r2)
    b.count(op.head(r2, OpHead.direct))
    a.label(no)


def transfer_result(b: Body, full: str, *, submitted: bool = False) -> None:
    """Everything that the transfer described in the Call record, Call.result included, adds to its file and operation.

    Jumps to ``full`` if there is no room for its counters.  ``submitted``: ``write_submitted`` has seen it.
    r8 = the result afterwards.  It is read from the record wherever ways meet on which it was compared with 0, lest
    the verifier follows each of them to the end.
    """
    a, op = b.a, Operation(b, CALL[Call.id])
    succeeded, counted, done = a.unique("succeeded"), a.unique("counted"), a.unique("transfer_done")
    op.find(full)
    a.ldx(r8, CALL[Call.result])
    entered_and_called(b, op)
    requested(b, op)
    direct(b, op)
    a.jsge(r8, 0, succeeded)
    failed(b, op.file_id)
    a.ja(counted)
    a.label(succeeded)
    completed(b, op)
    returned(b, op)
    a.jeq(r8, 0, counted)
    extent(b, op)
    run_ended(b, op)
    _durable(b, op)
    a.label(counted)
    a.ldx(r8, CALL[Call.result])
    _show_activity(b)
    a.ldx(r8, CALL[Call.result])
    a.jsle(r8, 0, done)
    a.ldx(r1, CALL[Call.direction])
    a.jeq(r1, READ, done)
    _written(b, submitted)
    a.label(done)


def whole_transfer(b: Body, op: Operation) -> None:
    """The same, in fewer instructions, for a request that moved the r8 bytes it asked for, more than none.

    Its record was found to be there, and the run that it ended is no longer than the histogram is.
    """
    a, sized = b.a, b.a.unique("sized")
    entered_and_called(b, op)
    a.xadd(op.head(r2, OpHead.bytes), r8)
    a.mov(r2, r8)
    b.bucket(r1, r2, r3)
    a.jge(r1, SIZE_BUCKETS, sized, "cannot be: MAX_RW_COUNT")
    a.mov(r4, r1)
    a.mov(r3, r1)
    for index, part, within in ((r3, HEAD, OpHead.requested.offset), (r4, COMPLETED, 0)):
        offset = op.at(part, r2) + within
        if offset:
            a.add(r2, offset)
        b.cell(r2, index, SIZE_BUCKETS)
    a.label(sized)
    direct(b, op)
    returned(b, op)
    extent(b, op)
    run_ended(b, op, long_too=False)
    _durable(b, op)
    _show_activity(b)
    done = a.unique("transfer_done")
    a.ldx(r1, CALL[Call.direction])
    a.jeq(r1, READ, done)
    _written(b, submitted=True)
    a.label(done)


def sync_result(b: Body, full: str) -> None:
    """The same for a sync: a successful one covers every byte written to the file before."""
    a, op = b.a, Operation(b, CALL[Call.id])
    succeeded, again, done = a.unique("succeeded"), a.unique("synced_before"), a.unique("sync_done")
    op.find(full)
    entered_and_called(b, op)
    a.jsge(r8, 0, succeeded)
    failed(b, op.file_id)
    a.ja(done)
    a.label(succeeded)
    returned(b, op)
    a.ldx(r1, CALL[Call.op])
    for operation in OPERATIONS:
        if operation.syncs and not operation.covers:
            a.jeq(r1, operation.code, done, "starts writing, promises nothing")
    _state(b, done)
    a.mov(r4, r0)
    a.mov(r1, 0)
    b.swap(r4[FileState.unsynced], r1, r2)
    a.xadd(r4[FileState.synced], r2)
    a.ldx(r1, r4[FileState.first_sync])
    a.jne(r1, 0, again)
    a.mov(r1, r2)
    a.add(r1, 1)
    a.stx(r4[FileState.first_sync], r1)
    a.label(again)
    b.bucket(r1, r2, r3)
    a.mov(r3, r1)
    b.tally(file=CALL[Call.id], op=None, kind=TALLY_BETWEEN_SYNCS, item=r3)
    a.label(done)


def _state(b: Body, missing: str) -> None:
    """r0 = the FileState of the file Call.id."""
    a, file_id = b.a, b.a.slot("id", U64)
    a.ldx(r1, CALL[Call.id])
    a.stx(file_id, r1)
    a.lookup(b.maps.states, file_id)
    a.jeq(r0, 0, missing)


def _written(b: Body, submitted: bool) -> None:
    """What a write changes in its file's state: bytes to be synced, and whether it began where the last one did."""
    a = b.a
    not_first, elsewhere, done = a.unique("not_first"), a.unique("elsewhere"), a.unique("written")
    _state(b, done)
    a.xadd(r0[FileState.unsynced], r8)
    a.ldx(r2, CALL[Call.start])
    a.add(r2, 1)
    if submitted:
        a.ldx(r3, CALL[Call.previous])
    else:
        a.ldx(r3, r0[FileState.last_write])
        a.jne(r3, 0, not_first)
        a.stx(r0[FileState.first_write], r2)
        a.label(not_first)
    a.jne(r3, r2, elsewhere)
    b.count(r0[FileState.rewrites])
    a.label(elsewhere)
    if not submitted:
        a.stx(r0[FileState.last_write], r2)
    a.label(done)


def write_submitted(b: Body, start: Field) -> None:
    """A write to the file Call.id at ``start``, a field of Call, is its last one from now on, whenever it completes.

    Call.previous = the one before.
    """
    a, done = b.a, b.a.unique("not_first")
    _state(b, done)
    a.mov(r4, r0)
    a.ldx(r1, CALL[start])
    a.add(r1, 1)
    b.swap(r4[FileState.last_write], r1, r2)
    a.stx(CALL[Call.previous], r2)
    a.jne(r2, 0, done)
    a.stx(r4[FileState.first_write], r1)
    a.label(done)


def write_taken_back(b: Body) -> None:
    """The write that was submitted at Call.start has not come to be: unless others came after it, all is as before."""
    a, done = b.a, b.a.unique("not_the_last")
    _state(b, done)
    a.ldx(r2, CALL[Call.start])
    a.add(r2, 1)
    a.ldx(r3, r0[FileState.last_write])
    a.jne(r3, r2, done)
    a.ldx(r3, CALL[Call.previous])
    a.stx(r0[FileState.last_write], r3)
    a.jne(r3, 0, done)
    a.st(r0[FileState.first_write], 0)
    a.label(done)


def _durable(b: Body, op: Operation) -> None:
    """Counts a write that was on stable storage when it returned."""
    a, no = b.a, b.a.unique("not_durable")
    a.ldx(r1, CALL[Call.direction])
    a.jeq(r1, READ, no)
    a.ldx(r1, CALL[Call.flags])
    a.and_(r1, O_DSYNC)
    a.ldx(r2, CALL[Call.rw_flags])
    a.and_(r2, RWF_DSYNC | RWF_SYNC)
    a.or_(r1, r2)
    a.jeq(r1, 0, no)
    op.at(HEAD, r2)
    b.count(op.head(r2, OpHead.durable))
    a.label(no)


def _show_activity(b: Body) -> None:
    """This CPU's share of the status line, which nobody needs exactly: no atomics."""
    a, zero, shown = b.a, b.a.slot("zero", U32), b.a.unique("shown")
    a.st(zero, 0)
    a.lookup(b.maps.activity, zero)
    a.jeq(r0, 0, shown)
    a.ldx(r1, r0[Activity.calls])
    a.add(r1, 1)
    a.stx(r0[Activity.calls], r1)
    a.jsle(r8, 0, shown)
    a.ldx(r1, r0[Activity.bytes])
    a.add(r1, r8)
    a.stx(r0[Activity.bytes], r1)
    a.label(shown)
