"""Noting a request: its description, the file that it is on, and the run that it extends."""

from __future__ import annotations

from asm import U64, Slot, r0, r1
from programs.counting.threads import who
from programs.facts.records import NOTE_ABSENT, OWN, Call, Lost, PendingKey
from programs.files.identify import SCRATCH_EXIT, find_or_identify, send_name
from programs.requests import lifecycle
from programs.requests.uring.describe import describe
from programs.requests.uring.events import borrow_call, event_key, go_on, mark
from programs.requests.uring.files import find_file
from programs.requests.uring.request import Request
from programs.requests.uring.ring_table import note_last
from programs.requests.uring.shapes import CLOSING, PLAIN, SHAPE_SHIFT, Opcode, Shape, View
from programs.way.body import Body
from programs.way.descriptors import read_namespace
from programs.way.registers import CALL, CTX, ENTRY, FILE, POINTER


def note_one_side(
    b: Body, view: View, opcode: Opcode, *, refused: bool, side: int = OWN, absent: str = "out", after: int = 0
) -> None:
    """A whole program, which `taken` or `refused` goes on with: notes one `side` of a request, as `note` does.

    `refused` tells which of the two, whose event and CTX it still has.
    """
    a, key = b.a, event_key(b, "refused" if refused else "taken")
    if side != OWN:
        a.st(key[PendingKey.space], side)
    if refused:
        a.ldx(ENTRY, CTX[0], "the entry")
    a.st(a.slot("kind", U64), opcode.pack())
    note(b, key, Request(b, view, refused=refused), absent=absent, after=after)


def note(b: Body, key: Slot, request: Request, *, absent: str = "out", after: int = 0) -> None:
    """Notes the request, whose packed Opcode is in the slot "kind", under `key`.

    One that is not on a regular file is not noted, unless `absent` is "absent": then it is, marked so. Goes on with the
    program `after`, if that is not 0; ends this one.
    """
    a = b.a
    borrow_call(b, "out")
    describe(b, request)
    a.call("get_current_task")
    a.mov(POINTER, r0)
    read_namespace(b)
    if request.view is PLAIN:
        a.ldx(r1, CALL[Call.opcode])
        a.rsh(r1, SHAPE_SHIFT)
        a.jeq(r1, Shape.OPEN, "unknown_file")
    elif request.view is CLOSING:
        a.ldx(POINTER, key[PendingKey.request])
        b.load(POINTER, POINTER, b.uring.offsets["request.ring"], of="io_kiocb")
        a.stx(CALL[Call.ring], POINTER)
        request.slot(POINTER, "close.slot")
        a.stx(CALL[Call.slot], POINTER)
    find_file(b, key, request)
    a.jeq(FILE, 0, "unknown_file")
    find_or_identify(b, scratch=SCRATCH_EXIT, skip=absent)
    if request.view is CLOSING:
        note_last(b)
    lifecycle.submit(b, key, "full", lent=True, queued=request.view is not CLOSING)
    send_name(b, SCRATCH_EXIT, after)
    if absent == "absent":
        a.label("absent")
        mark(b, NOTE_ABSENT)
    a.label("unknown_file")
    who(b)
    a.stx(CALL[Call.previous], r1)
    lifecycle.note_without_file(b, key, "full")
    a.ja("out")
    a.label("full")
    b.lost(Lost.calls)
    a.label("out")
    go_on(b, after)
