"""io_uring: requests that open and close files, into descriptors and into the ring's own table."""

from __future__ import annotations

from asm import U64, ProgramSpec, r0, r1, r7, r8
from programs.counting import counters
from programs.facts.kernel import Kernel, Options, Uring
from programs.facts.maps import Maps
from programs.facts.records import OWN, Call, FileState, Lost, OpenFile, OpenKey, RingKey
from programs.files.identify import SCRATCH_EXIT, identify, send_name
from programs.requests import lifecycle
from programs.requests.uring.completed import done
from programs.requests.uring.events import event_key
from programs.requests.uring.files import registered_file
from programs.requests.uring.finish import load_result
from programs.requests.uring.note import note
from programs.requests.uring.places import end_close, remember
from programs.requests.uring.shapes import CLOSE, CLOSING
from programs.requests.uring.source import Source
from programs.way.body import begin
from programs.way.entry import resolve
from programs.way.registers import CALL, CTX


def open_done(kernel: Kernel, options: Options, maps: Maps, uring: Uring) -> ProgramSpec:
    """The completion of an open.  A failed one belongs to no file."""
    b = begin("uring_open_done", kernel, options, maps)
    a, opened, key = b.a, b.a.slot("open", OpenKey), b.a.slot("place", RingKey)
    pending = done(b, OWN, "out")
    file_id = a.slot("id", U64)
    load_result(b, uring)
    b.load(r1, r7, uring.offsets["request.ring"], of="io_kiocb")
    a.stx(key[RingKey.ring], r1)
    Source(b, uring).slot(r8, r7, "open.slot")
    lifecycle.claim(b, pending, "out")
    a.st(CALL[Call.moved], 0)
    a.ldx(r1, opened[OpenKey.mnt_ns])
    a.stx(CALL[Call.mnt_ns], r1)
    a.mov(r7, r8)
    a.ldx(r8, CALL[Call.result])
    a.jslt(r8, 0, "failed")
    a.jne(r7, 0, "placed")
    resolve(b)
    a.ja("have_file")
    a.label("placed")
    a.mov32(r1, -1)
    a.jeq(r7, r1, "chosen", "IORING_FILE_INDEX_ALLOC: the result is the place")
    a.mov(r8, r7)
    a.sub(r8, 1)
    a.label("chosen")
    a.stx(key[RingKey.index], r8)
    registered_file(b, uring, pending)
    a.label("have_file")
    a.stx(a.slot("index", U64), r7)
    a.jeq(r8, 0, "gone")
    identify(b, scratch=SCRATCH_EXIT, skip="out", renew=True)
    a.ldx(r1, r7[OpenFile.id])
    a.stx(file_id, r1)
    a.lookup(maps.states, file_id)
    a.jeq(r0, 0, "counted")
    b.count(r0[FileState.opens])
    a.label("counted")
    a.ldx(r1, a.slot("index", U64))
    a.jeq(r1, 0, "named")
    remember(b, key)
    a.label("named")
    send_name(b, SCRATCH_EXIT)
    a.label("failed")
    counters.failed(b, None)
    a.ret(0)
    a.label("gone")
    b.lost(Lost.calls)
    a.label("out")
    a.ret(0)
    return b.program()


def close(kernel: Kernel, options: Options, maps: Maps, uring: Uring, *, entry: bool = False) -> ProgramSpec:
    """Notes a close, and the file while that is still there."""
    b = begin("uring_bad_close" if entry else "uring_close", kernel, options, maps)
    a = b.a
    key = event_key(b, uring, "refused" if entry else "taken")
    if entry:
        a.ldx(r7, CTX[0], "the entry")
    a.st(a.slot("kind", U64), CLOSE.pack())
    note(b, uring, key, Source(b, uring, CLOSING, entry=entry))
    return b.program()


def close_done(kernel: Kernel, options: Options, maps: Maps, uring: Uring) -> ProgramSpec:
    """The completion of a close."""
    b = begin("uring_close_done", kernel, options, maps)
    a = b.a
    pending = done(b, OWN, "out")
    load_result(b, uring)
    lifecycle.claim(b, pending, "out")
    a.ldx(r8, CALL[Call.result])
    a.jslt(r8, 0, "failed")
    end_close(b)
    a.ret(0)
    a.label("failed")
    a.ldx(r1, CALL[Call.id])
    a.jeq(r1, 0, "no_file")
    counters.failed(b, CALL[Call.id])
    a.ret(0)
    a.label("no_file")
    counters.failed(b, None)
    a.label("out")
    a.ret(0)
    return b.program()
