"""io_uring: a request is noted when the kernel takes it from the ring, and accounted for when its completion is posted.

Which thread takes it, works on it and completes it does not matter: all of them belong to the owner's process (5.12).
The file is known when the request is taken, by descriptor or as a registered one; where it is not (an earlier request
of a chain opens it) the request itself holds it at its completion.  So does it the place of a transfer at the file
position.  Sources: io_uring/io_uring.c, io_uring/rw.c; include/uapi/linux/io_uring.h, which never changes.
"""
from __future__ import annotations

from enum import IntEnum
from typing import Dict, NamedTuple

from asm import U32, U64, Layout, Mem, Program, Register, Slot, field, r0, r1, r2, r3, r6, r7, r8, r9

from . import account, asynchronous
from .body import BPF_NOEXIST, Body, begin
from .entry import only_targets, resolve
from .identify import SCRATCH_EXIT, find_open, identify, send_name
from .kernel import Kernel, Options, Uring
from .layout import SYNC, Call, Lost, OpenFile, OpenKey, Pending, PendingKey
from .maps import URING_TAKEN, URING_UNSEEN, Maps
from .operations import BY_NAME, NUMBERS, READ, SWITCH, WRITE
from .transfer import extend_at_offset, sum_iovec


class Shape(IntEnum):
    """What the length of a request counts."""

    BYTES = 0       # bytes
    VECTOR = 1      # entries of an iovec
    NOTHING = 2     # it transfers nothing


class Opcode(NamedTuple):
    """A kind of request: the operation that it is counted as."""

    operation: str
    direction: int
    shape: Shape

    def pack(self) -> int:
        """Operation in bits 0-7, direction in 8-15, shape in 16-23."""
        return BY_NAME[self.operation].code | self.direction << 8 | self.shape << 16


# IORING_OP_*: enum io_uring_op.
OPCODES: Dict[int, Opcode] = {
    1: Opcode("uring_readv", READ, Shape.VECTOR),
    2: Opcode("uring_writev", WRITE, Shape.VECTOR),
    3: Opcode("uring_fsync", SYNC, Shape.NOTHING),
    4: Opcode("uring_read_fixed", READ, Shape.BYTES),
    5: Opcode("uring_write_fixed", WRITE, Shape.BYTES),
    22: Opcode("uring_read", READ, Shape.BYTES),
    23: Opcode("uring_write", WRITE, Shape.BYTES),
    60: Opcode("uring_readv", READ, Shape.VECTOR),      # READV_FIXED, WRITEV_FIXED: 6.15
    61: Opcode("uring_writev", WRITE, Shape.VECTOR),
}
# IOSQE_*, which REQ_F_* equal
FIXED_FILE, BUFFER_SELECT, CQE_SKIP = 1, 1 << 5, 1 << 6
COMPLETING = 1024           # requests looked at for one whose completion found no room
FILE_POINTER = ~7           # registered files carry flags in the lowest bits of their pointers


class Entry(NamedTuple):
    """Offsets in struct io_uring_sqe, of what is also in a request once that is prepared."""

    opcode: int = 0
    flags: int = 1
    fd: int = 4
    position: int = 8
    address: int = 16
    length: int = 24
    rw_flags: int = 28


class Source:
    """Where to read a request from: its struct io_kiocb, or the entry of the ring where it could not be prepared.

    ``base`` holds the address of that.  Reading clobbers r0 to r5.
    """

    def __init__(self, b: Body, uring: Uring, *, entry: bool) -> None:
        self.b = b
        self.offsets = uring.offsets
        self.entry = entry

    def opcode(self, dst: Register, base: Register) -> None:
        self._read(dst, base, 1, Entry().opcode, "request.opcode")

    def flags(self, dst: Register, base: Register) -> None:
        """IOSQE_*: the lowest byte of the request's flags, which are of 4 bytes or 8."""
        self._read(dst, base, 1 if self.entry else 4, Entry().flags, "request.flags")

    def fd(self, dst: Register, base: Register) -> None:
        self._read(dst, base, 4, Entry().fd, "request.fd")

    def position(self, dst: Register, base: Register) -> None:
        self._read(dst, base, 8, Entry().position, "rw.position")

    def address(self, dst: Register, base: Register) -> None:
        self._read(dst, base, 8, Entry().address, "rw.address")

    def length(self, dst: Register, base: Register) -> None:
        self._read(dst, base, 4, Entry().length, "rw.length")

    def rw_flags(self, dst: Register, base: Register) -> None:
        self._read(dst, base, 4, Entry().rw_flags, "rw.flags")

    def _read(self, dst: Register, base: Register, size: int, in_entry: int, name: str) -> None:
        if self.entry:
            self.b.load(dst, base, in_entry, size=size)
        elif name.startswith("rw."):
            offset = self.offsets["request.command"] + self.offsets[name]
            # Where the command lies at the start of the request, it can be read as what it is.
            of = "" if self.offsets["request.command"] else "io_rw"
            self.b.load(dst, base, offset, name, size=size, of=of)
        else:
            self.b.load(dst, base, self.offsets[name], name, size=size, of="io_kiocb")


def taken(kernel: Kernel, options: Options, maps: Maps, uring: Uring) -> Program:
    """io_uring_submit_req: the kernel has taken a request from the ring and prepared it."""
    b = begin("uring_taken", kernel, options, maps, task=True)
    a = b.a
    a.mov(r6, r1)
    key = _key(b, uring, "taken")
    _admit(b, Source(b, uring, entry=False))
    a.lookup(maps.pending, key)
    a.jeq(r0, 0, "fresh")
    a.tail_call(r6, maps.jumps, URING_UNSEEN)
    a.label("fresh")
    _note(b, uring, key, Source(b, uring, entry=False))
    return b.program()


def refused(kernel: Kernel, options: Options, maps: Maps, uring: Uring) -> Program:
    """io_uring_req_failed (const struct io_uring_sqe *, ...): it could not be prepared, and completes with an error."""
    b = begin("uring_refused", kernel, options, maps, task=True)
    a = b.a
    a.mov(r6, r1)
    key = _key(b, uring, "refused")
    a.ldx(r7, r6[0], "the entry")
    source = Source(b, uring, entry=True)
    _admit(b, source)
    _note(b, uring, key, source)
    return b.program()


def completed(kernel: Kernel, options: Options, maps: Maps, uring: Uring) -> Program:
    """io_uring_complete: the result of a request is being posted to the ring."""
    b = begin("uring_completed", kernel, options, maps, task=True)
    a = b.a
    a.mov(r6, r1)
    key = _key(b, uring, "completed")
    a.lookup(maps.pending, key)
    a.jeq(r0, 0, "out", "none that was noted")
    _complete(b, uring, key)
    return b.program()


def overflowed(kernel: Kernel, options: Options, maps: Maps, uring: Uring) -> Program:
    """io_uring_cqe_overflow (ring, user data, result, ...): there was no room to post a completion.

    The event does not name the request, but that is on the ring's list of those that are just being completed.
    """
    b = begin("uring_overflowed", kernel, options, maps, task=True)
    a, o = b.a, uring.offsets
    a.mov(r6, r1)
    key, search = a.slot("pending", PendingKey), a.slot("search", Search)
    a.zero(key)
    a.zero(search)
    for place, at in ((Search.user_data, 8), (Search.result, 16)):
        a.ldx(r1, r6[at])
        a.stx(search[place], r1)
    a.ldx(r7, r6[0], "the ring")
    b.load(r7, r7, o["ring.completing"], of="io_ring_ctx")
    a.stx(search[Search.next], r7)
    b.loop(COMPLETING, "look", lambda: _look(b, uring), search)
    a.ldx(r7, search[Search.found])
    a.jeq(r7, 0, "out")
    a.stx(key[PendingKey.request], r7)
    _complete(b, uring, key)
    return b.program()


class Search(Layout):
    """The search for a request on the list of those being completed: what is next there, and what it must have."""

    next = field(U64)
    user_data = field(U64)
    result = field(U64)
    found = field(U64)


def _look(b: Body, uring: Uring) -> None:
    """Whether the next one is it: the first of those alike that is not accounted for."""
    a, o, key = b.a, uring.offsets, b.a.slot("pending", PendingKey)
    a.mov(r6, r2)
    a.ldx(r7, r6[Search.next])
    a.jeq(r7, 0, "over")
    b.load(r1, r7, 0, of="list_head")
    a.stx(r6[Search.next], r1)
    a.sub(r7, o["request.list"], "container_of()")
    b.load(r1, r7, o["request.user_data"], of="io_kiocb")
    a.ldx(r2, r6[Search.user_data])
    a.jne(r1, r2, "another")
    b.load(r1, r7, o["request.result"], size=4, of="io_kiocb")
    a.ldx(r2, r6[Search.result])
    a.mov32(r2, r2)
    a.jne(r1, r2, "another")
    a.zero(key)
    a.stx(key[PendingKey.request], r7)
    a.lookup(b.maps.pending, key)
    a.jeq(r0, 0, "another")
    a.stx(r6[Search.found], r7)
    a.label("over")
    a.ret(1)
    a.label("another")
    a.ret(0)


def _complete(b: Body, uring: Uring, key: Slot) -> None:
    """Accounts for the request in r7, which is noted under ``key``.  Ends the program."""
    a = b.a
    asynchronous.borrow_call(b, "out")
    b.load(r1, r7, uring.offsets["request.result"], size=4, of="io_kiocb")
    a.lsh(r1, 32)
    a.arsh(r1, 32, "an int")
    a.stx(r9[Call.result], r1)
    b.load(r8, r7, uring.offsets["request.file"], of="io_kiocb")
    Source(b, uring, entry=False).position(r1, r7)
    a.stx(a.slot("end", U64), r1, "where it ended, if it was a transfer")
    asynchronous.claim(b, key, "out")
    for place in (Call.walk, Call.moved):
        a.st(r9[place], 0)
    a.call("ktime_get_ns")
    a.stx(r9[Call.now], r0)
    opened = a.slot("open", OpenKey)
    a.ldx(r1, r9[Call.id])
    a.jeq(r1, 0, "late", "not known before")
    a.ldx(r2, r9[Call.direction])
    a.jeq(r2, SYNC, "known")
    a.ldx(r1, r9[Call.result])
    a.jsle(r1, 0, "known", "nothing to be placed")
    a.ldx(r1, r9[Call.explicit])
    a.jeq(r1, 0, "late", "at the file position")
    a.label("known")
    a.ldx(r8, r9[Call.result])
    a.jeq(r2, SYNC, "account")
    asynchronous.correct(b)
    a.ja("account")
    a.label("late")
    a.jeq(r8, 0, "no_file")
    a.ldx(r1, opened[OpenKey.mnt_ns])
    a.stx(r9[Call.mnt_ns], r1)
    find_open(b, "found", "slow")
    a.label("slow")
    identify(b, scratch=SCRATCH_EXIT, skip="out")
    a.label("found")
    a.ldx(r8, r9[Call.result])
    _place(b)
    a.label("account")
    _account(b)
    send_name(b, SCRATCH_EXIT)
    a.label("no_file")
    a.ldx(r8, r9[Call.result])
    a.jsge(r8, 0, "full", "done, on a file that nobody knows")
    account.failed(b, None)
    a.ret(0)
    a.label("full")
    b.lost(Lost.calls)
    a.label("out")
    a.ret(0)


def unseen(kernel: Kernel, options: Options, maps: Maps, uring: Uring) -> Program:
    """A request is reused whose completion was not shown: that of a silent one, which then has done all it should.

    Nobody knows when: it has no latency.  Goes on with the request that is being taken.
    """
    b = begin("uring_unseen", kernel, options, maps, task=True)
    a = b.a
    a.mov(r6, r1)
    key = _key(b, uring, "taken")
    asynchronous.borrow_call(b, "out")
    a.lookup(maps.pending, key)
    a.jeq(r0, 0, "out")
    a.ldx(r8, r0[Pending.silent])
    asynchronous.claim(b, key, "out")
    a.jeq(r8, 0, "full", "lost in a way that is not understood")
    a.ldx(r1, r9[Call.id])
    a.jeq(r1, 0, "full", "its file has gone from the request")
    a.ldx(r1, r9[Call.entered])
    a.stx(r9[Call.now], r1)
    a.mov(r8, 0)
    a.ldx(r1, r9[Call.direction])
    a.jeq(r1, SYNC, "account")
    a.ldx(r1, r9[Call.explicit])
    a.jeq(r1, 0, "full", "nor is it known where it was")
    a.ldx(r8, r9[Call.requested])
    a.label("account")
    a.stx(r9[Call.result], r8)
    _account(b)
    a.tail_call(r6, maps.jumps, URING_TAKEN)
    a.ret(0)
    a.label("full")
    b.lost(Lost.calls)
    a.tail_call(r6, maps.jumps, URING_TAKEN)
    a.label("out")
    a.ret(0)
    return b.program()


def _key(b: Body, uring: Uring, event: str) -> Slot:
    """r7 = the request that the event is about, which is also the key of its note; a jump to ``out`` if it has none."""
    a, at = b.a, uring.request[event]
    key = a.slot("pending", PendingKey)
    a.ldx(r7, r6[8 * at] if b.raw else r6.u64(at), "struct io_kiocb *")
    a.jeq(r7, 0, "out", "an event of the ring")
    a.stx(key[PendingKey.request], r7)
    for place in (PendingKey.space, PendingKey.owner):
        a.st(key[place], 0)
    return key


def _admit(b: Body, source: Source) -> None:
    """From the request in r7 to its packed Opcode in the slot "kind"; a jump to ``out`` if it is of no interest."""
    a, row = b.a, b.a.slot("number", U32)
    source.opcode(r1, r7)
    for number, opcode in OPCODES.items():
        a.mov(r8, opcode.pack(), opcode.operation)
        a.jeq(r1, number, "of_interest")
    a.ja("out")
    a.label("of_interest")
    a.stx(a.slot("kind", U64), r8)
    a.st(row, NUMBERS[b.kernel.machine]["read"])
    a.lookup(b.maps.syscalls, row)
    a.jeq(r0, 0, "out")
    a.ldx(r1, r0.u64(0))
    a.rsh(r1, SWITCH)
    a.jeq(r1, 0, "out", "nothing is traced now")
    a.call("get_current_pid_tgid")
    a.rsh(r0, 32)
    only_targets(b, r0, "out")


def _note(b: Body, uring: Uring, key: Slot, source: Source) -> None:
    """Notes the request that r7 points to.  Ends the program."""
    a, o = b.a, b.kernel.offsets
    asynchronous.borrow_call(b, "out")
    _describe(b, source)
    a.call("get_current_task")
    a.mov(r8, r0)
    b.load(r8, r8, o["task.nsproxy"], of="task_struct")
    b.load(r8, r8, o["nsproxy.mnt_ns"], of="nsproxy")
    a.stx(r9[Call.mnt_ns], r8)
    source.fd(r8, r7)
    a.ldx(r1, a.slot("flags", U64))
    a.and_(r1, FIXED_FILE)
    a.jne(r1, 0, "registered")
    resolve(b)
    a.ja("resolved")
    a.label("registered")
    _registered_file(b, uring, key)
    a.label("resolved")
    a.jeq(r8, 0, "unknown_file")
    find_open(b, "found", "slow")
    a.label("slow")
    identify(b, scratch=SCRATCH_EXIT, skip="out")
    a.label("found")
    asynchronous.submit(b, key, "full")
    _note_silence(b, key)
    send_name(b, SCRATCH_EXIT)
    a.label("unknown_file")
    _note_without_file(b, key)
    a.jeq(r0, 0, "out")
    a.label("full")
    b.lost(Lost.calls)
    a.label("out")
    a.ret(0)


def _describe(b: Body, source: Source) -> None:
    """The Call record = what the request in r7 asks for, without its file."""
    a, kind = b.a, b.a.slot("kind", U64)
    a.call("ktime_get_ns")
    a.stx(r9[Call.entered], r0)
    for place in (Call.requested, Call.unmeasured, Call.explicit, Call.offset, Call.rw_flags, Call.moved, Call.walk):
        a.st(r9[place], 0)
    source.flags(r1, r7)
    a.stx(a.slot("flags", U64), r1)
    a.ldx(r1, kind)
    a.and_(r1, 0xFF)
    a.stx(r9[Call.op], r1)
    a.ldx(r1, kind)
    a.rsh(r1, 8)
    a.and_(r1, 0xFF)
    a.stx(r9[Call.direction], r1)
    a.jeq(r1, SYNC, "described")
    source.rw_flags(r1, r7)
    a.stx(r9[Call.rw_flags], r1)
    source.position(r1, r7)
    a.stx(r9[Call.offset], r1)
    if not source.entry:    # one that was refused belongs to no run
        a.jeq(r1, -1, "at_position")
        a.st(r9[Call.explicit], 1)
        a.label("at_position")
    source.length(r1, r7)
    a.stx(r9[Call.requested], r1)
    a.ldx(r2, kind)
    a.rsh(r2, 16)
    a.jne(r2, Shape.VECTOR, "described")
    if not source.entry:
        a.ldx(r2, a.slot("flags", U64))
        a.and_(r2, BUFFER_SELECT)
        a.jne(r2, 0, "described", "the kernel has put the size of the only entry there")
    a.stx(_argument(b, 2), r1)
    source.address(r1, r7)
    a.stx(_argument(b, 1), r1)
    base = a.slot("base", U64)
    a.stx(base, r7)
    sum_iovec(b)
    a.ldx(r7, base)
    a.label("described")


def _argument(b: Body, number: int) -> Mem:
    return r9[Call.args[b.kernel.argument(number)]]


def _registered_file(b: Body, uring: Uring, key: Slot) -> None:
    """r8 = the ``struct file *`` registered with the ring under the index in r8, 0 if there is none.

    io_uring/filetable.h: io_file_get_fixed(); io_uring/rsrc.h: io_rsrc_node_lookup().
    """
    a, o = b.a, uring.offsets
    index, none, end = a.slot("index", U64), a.unique("none_registered"), a.unique("registered")
    a.stx(index, r8)
    a.ldx(r8, key[PendingKey.request])
    b.load(r8, r8, o["request.ring"], of="io_kiocb")
    b.load(r1, r8, o["ring.file_count"], size=4, of="io_ring_ctx")
    a.ldx(r2, index)
    a.jge(r2, r1, none)
    b.load(r8, r8, o["ring.files"], of="io_ring_ctx")
    a.ldx(r1, index)
    a.lsh(r1, 3)
    a.add(r8, r1)
    if "node.file" in o:
        b.load(r8, r8, 0, "its slot", of="list_head")
        a.jeq(r8, 0, none)
        b.load(r8, r8, o["node.file"], of="io_rsrc_node")
    else:
        b.load(r8, r8, 0, "its slot; a typed load would make it a pointer, which cannot be masked")
    a.and_(r8, FILE_POINTER)
    a.ja(end)
    a.label(none)
    a.mov(r8, 0)
    a.label(end)


def _note_silence(b: Body, key: Slot) -> None:
    a, shown = b.a, b.a.unique("completion_shown")
    a.ldx(r1, a.slot("flags", U64))
    a.and_(r1, CQE_SKIP)
    a.jeq(r1, 0, shown)
    a.lookup(b.maps.pending, key)
    a.jeq(r0, 0, shown)
    a.st(r0[Pending.silent], 1)
    a.label(shown)


def _note_without_file(b: Body, key: Slot) -> None:
    """Notes the request; who it belongs to is found at its completion.  r0 = 0, or there is no room."""
    a = b.a
    fresh = b.fresh(Pending)
    for note, own in asynchronous.NOTED:
        if note not in (Pending.id, Pending.broken, Pending.ended, Pending.previous, Pending.flags):
            a.ldx(r1, r9[own])
            a.stx(fresh[note], r1)
    a.ldx(r1, r9[Call.mnt_ns])
    a.stx(fresh[Pending.mnt_ns], r1)
    a.update(b.maps.pending, key, fresh, BPF_NOEXIST)


def _place(b: Body) -> None:
    """The Call record for a transfer of r8 bytes that is placed only now, on the OpenFile in r7: file, start, run."""
    a = b.a
    given, write, done = a.unique("offset_given"), a.unique("write"), a.unique("placed")
    a.ldx(r1, r7[OpenFile.id])
    a.stx(r9[Call.id], r1)
    a.st(r9[Call.broken], 0)
    a.jsle(r8, 0, done)
    a.ldx(r3, r9[Call.direction])
    a.jeq(r3, SYNC, done)
    a.ldx(r1, r9[Call.offset])
    a.ldx(r2, r9[Call.explicit])
    a.jne(r2, 0, given)
    a.ldx(r1, a.slot("end", U64))
    a.sub(r1, r8)
    a.label(given)
    a.stx(r9[Call.start], r1)
    a.jeq(r3, WRITE, write)
    extend_at_offset(b, READ)
    a.ja(done)
    a.label(write)
    account.write_submitted(b, Call.start)
    a.ldx(r1, r9[Call.start])
    extend_at_offset(b, WRITE)
    a.label(done)


def _account(b: Body) -> None:
    """Counts the request of the Call record, whose result r8 holds too; a jump to ``full`` if there is no room."""
    a, done = b.a, b.a.unique("accounted")
    a.ldx(r1, r9[Call.direction])
    a.jeq(r1, SYNC, "sync")
    account.transfer_result(b, "full", submitted=True)
    a.ja(done)
    a.label("sync")
    account.sync_result(b, "full")
    a.label(done)
