"""Opens, closes, mappings, and the calls that take a thread to another mount namespace."""

from __future__ import annotations

from asm import U64, ProgramSpec, r0, r1, r3
from programs.calls.copies import enter_copy
from programs.counting import counters, results
from programs.counting.lifetimes import closed, opened
from programs.counting.runs import end_runs
from programs.counting.state import set_flag
from programs.counting.who import find_row
from programs.facts.catalogue import BY_NAME, Kind
from programs.facts.jumps import Jump
from programs.facts.kernel import Kernel, Options
from programs.facts.maps import Maps
from programs.facts.records import (
    FILE_DELETED,
    FILE_MAPPED,
    OPEN_CLOSED,
    Call,
    FileState,
    Lost,
    OpenFile,
    OpenKey,
    Signature,
)
from programs.files.born import asked_to_create, was_created
from programs.files.identify import (
    SCRATCH_ENTER,
    SCRATCH_EXIT,
    closer,
    find_new_name,
    find_open,
    find_or_identify,
    identify,
    send_name,
)
from programs.files.recent import remember
from programs.way.body import Body, low
from programs.way.descriptors import resolve
from programs.way.exit import begin_exit
from programs.way.registers import CALL, CALL_KIND, CTX, FILE, OPEN_FILE, RESULT, SIGNATURE
from programs.way.threads import begin_part

MAP_ANONYMOUS = 0x20


def enter_other(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """The entry of every call whose descriptor is not simply its first argument, or is about to go."""
    b = begin_part("enter_other", kernel, options, maps)
    a = b.a
    b.signature(CALL_KIND, Signature.kind, CALL[Call.call])
    a.jeq(CALL_KIND, Kind.CLOSE, "close")
    a.jeq(CALL_KIND, Kind.MMAP, "mmap")
    enter_copy(b)
    a.label("mmap")
    a.ldx(r1, low(b.argument(3)))
    a.and_(r1, MAP_ANONYMOUS)
    a.jne(r1, 0, "no_file", "whatever the descriptor")
    resolve(b, 4)
    a.stx(CALL[Call.file], FILE)
    a.jne(FILE, 0, "out")
    a.label("no_file")
    a.st(CALL[Call.call], 0, "nothing to be done at its exit")
    a.ret(0)
    a.label("close")
    _enter_close(b)
    a.label("out")
    a.ret(0)
    return b.program()


def _enter_close(b: Body) -> None:
    """Does everything that needs the file, which is gone at the exit. There the close is counted, if it succeeds."""
    a, o = b.a, b.kernel.offsets
    for place in (Call.moved, Call.id):
        a.st(CALL[place], 0)
    resolve(b, 0)
    a.stx(CALL[Call.file], FILE)
    a.jeq(FILE, 0, "out")
    key = a.slot("open", OpenKey)
    find_open(b, "known", "unknown")
    a.label("unknown")
    identify(b, scratch=SCRATCH_ENTER, skip="out")
    a.ja("identified")
    a.label("known")
    a.ldx(r1, OPEN_FILE[OpenFile.id])
    a.stx(CALL[Call.id], r1)
    find_new_name(b, scratch=SCRATCH_ENTER, skip="out")
    a.lookup(b.maps.opens, key)
    a.jeq(r0, 0, "out")
    a.mov(OPEN_FILE, r0)
    a.label("identified")
    a.ldx(r1, OPEN_FILE[OpenFile.id])
    a.stx(CALL[Call.id], r1)
    mark_deleted(b)
    a.ldx(r3, CALL[Call.inode])
    b.load(r1, r3, o["inode.size"], "i_size", of="inode")
    a.add(r1, 1)
    a.stx(CALL[Call.size_seen], r1)
    b.load(r1, FILE, o["file.ref"], of="file")
    a.jne(r1, b.kernel.one_reference, "still_open", "another descriptor, or a call in flight, keeps it")
    end_runs(b)
    a.delete(b.maps.opens, key)
    a.ja("forgotten")
    a.label("still_open")
    closer(b, 0)
    a.stx(OPEN_FILE[OpenFile.closer], r1)
    a.ldx(r1, OPEN_FILE[OpenFile.flags])
    a.or_(r1, OPEN_CLOSED)
    a.stx(OPEN_FILE[OpenFile.flags], r1)
    a.label("forgotten")
    remember(b)
    send_name(b, SCRATCH_ENTER)


def mark_deleted(b: Body) -> None:
    """Sets FILE_DELETED in the state of the file of OPEN_FILE if no name is left."""
    a, done = b.a, b.a.unique("has_a_name")
    a.ldx(r3, CALL[Call.inode])
    b.load(r1, r3, b.kernel.offsets["inode.nlink"], "links", size=4, of="inode")
    a.jne(r1, 0, done)
    set_flag(b, OPEN_FILE[OpenFile.id], FILE_DELETED)
    a.label(done)


def exit_close(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """The exit of close: counts it for the file that `enter_other` found, or as unattributed."""
    b = begin_exit("exit_close", kernel, options, maps)
    a, file_id = b.a, b.a.slot("id", U64)
    results.show_other(b)
    a.st(CALL[Call.op], BY_NAME["close"].code)
    a.ldx(r1, CALL[Call.file])
    a.jeq(r1, 0, "no_file")
    a.ldx(r1, CALL[Call.id])
    a.jeq(r1, 0, "out", "not a regular file")
    if options.by:
        find_row(b, "full")
        a.ldx(r1, CALL[Call.id])
    a.jslt(RESULT, 0, "failed")
    a.stx(file_id, r1)
    a.call("ktime_get_ns")
    a.stx(CALL[Call.now], r0)
    a.lookup(maps.states, file_id)
    a.jeq(r0, 0, "out")
    a.ldx(r1, CALL[Call.size_seen])
    a.stx(r0[FileState.seen], r1)
    closed(b)
    a.ret(0)
    a.label("failed")
    counters.failed(b, b.counted)
    a.ret(0)
    if options.by:
        a.label("full")
        b.lost(Lost.calls)
        a.ret(0)
    a.label("no_file")
    a.jsge(RESULT, 0, "out")
    counters.failed(b, None)
    a.label("out")
    a.ret(0)
    return b.program()


def exit_open(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """The exit of every kind of open. A failed one belongs to no file."""
    b = begin_exit("exit_open", kernel, options, maps)
    a, file_id = b.a, b.a.slot("id", U64)
    results.show_other(b)
    a.st(CALL[Call.op], BY_NAME["open"].code)
    a.st(CALL[Call.moved], 0)
    a.jslt(RESULT, 0, "failed")
    a.call("ktime_get_ns")
    a.stx(CALL[Call.now], r0)
    if not kernel.shows_created:
        asked_to_create(b)
    resolve(b)  # RESULT is the DESCRIPTOR, which becomes FILE
    a.jeq(FILE, 0, "gone")
    was_created(b)
    identify(b, scratch=SCRATCH_EXIT, skip="out", renew=True)
    a.ldx(r1, OPEN_FILE[OpenFile.id])
    a.stx(file_id, r1)
    a.stx(CALL[Call.id], r1)
    if options.by:
        find_row(b, "full")
        a.ldx(r1, CALL[Call.id])
        a.stx(file_id, r1)
    a.lookup(maps.states, file_id)
    a.jeq(r0, 0, "named")
    opened(b)
    if options.by:
        a.ja("named")
        a.label("full")
        b.lost(Lost.calls)
    a.label("named")
    send_name(b, SCRATCH_EXIT)
    a.label("failed")
    a.stx(CALL[Call.refused], SIGNATURE)
    counters.failed(b, None)
    a.tail_call(CTX, maps.jumps, Jump.REFUSED)
    a.ret(0)
    a.label("gone")
    b.lost(Lost.calls)
    a.label("out")
    a.ret(0)
    return b.program()


def exit_mmap(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """The exit of mmap: a file that is mapped is read and written without a system call from then on."""
    b = begin_exit("exit_mmap", kernel, options, maps)
    a = b.a
    a.st(CALL[Call.moved], 0)
    a.jslt(RESULT, 0, "out", "failed: no user address lies in the upper half")
    a.ldx(FILE, CALL[Call.file])
    a.st(CALL[Call.walk], 0)
    find_or_identify(b, scratch=SCRATCH_EXIT, skip="out")
    if options.by:
        a.ldx(r1, OPEN_FILE[OpenFile.id])
        a.stx(CALL[Call.id], r1)
        find_row(b, "named")
        set_flag(b, b.counted, FILE_MAPPED, b.counted_states)
        a.label("named")
    else:
        set_flag(b, OPEN_FILE[OpenFile.id], FILE_MAPPED)
    send_name(b, SCRATCH_EXIT)
    a.label("out")
    a.ret(0)
    return b.program()


def exit_ring(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """The exit of io_uring_setup: counts rings, which tells whether requests are missed where they are not shown."""
    b = begin_exit("exit_ring", kernel, options, maps)
    a = b.a
    a.jslt(RESULT, 0, "out")
    b.lost(Lost.rings)
    a.label("out")
    a.ret(0)
    return b.program()


def exit_namespace(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """The exit of unshare and setns: the thread's mount namespace must be looked up again."""
    b = begin_exit("exit_namespace", kernel, options, maps)
    a = b.a
    a.st(CALL[Call.mnt_ns], 0)
    a.label("out")
    a.ret(0)
    return b.program()
