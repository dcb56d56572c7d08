"""The record of one operation on one file, and what each metric of a call adds to it.

The functions that add something expect CALL, and Counters whose record was found. They clobber r0 to r5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Optional, Tuple, Type

from asm import U64, Field, Layout, MapSpec, Mem, Register, Slot, r0, r1, r2, r3, r4
from programs.facts.abi import O_DIRECT, O_DSYNC, RWF_DSYNC, RWF_SYNC
from programs.facts.catalogue import READ
from programs.facts.records import (
    ALIGNED,
    RUN_BUCKETS,
    TALLY_ERROR,
    TALLY_READ_RUN,
    Call,
    Completed,
    FileState,
    Latency,
    Lost,
    OpHead,
    OpKey,
    OpStats,
    Requested,
    Runs,
)
from programs.way.body import Body
from programs.way.registers import CALL, RESULT

EXTREME_TRIES = 4  # CPUs that set a new extreme of one file at the same instant


@dataclass(frozen=True)
class Part:
    """A part of OpStats, which is a record of its own where helpers take no values larger than the stack (4.18)."""

    name: str
    within: Field
    record: Type[Layout]


HEAD = Part("head", OpStats.head, OpHead)
REQUESTED = Part("requested", OpStats.requested, Requested)
COMPLETED = Part("completed", OpStats.completed, Completed)
LATENCY = Part("latency", OpStats.latency, Latency)
RUNS = Part("runs", OpStats.runs, Runs)


class Counters:
    """Emits accesses to the counters of Call.op on a file. The record is looked up once, by `find` or `find_made`.

    One that is `alone` is a thread's own (`programs.counting.shards`): no other CPU adds to it at the same time.
    """

    def __init__(self, b: Body, file_id: Mem, *, alone: bool = False) -> None:
        self.b = b
        self.file_id = file_id
        self.alone = alone
        self.key = b.a.slot("operation", OpKey)

    def find(self, full: str) -> None:
        """Finds or makes the record; jumps to `full` if there is no room.

        Records in parts are made all at once: the verifier then follows two ways, not two for each part.
        """
        a, made, have = self.b.a, self.b.a.unique("make"), self.b.a.unique("have")
        self.find_made(made)
        a.ja(have)
        a.label(made)
        for name, spec, record in self._records():
            self.b.make_zeros(spec, self.key, record)
            if name == HEAD.name:
                self._enter_in_state()
        self._look_up(full)
        a.label(have)

    def find_made(self, missing: str) -> None:
        """Finds the record if somebody has made it; jumps to `missing` if not."""
        self.fill_key()
        self._look_up(missing)

    def found(self, record: Register) -> None:
        """The record, which is not in parts, is this one."""
        self.b.a.stx(self._pointer(HEAD.name), record)

    def _look_up(self, missing: str) -> None:
        a = self.b.a
        for name, spec, _ in self._records():
            a.lookup(spec, self.key)
            a.jeq(r0, 0, missing)
            a.stx(self._pointer(name), r0)

    def fill_key(self) -> None:
        """`key` = that of the record that all threads share. Clobbers r1."""
        a = self.b.a
        a.ldx(r1, self.file_id)
        a.stx(self.key[OpKey.id], r1)
        a.ldx(r1, CALL[Call.op])
        a.stx(self.key[OpKey.op], r1)
        a.st(self.key[OpKey.piece], 0)

    def _records(self) -> List[Tuple[str, MapSpec, Type[Layout]]]:
        """What the record consists of: names, maps, layouts. Pieces of latencies are found when they are needed."""
        maps = self.b.maps
        if self.b.kernel.big_values:
            return [(HEAD.name, maps.heads, OpStats)]
        parts = (
            (HEAD, maps.heads),
            (REQUESTED, maps.requested),
            (COMPLETED, maps.completed),
            (RUNS, maps.runs),
        )
        return [(part.name, spec, part.record) for part, spec in parts]

    def _enter_in_state(self) -> None:
        """Adds the operation to FileState.operations if r0 says that this program made the record, so only once."""
        a, file_id, theirs = self.b.a, self.b.a.slot("id", U64), self.b.a.unique("theirs")
        a.jne(r0, 0, theirs)
        a.ldx(r1, self.key[OpKey.id])
        a.stx(file_id, r1)
        a.lookup(self.b.counted_states, file_id)
        a.jeq(r0, 0, theirs)
        a.ldx(r2, self.key[OpKey.op])
        a.mov(r1, 1)
        a.lsh(r1, r2)
        a.xadd(r0[FileState.operations], r1)
        a.label(theirs)

    def _pointer(self, name: str) -> Slot:
        return self.b.a.slot("at_" + name, U64)

    def at(self, part: Part, dst: Register) -> None:
        """`dst` = the record that holds `part`."""
        self.b.a.ldx(dst, self._pointer(HEAD.name if self.b.kernel.big_values else part.name))

    def field(self, part: Part, base: Register, place: Field) -> Mem:
        """A field of `part`; `base` holds what `at(part, base)` gave."""
        return base[part.within[place] if self.b.kernel.big_values else place]

    def cell(self, part: Part, buckets: Field, index: Register, base: Register) -> None:
        """Adds 1 to cell `index` of a histogram of `part`. Destroys both registers, and r1."""
        self.at(part, base)
        offset = self.field(part, base, buckets).offset
        if offset:
            self.b.a.add(base, offset)
        self.b.cell(base, index, self.count)

    def count(self, mem: Mem) -> None:
        """`mem` += 1. Clobbers r1."""
        a = self.b.a
        if self.alone:
            a.ldx(r1, mem)
            a.add(r1, 1)
            a.stx(mem, r1)
        else:
            a.mov(r1, 1)
            a.xadd(mem, r1)

    def add(self, mem: Mem, value: Register, t: Register) -> None:
        """`mem` += `value`. May clobber `t`."""
        a = self.b.a
        if self.alone:
            a.ldx(t, mem)
            a.add(t, value)
            a.stx(mem, t)
        else:
            a.xadd(mem, value)


def entered(b: Body, counters: Counters) -> None:
    """One call more, and its entry if none was earlier. r2 = the head; clobbers r1 and r3.

    Of a call that was not timed (`Options.light`) its return stands for it.
    """
    a, later, first = b.a, b.a.unique("later"), b.a.unique("first")
    counters.at(HEAD, r2)
    counters.count(counters.field(HEAD, r2, OpHead.calls))
    a.ldx(r1, CALL[Call.entered])
    if b.options.light:
        timed = a.unique("timed")
        a.jne(r1, 0, timed)
        a.ldx(r1, CALL[Call.now])
        a.label(timed)
    a.ldx(r3, counters.field(HEAD, r2, OpHead.first))
    a.jeq(r3, 0, first)
    a.jle(r3, r1, later)
    a.label(first)
    a.stx(counters.field(HEAD, r2, OpHead.first), r1)
    a.label(later)


def failed(b: Body, file_id: Optional[Mem]) -> None:
    """One more error of Call.op: RESULT holds -errno. Without a file it is counted as unattributed."""
    a = b.a
    a.mov(r3, RESULT)
    a.neg(r3, "errno")
    b.tally(file=file_id, op=CALL[Call.op], kind=TALLY_ERROR, item=r3)


def without_file(b: Body, end: str) -> None:
    """Counts a call on an unknown file: if RESULT is an error, as unattributed, otherwise as lost.

    Falls through, or jumps to `end`.
    """
    a, late = b.a, b.a.unique("late")
    a.jsge(RESULT, 0, late)
    failed(b, None)
    a.ja(end)
    a.label(late)
    b.lost(Lost.calls)


def extent(b: Body, counters: Counters, *, overlapped: bool = False) -> None:
    """The bytes [Call.start, Call.start + RESULT) into the lowest and highest offset.

    With `overlapped` they may lie as much as Call.overlapped further up (before 5.12): whichever thread is the last has
    the true end.
    """
    a = b.a
    counters.at(HEAD, r2)
    a.ldx(r1, CALL[Call.start])
    a.add(r1, 1)
    _extreme(b, counters.field(HEAD, r2, OpHead.lowest), lowest=True, alone=counters.alone)
    a.sub(r1, 1)
    a.add(r1, RESULT)
    if overlapped and not b.kernel.fetch_atomics:
        a.ldx(r3, CALL[Call.overlapped])
        a.add(r1, r3)
    _extreme(b, counters.field(HEAD, r2, OpHead.highest), lowest=False, alone=counters.alone)


def greatest(b: Body, mem: Mem, *, alone: bool = False) -> None:
    """`mem` = r1 if that is higher. Clobbers r0, r3 and r4."""
    _extreme(b, mem, lowest=False, alone=alone)


def _extreme(b: Body, mem: Mem, *, lowest: bool, alone: bool) -> None:
    """`mem` = r1 if that is lower, or higher; 0 in memory means that there is none yet. Clobbers r0, r3 and r4.

    Where two CPUs race, compare-and-exchange keeps the true extreme; without it (before 5.12) one of the two may
    be lost if both set a new extreme within the same few nanoseconds.
    """
    a, done = b.a, b.a.unique("extreme")
    exchange = b.kernel.fetch_atomics and not alone
    for _ in range(EXTREME_TRIES if exchange else 1):
        take = a.unique("take")
        a.ldx(r3, mem)
        if lowest:
            a.jeq(r3, 0, take)
            a.jge(r1, r3, done)
            a.label(take)
        else:
            a.jge(r3, r1, done)
        if not exchange:
            a.stx(mem, r1)
            break
        a.mov(r0, r3)
        a.mov(r4, r1)
        a.cmpxchg(mem, r4)
        a.jeq(r0, r3, done)
    a.label(done)


def run_ended(b: Body, counters: Counters, *, long_too: bool = True) -> None:
    """The run of Call.broken bytes that this call has ended, if it had any.

    Unless `long_too`, it is known to be one of those that have a bucket in the record.
    """
    a = b.a
    long, done = a.unique("long_run"), a.unique("no_run")
    a.ldx(r2, CALL[Call.broken])
    a.jeq(r2, 0, done)
    b.log2(r1, r2, r3, first=1, bits=64 if long_too else RUN_BUCKETS - 1)
    a.jge(r1, RUN_BUCKETS, long if long_too else done)
    counters.cell(RUNS, Runs.buckets, r1, r2)
    if long_too:
        a.ja(done)
        a.label(long)
        a.mov(r3, r1)
        b.tally(file=b.counted, op=None, kind=TALLY_READ_RUN, item=r3, beyond=CALL[Call.direction])
    a.label(done)


def aligned(b: Body, counters: Counters) -> None:
    """Counts a call on an O_DIRECT descriptor, and one that is not aligned: by Call.start and Call.requested.

    Where it failed, Call.start is where it would have begun.
    """
    a = b.a
    yes, done = a.unique("aligned"), a.unique("alignment")
    a.ldx(r3, CALL[Call.start])
    a.ldx(r1, CALL[Call.requested])
    a.or_(r3, r1)
    a.and_(r3, ALIGNED - 1)
    a.ldx(r4, CALL[Call.flags])
    a.and_(r4, O_DIRECT[b.kernel.machine])
    a.mov(r1, r3)
    a.or_(r1, r4)
    a.jeq(r1, 0, done, "as mostly")
    counters.at(HEAD, r2)
    a.jeq(r3, 0, yes)
    counters.count(counters.field(HEAD, r2, OpHead.unaligned))
    a.label(yes)
    a.jeq(r4, 0, done)
    counters.count(counters.field(HEAD, r2, OpHead.direct))
    a.jeq(r3, 0, done)
    counters.count(counters.field(HEAD, r2, OpHead.unaligned_direct))
    a.label(done)


def durable(b: Body, counters: Counters) -> None:
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
    counters.at(HEAD, r2)
    counters.count(counters.field(HEAD, r2, OpHead.durable))
    a.label(no)
