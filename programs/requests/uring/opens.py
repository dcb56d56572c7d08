"""Requests that open and close files, as descriptors or in the ring's own table."""

from __future__ import annotations

from asm import U64, ProgramSpec, Slot, r0, r1
from programs.counting import counters, lifetimes
from programs.counting.who import find_row_of_note
from programs.facts.kernel import Kernel, Options
from programs.facts.maps import Maps
from programs.facts.records import OWN, Call, Lost, OpenFile, OpenKey, RingKey
from programs.files.identify import SCRATCH_EXIT, identify, send_name
from programs.requests import lifecycle
from programs.requests.uring.completed import done
from programs.requests.uring.files import registered_file
from programs.requests.uring.finish import load_result
from programs.requests.uring.noting import note_one_side
from programs.requests.uring.request import Request
from programs.requests.uring.ring_table import end_close, remember
from programs.requests.uring.shapes import ANY_SLOT, CLOSE, CLOSING
from programs.way.body import Body, begin
from programs.way.descriptors import resolve
from programs.way.registers import CALL, DESCRIPTOR, FILE, OPEN_FILE, REQUEST, RESULT, SLOT


def open_done(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """The completion of an open. A failed one belongs to no file."""
    b = begin("uring_open_done", kernel, options, maps)
    a, opened, key = b.a, b.a.slot("open", OpenKey), b.a.slot("ring_slot", RingKey)
    pending = done(b, OWN, "out")
    file_id = a.slot("id", U64)
    _find_opened(b, pending, opened, key)
    a.stx(a.slot("index", U64), SLOT)
    a.jeq(FILE, 0, "gone")
    identify(b, scratch=SCRATCH_EXIT, skip="out", renew=True)
    a.ldx(r1, OPEN_FILE[OpenFile.id])
    a.stx(file_id, r1)
    a.stx(CALL[Call.id], r1)
    if options.by:
        find_row_of_note(b, "counted")
        a.ldx(r1, CALL[Call.id])
        a.stx(file_id, r1)
    a.call("ktime_get_ns")
    a.stx(CALL[Call.now], r0)
    a.lookup(maps.states, file_id)
    a.jeq(r0, 0, "counted")
    lifetimes.opened(b)
    a.label("counted")
    a.ldx(r1, a.slot("index", U64))
    a.jeq(r1, 0, "named")
    remember(b, key)
    a.label("named")
    send_name(b, SCRATCH_EXIT)
    a.label("failed")
    counters.failed(b, None)
    b.lost(Lost.pathless)
    a.ret(0)
    a.label("gone")
    b.lost(Lost.calls)
    a.label("out")
    a.ret(0)
    return b.program()


def _find_opened(b: Body, pending: Slot, opened: Slot, key: Slot) -> None:
    """FILE = what was opened; SLOT = 0, or else `key` = the ring's slot. Jumps to "failed" if it was not.

    The note under `pending` is taken away. With IORING_FILE_INDEX_ALLOC the kernel has chosen the slot, and the result
    is its index.
    """
    a = b.a
    load_result(b)
    b.load(r1, REQUEST, b.uring.offsets["request.ring"], of="io_kiocb")
    a.stx(key[RingKey.ring], r1)
    Request(b).slot(DESCRIPTOR, "open.slot")
    lifecycle.claim(b, pending, "out")
    a.st(CALL[Call.moved], 0)
    a.ldx(r1, opened[OpenKey.mnt_ns])
    a.stx(CALL[Call.mnt_ns], r1)
    a.mov(SLOT, DESCRIPTOR)
    a.ldx(RESULT, CALL[Call.result])
    a.jslt(RESULT, 0, "failed")
    a.jne(SLOT, 0, "placed")
    resolve(b)
    a.ja("have_file")
    a.label("placed")
    a.mov32(r1, ANY_SLOT)
    a.jeq(SLOT, r1, "chosen", "IORING_FILE_INDEX_ALLOC: the result is the index")
    a.mov(DESCRIPTOR, SLOT)
    a.sub(DESCRIPTOR, 1)
    a.label("chosen")
    a.stx(key[RingKey.index], DESCRIPTOR)
    registered_file(b, pending)
    a.label("have_file")


def close(kernel: Kernel, options: Options, maps: Maps, *, refused: bool = False) -> ProgramSpec:
    """Notes a close, and the file while that is still there."""
    b = begin("uring_bad_close" if refused else "uring_close", kernel, options, maps)
    note_one_side(b, CLOSING, CLOSE, refused=refused)
    return b.program()


def close_done(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """The completion of a close."""
    b = begin("uring_close_done", kernel, options, maps)
    a = b.a
    pending = done(b, OWN, "out")
    load_result(b)
    lifecycle.claim(b, pending, "out")
    a.ldx(RESULT, CALL[Call.result])
    a.jslt(RESULT, 0, "failed")
    end_close(b)
    a.ret(0)
    a.label("failed")
    a.ldx(r1, CALL[Call.id])
    a.jeq(r1, 0, "no_file")
    counters.failed(b, b.counted)
    a.ret(0)
    a.label("no_file")
    counters.failed(b, None)
    a.label("out")
    a.ret(0)
    return b.program()
